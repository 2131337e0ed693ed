/**
 * SQLite's result codes, and what each means for a caller of rowmesh.
 *
 * @module
 */

import { MeshError, type MeshErrorCode } from "../protocol/errors.ts";

export const SQLITE_OK = 0;
export const SQLITE_INTERRUPT = 9;
export const SQLITE_IOERR = 10;
const SQLITE_CORRUPT = 11;
export const SQLITE_NOTFOUND = 12;
export const SQLITE_FULL = 13;
export const SQLITE_CANTOPEN = 14;
const SQLITE_NOTADB = 26;
export const SQLITE_ROW = 100;
export const SQLITE_DONE = 101;

/** The `cause` of a MeshError that SQLite raised. */
class SqliteError extends Error {
  /** Primary result code, https://sqlite.org/rescode.html. */
  readonly resultCode: number;
  override readonly name = "SqliteError";

  constructor(resultCode: number, message: string) {
    super(message);
    this.resultCode = resultCode;
  }
}

/** The primary result code behind an error, or null when SQLite did not raise it. */
export const sqliteResultCode = (error: unknown): number | null =>
  error instanceof MeshError && error.cause instanceof SqliteError ? error.cause.resultCode : null;

export const meshErrorOf = (resultCode: number, message: string): MeshError =>
  new MeshError(codeOf(resultCode & 0xff), `${message} (SQLite ${resultCode})`, {
    cause: new SqliteError(resultCode & 0xff, message),
  });

const codeOf = (resultCode: number): MeshErrorCode => {
  if (resultCode === SQLITE_FULL) return "ERR_STORAGE_FULL";
  if (resultCode === SQLITE_IOERR || resultCode === SQLITE_CANTOPEN) return "ERR_STORAGE_LOST";
  if (resultCode === SQLITE_CORRUPT || resultCode === SQLITE_NOTADB) return "ERR_DATABASE_CORRUPT";
  return "ERR_SQL";
};
