/**
 * One thing that `rowmesh doctor` looked at, and what to do about it.
 *
 * @module
 */

export interface Check {
  readonly name: string;
  /** "warn": something works less well than it could; "fail": something does not work. */
  readonly verdict: "ok" | "warn" | "fail";
  /** What was found; no full stop. */
  readonly says: string;
  /** A sentence; null when there is nothing to do. */
  readonly remedy: string | null;
}

export const ok = (name: string, says: string): Check => ({
  name,
  verdict: "ok",
  says,
  remedy: null,
});

export const warn = (name: string, says: string, remedy: string): Check => ({
  name,
  verdict: "warn",
  says,
  remedy,
});

export const fail = (name: string, says: string, remedy: string): Check => ({
  name,
  verdict: "fail",
  says,
  remedy,
});

/** `warn  multicast  nobody answered. Allow …` */
export function checkLine({ name, verdict, says, remedy }: Check): string {
  const line = `${verdict.padEnd(6)}${name.padEnd(16)}${says}`;
  return remedy === null ? line : `${line}. ${remedy}`;
}

export const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);
