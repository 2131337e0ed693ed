/**
 * The one error class, and every code it can carry. Callers match on `code`, never on the text.
 *
 * @module
 */

/** What to do about each code, in plain words: shown to people by the CLI and the demo. */
export const ERROR_REMEDIES = {
  // Bytes from a peer, a file, a URL.
  ERR_NOT_CANONICAL: "The bytes are damaged or come from an incompatible version.",
  ERR_LIMIT: "Something is larger than the format allows; split it.",
  ERR_UNKNOWN_FORMAT: "Upgrade: the other side speaks a newer format.",
  ERR_SIGNATURE_INVALID: "The changeset was altered or forged; nothing was stored.",
  ERR_WRONG_MESH: "The bytes belong to another mesh.",
  ERR_UNKNOWN_AUTHOR: "The author's first changeset has not arrived yet; it will be fetched.",
  ERR_UNKNOWN_PREDECESSOR: "An earlier changeset has not arrived yet; it will be fetched.",
  ERR_FORK: "One key signed two different contents under one version; see status().forks.",
  ERR_UNASKED: "A peer sent something nobody asked it for; it was ignored.",
  ERR_HELLO_MISSING: "A device connected and did not say who it is; it was dropped.",
  ERR_CLAIM_FALSE: "A device contradicts itself about what it holds; it was dropped.",
  ERR_BUSY: "The queue is full; the sender will be asked again.",
  ERR_INVITE_INVALID: "Copy the whole join link again.",
  ERR_REQUEST_INVALID: "Somebody sent the hub's web server a malformed request; it was refused.",
  // Authentic changesets whose rows break a rule: kept, forwarded, never merged.
  ERR_ROWS_INVALID: "The author's rows break a rule of the schema; they are ignored everywhere.",
  // Authentic changesets this replica cannot read yet.
  ERR_SCHEMA_NEWER: "Upgrade the app: these changes were made with a newer version of it.",
  ERR_SCHEMA_MISMATCH:
    "Two different schemas carry one version number; give the changed one a new version.",
  ERR_ENCODING_UNKNOWN: "Upgrade the app to read these changes.",
  // The local database.
  ERR_SCHEMA_INVALID: "Change the named statement, table or column as the message says.",
  ERR_SQL: "Correct the statement or its values.",
  ERR_SQL_FORBIDDEN: "rowmesh owns transactions, schema and settings; use its API.",
  ERR_NESTED: "Inside a transaction use its own handle (tx), not mesh.db.",
  ERR_TRANSACTION_TOO_LARGE: "Split the transaction.",
  ERR_TRANSACTION_TIMEOUT:
    "Keep transactions short; do not wait for people or networks inside one.",
  ERR_ABORTED: "The caller's AbortSignal fired.",
  ERR_CLOSED: "Open the mesh again.",
  ERR_TAB_LOST:
    "The tab that held the database ended; nothing of this transaction was written. Run it again.",
  ERR_STORAGE_LOCKED: "Close the other tab or process that has this database open.",
  ERR_STORAGE_FULL: "Free some space on this device, then try again.",
  ERR_STORAGE_LOST:
    "The storage failed or was removed; reopen, and the mesh will bring the data back.",
  ERR_STORAGE_UNAVAILABLE: "This browser or page offers no such storage; use another.",
  ERR_DATABASE_CORRUPT: "Restore a copy, or delete this database and join the mesh again.",
  ERR_ENGINE_TRAP: "The SQL engine was restarted; the transaction was rolled back. Try again.",
  // The mesh.
  ERR_OPTION_INVALID: "Correct the named option.",
  ERR_MESH_DIFFERENT: "This database already belongs to another mesh; use another name.",
  ERR_NO_MESH: "Call invite() first, or open with join.",
  ERR_PAIRING_INVALID: "Scan or copy the whole code of the other device again.",
  ERR_PAIRING_FAILED:
    "Make new codes on both devices and read them again; both must be on the same network.",
  ERR_NOT_SUPPORTED: "This version does not support it yet.",
  ERR_NETWORK: "Check the network and the address.",
  ERR_INTERNAL: "A fault in rowmesh itself; nothing was changed. Please report it.",
} as const;

export type MeshErrorCode = keyof typeof ERROR_REMEDIES;

export interface MeshErrorOptions {
  readonly cause?: unknown;
}

export class MeshError extends Error {
  readonly code: MeshErrorCode;
  override readonly name = "MeshError";

  constructor(code: MeshErrorCode, message: string, options?: MeshErrorOptions) {
    super(`${code}: ${message}`, options);
    this.code = code;
  }

  /** One plain sentence: what the person or the developer can do. */
  get remedy(): string {
    return ERROR_REMEDIES[this.code];
  }
}

export const isMeshError = (error: unknown, code?: MeshErrorCode): error is MeshError =>
  error instanceof MeshError && (code === undefined || error.code === code);
