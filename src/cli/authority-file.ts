/**
 * The local authority in the hub's data directory: made once, because people trust it by hand on
 * every device. A damaged file is refused and never replaced in silence.
 *
 * @module
 */

import { join } from "node:path";
import { CommandError } from "./command.ts";
import { readIfPresent, writeDurably } from "./data-directory.ts";
import { createAuthority, isWhole, type LocalAuthority } from "./local-authority.ts";

const FILE_NAME = "authority.json";

/**
 * The kept authority, or a new one, on the disk before it is returned: nobody may trust one that a
 * power cut takes away. @throws CommandError on a damaged or unreadable file, or a wrong clock
 */
export async function loadOrCreateAuthority(
  directory: string,
  name: string,
  hostname: string,
  nowMs: number,
): Promise<LocalAuthority> {
  const kept = readAuthority(directory);
  if (kept !== null) return kept;
  const authority = await createAuthority(name, hostname, nowMs);
  writeDurably(join(directory, FILE_NAME), `${JSON.stringify(authority, null, 2)}\n`);
  return authority;
}

/** Null when there is none. @throws CommandError on a damaged or unreadable file. */
export function readAuthority(directory: string): LocalAuthority | null {
  const path = join(directory, FILE_NAME);
  const text = readIfPresent(path);
  return text === null ? null : parseAuthority(text, path);
}

function parseAuthority(text: string, path: string): LocalAuthority {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = null;
  }
  if (!isAuthority(value) || !isWhole(value)) {
    throw new CommandError(
      `${path} is damaged. Restore it, or delete it: the hub then makes another authority, which every device must trust anew.`,
    );
  }
  const { root, intermediate, privateKey, hostname } = value;
  return { root, intermediate, privateKey, hostname };
}

function isAuthority(value: unknown): value is LocalAuthority {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Partial<Record<keyof LocalAuthority, unknown>>;
  return (
    [fields.root, fields.intermediate, fields.privateKey].every(
      (field) => typeof field === "string",
    ) &&
    (fields.hostname === null || typeof fields.hostname === "string")
  );
}
