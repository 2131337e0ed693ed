/**
 * One instance of the synchronous cr-sqlite WebAssembly: the C functions rowmesh calls, by their own
 * names. A 64-bit argument travels as two 32-bit halves, low first; a 64-bit result as its low half,
 * the high half in `getTempRet0`.
 *
 * Instances share one compiled `WebAssembly.Module`, which makes the next one cost milliseconds.
 * After a trap an instance is garbage: make another.
 *
 * @module
 */

import createEmscriptenModule from "@vlcn.io/wa-sqlite/dist/crsqlite-sync.mjs";

/** A C pointer; 0 is NULL. */
export type Pointer = number;

/** Called for every object a statement names while it is compiled; non-zero refuses. */
type Authorizer = (
  context: number,
  action: number,
  first: string | null,
  second: string | null,
  database: string | null,
  innermostTriggerOrView: string | null,
) => number;

/** What SQLite asks of a file system. Offsets are byte counts; results are SQLite result codes. */
export interface SqliteVfs {
  readonly name: string;
  readonly xOpen: (name: string | null, file: Pointer, flags: number, outFlags: DataView) => number;
  readonly xClose: (file: Pointer) => number;
  readonly xRead: (file: Pointer, into: Uint8Array, offset: number) => number;
  readonly xWrite: (file: Pointer, from: Uint8Array, offset: number) => number;
  readonly xTruncate: (file: Pointer, size: number) => number;
  readonly xSync: (file: Pointer, flags: number) => number;
  readonly xFileSize: (file: Pointer, outSize: DataView) => number;
  readonly xLock: (file: Pointer, level: number) => number;
  readonly xUnlock: (file: Pointer, level: number) => number;
  readonly xCheckReservedLock: (file: Pointer, outHeld: DataView) => number;
  readonly xFileControl: (file: Pointer, operation: number, argument: DataView) => number;
  readonly xSectorSize: (file: Pointer) => number;
  readonly xDeviceCharacteristics: (file: Pointer) => number;
  readonly xDelete: (name: string, syncDirectory: number) => number;
  readonly xAccess: (name: string, flags: number, outExists: DataView) => number;
}

/** The part of the Emscripten module that rowmesh uses. */
export interface SqliteModule {
  /** Replaced whenever the memory grows: read it afresh, never keep it. */
  readonly HEAPU8: Uint8Array<ArrayBuffer>;
  readonly HEAPU32: Uint32Array<ArrayBuffer>;
  readonly HEAP32: Int32Array<ArrayBuffer>;
  readonly getTempRet0: () => number;
  readonly _malloc: (bytes: number) => Pointer;
  readonly _free: (pointer: Pointer) => void;
  readonly _sqlite3_open_v2: (name: Pointer, out: Pointer, flags: number, vfs: Pointer) => number;
  readonly _sqlite3_close: (db: Pointer) => number;
  readonly _sqlite3_errmsg: (db: Pointer) => Pointer;
  readonly _sqlite3_exec: (
    db: Pointer,
    sql: Pointer,
    callback: number,
    argument: number,
    errorOut: Pointer,
  ) => number;
  readonly _sqlite3_prepare_v2: (
    db: Pointer,
    sql: Pointer,
    bytes: number,
    statementOut: Pointer,
    tailOut: Pointer,
  ) => number;
  readonly _sqlite3_step: (statement: Pointer) => number;
  readonly _sqlite3_reset: (statement: Pointer) => number;
  readonly _sqlite3_finalize: (statement: Pointer) => number;
  readonly _sqlite3_clear_bindings: (statement: Pointer) => number;
  readonly _sqlite3_bind_parameter_count: (statement: Pointer) => number;
  readonly _sqlite3_bind_null: (statement: Pointer, index: number) => number;
  readonly _sqlite3_bind_int: (statement: Pointer, index: number, value: number) => number;
  readonly _sqlite3_bind_int64: (
    statement: Pointer,
    index: number,
    low: number,
    high: number,
  ) => number;
  readonly _sqlite3_bind_double: (statement: Pointer, index: number, value: number) => number;
  readonly _sqlite3_bind_text: (
    statement: Pointer,
    index: number,
    text: Pointer,
    bytes: number,
    destructor: number,
  ) => number;
  readonly _sqlite3_bind_blob: (
    statement: Pointer,
    index: number,
    blob: Pointer,
    bytes: number,
    destructor: number,
  ) => number;
  readonly _sqlite3_column_count: (statement: Pointer) => number;
  readonly _sqlite3_column_name: (statement: Pointer, column: number) => Pointer;
  readonly _sqlite3_column_type: (statement: Pointer, column: number) => number;
  readonly _sqlite3_column_int64: (statement: Pointer, column: number) => number;
  readonly _sqlite3_column_double: (statement: Pointer, column: number) => number;
  readonly _sqlite3_column_blob: (statement: Pointer, column: number) => Pointer;
  readonly _sqlite3_column_bytes: (statement: Pointer, column: number) => number;
  readonly _sqlite3_changes: (db: Pointer) => number;
  readonly _sqlite3_get_autocommit: (db: Pointer) => number;
  readonly _sqlite3_limit: (db: Pointer, limit: number, value: number) => number;
  readonly registerVFS: (vfs: SqliteVfs, makeDefault: boolean) => number;
  readonly setAuthorizer: (db: Pointer, authorizer: Authorizer | null, context: number) => number;
  readonly progressHandler: (
    db: Pointer,
    operations: number,
    handler: ((context: number) => number) | null,
    context: number,
  ) => void;
}

/** A new instance with its own memory, 16 MiB at first. @throws what `WebAssembly` throws */
export const createSqliteModule = async (compiled: WebAssembly.Module): Promise<SqliteModule> =>
  createEmscriptenModule({
    instantiateWasm: (
      imports: WebAssembly.Imports,
      use: (instance: WebAssembly.Instance) => void,
    ) => {
      void WebAssembly.instantiate(compiled, imports).then(use);
      return {};
    },
    // An abort prints before it throws; the thrown error says the same.
    print: () => {},
    printErr: () => {},
  });
