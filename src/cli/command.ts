/**
 * What a command of `rowmesh` is, and how it ends: the exit codes and the two kinds of complaint.
 *
 * @module
 */

/** Exit codes: part of the command line's contract, in `rowmesh --help`. */
export const EXIT_OK = 0;
/** The world was in the way: a port in use, a locked directory, refused bytes. */
export const EXIT_FAILURE = 1;
/** The command line itself is wrong; nothing was started or written. */
export const EXIT_USAGE = 2;

export interface Command {
  /** The whole of `rowmesh <name> --help`, without a final newline. */
  readonly help: string;
  /** @returns the exit code. @throws UsageError, MeshError, and the errors of `util.parseArgs`. */
  readonly run: (args: readonly string[]) => Promise<number>;
}

/** A mistake in the command line. Ends with `EXIT_USAGE` and a pointer to the help. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** A failure whose cause and remedy one line can say. Ends with `EXIT_FAILURE`. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

/** Others choose names: they may not move the cursor of our terminal. */
export const printable = (text: string): string => text.replace(/\p{C}/gu, "");

/** Writes one line to stdout. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Writes one line to stderr. */
export function complain(line: string): void {
  process.stderr.write(`${line}\n`);
}
