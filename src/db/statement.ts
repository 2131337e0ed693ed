/**
 * A prepared statement. Values keep their storage class exactly (facts of the stock binding: numbers
 * beyond int32 become REAL, empty blobs NULL, text ends at NUL; none of that here).
 *
 * Synchronous: bind, step until false, reset. One user at a time.
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";
import type { SqlRow, SqlValue, StoredValue } from "../protocol/values.ts";
import type { Heap } from "./heap.ts";
import { SQLITE_DONE, SQLITE_OK, SQLITE_ROW } from "./sqlite-error.ts";
import type { Pointer, SqliteModule } from "./sqlite-wasm.ts";

/** https://sqlite.org/c3ref/c_blob.html */
const INTEGER = 1;
const REAL = 2;
const TEXT = 3;
const BLOB = 4;
const NULL = 5;
type StorageClass = 1 | 2 | 3 | 4 | 5;

const SQLITE_TRANSIENT = -1;
const TWO_POW_32 = 4_294_967_296;

/** Parameters are numbered from 1, columns from 0, as in SQLite. */
export interface Statement {
  readonly sql: string;
  readonly parameterCount: number;
  readonly columnCount: number;
  readonly columnNames: () => readonly string[];
  /** All parameters at once, in their exact storage class; resets first. */
  readonly bindStored: (values: readonly StoredValue[]) => void;
  /** All parameters at once, by the rules of {@link SqlValue}; resets first. */
  readonly bindSql: (values: readonly SqlValue[]) => void;
  readonly bindNull: (index: number) => void;
  /** INTEGER from a safe integer. @throws RangeError otherwise */
  readonly bindInteger: (index: number, value: number) => void;
  /** INTEGER. @throws ERR_SQL outside of int64 */
  readonly bindBigint: (index: number, value: bigint) => void;
  /** REAL. @throws ERR_SQL for NaN, which SQLite would make NULL */
  readonly bindReal: (index: number, value: number) => void;
  /** @throws ERR_SQL on a lone surrogate */
  readonly bindText: (index: number, value: string) => void;
  readonly bindBlob: (index: number, value: Uint8Array) => void;
  readonly bind: (index: number, value: StoredValue) => void;
  /** True when a row is there to read. @throws ERR_SQL, ERR_STORAGE_*, ERR_ENGINE_TRAP, … */
  readonly step: () => boolean;
  /** Steps to the end and resets, for a statement whose rows do not matter. */
  readonly run: () => void;
  /** Lets go of the row and its locks; bindings stay. Idempotent, never throws for an earlier error. */
  readonly reset: () => void;
  readonly storageClass: (column: number) => StorageClass;
  readonly stored: (column: number) => StoredValue;
  readonly sqlValue: (column: number) => SqlValue;
  /** @throws RangeError beyond ±2^53 */
  readonly integer: (column: number) => number;
  readonly bigint: (column: number) => bigint;
  readonly real: (column: number) => number;
  readonly text: (column: number) => string;
  /** A copy. NULL reads as no bytes. */
  readonly blob: (column: number) => Uint8Array<ArrayBuffer>;
  readonly storedRow: () => StoredValue[];
  readonly sqlRow: () => SqlRow;
  /** Resets first. */
  readonly finalize: () => void;
}

/** What a statement needs of the engine it belongs to. */
export interface StatementHost {
  readonly wasm: SqliteModule;
  readonly heap: Heap;
  /** Runs WebAssembly; a trap marks the engine dead and throws ERR_ENGINE_TRAP. */
  readonly guarded: <T>(run: () => T) => T;
  /** The MeshError for a result code that is not OK, ROW or DONE. */
  readonly failure: (resultCode: number) => Error;
  readonly onFinalize: (statement: Statement) => void;
}

export const createStatement = (host: StatementHost, pointer: Pointer, sql: string): Statement => {
  const { wasm, guarded } = host;
  const parameterCount = wasm._sqlite3_bind_parameter_count(pointer);
  const columnCount = wasm._sqlite3_column_count(pointer);
  let alive = true;
  let mustReset = false;

  const reset = (): void => {
    if (!mustReset) return;
    mustReset = false;
    // The code repeats the error of the last step, which that step has thrown already.
    guarded(() => wasm._sqlite3_reset(pointer));
  };
  const columns = createColumnReaders(host, pointer);
  const binders = createBinders(host, pointer, parameterCount);
  const stepRaw = (): number => wasm._sqlite3_step(pointer);

  const step = (): boolean => {
    if (!alive) throw new RangeError(`statement used after finalize: ${sql}`);
    mustReset = true;
    const resultCode = guarded(stepRaw);
    if (resultCode === SQLITE_ROW) return true;
    if (resultCode === SQLITE_DONE) {
      reset();
      return false;
    }
    const error = host.failure(resultCode);
    reset();
    throw error;
  };
  const statement: Statement = {
    sql,
    parameterCount,
    columnCount,
    ...columns,
    ...createRowReaders(host, pointer, columnCount, columns),
    ...binders,
    bindStored: (values) => {
      reset();
      assertCount(sql, parameterCount, values.length);
      for (let at = 0; at < values.length; at += 1) binders.bind(at + 1, values[at] as StoredValue);
    },
    bindSql: (values) => {
      reset();
      assertCount(sql, parameterCount, values.length);
      for (let at = 0; at < values.length; at += 1) {
        bindSqlValue(binders, at + 1, values[at] as SqlValue);
      }
    },
    step,
    run: () => {
      while (step());
    },
    reset,
    finalize: () => {
      if (!alive) return;
      alive = false;
      host.onFinalize(statement);
      guarded(() => wasm._sqlite3_finalize(pointer));
    },
  };
  return statement;
};

type Binders = Pick<
  Statement,
  "bindNull" | "bindInteger" | "bindBigint" | "bindReal" | "bindText" | "bindBlob" | "bind"
>;

const createBinders = (host: StatementHost, pointer: Pointer, parameterCount: number): Binders => {
  const { wasm, heap } = host;
  const int64 = new BigInt64Array(1);
  const halves = new Int32Array(int64.buffer);

  const check = (resultCode: number, index: number): void => {
    if (resultCode === SQLITE_OK) return;
    if (index < 1 || index > parameterCount) {
      throw new RangeError(`parameter ${index} of ${parameterCount}`);
    }
    throw host.failure(resultCode);
  };
  const bindNull = (index: number): void => check(wasm._sqlite3_bind_null(pointer, index), index);
  const bindInteger = (index: number, value: number): void => {
    // Checks int32 first: it is nearly always one, and the comparison is also false for NaN.
    if ((value | 0) === value) {
      check(wasm._sqlite3_bind_int(pointer, index, value), index);
      return;
    }
    if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not a safe integer`);
    const high = Math.floor(value / TWO_POW_32);
    check(wasm._sqlite3_bind_int64(pointer, index, value | 0, high), index);
  };
  const bindBigint = (index: number, value: bigint): void => {
    int64[0] = value;
    if (int64[0] !== value) throw new MeshError("ERR_SQL", `${value} does not fit in 64 bits`);
    check(
      wasm._sqlite3_bind_int64(pointer, index, halves[0] as number, halves[1] as number),
      index,
    );
  };
  const bindReal = (index: number, value: number): void => {
    if (Number.isNaN(value)) throw new MeshError("ERR_SQL", "NaN has no SQLite value; use null");
    check(wasm._sqlite3_bind_double(pointer, index, value), index);
  };
  const bindText = (index: number, value: string): void => {
    const text = heap.putText(value);
    check(
      wasm._sqlite3_bind_text(pointer, index, text.pointer, text.bytes, SQLITE_TRANSIENT),
      index,
    );
  };
  const bindBlob = (index: number, value: Uint8Array): void => {
    const at = heap.putBytes(value);
    check(wasm._sqlite3_bind_blob(pointer, index, at, value.length, SQLITE_TRANSIENT), index);
  };
  const bind = (index: number, value: StoredValue): void => {
    if (value === null) bindNull(index);
    else if (typeof value === "string") bindText(index, value);
    else if (typeof value === "bigint") bindBigint(index, value);
    else if (typeof value === "number") bindReal(index, value);
    else bindBlob(index, value);
  };
  return { bindNull, bindInteger, bindBigint, bindReal, bindText, bindBlob, bind };
};

/** The app's side of values.ts. JavaScript callers get a MeshError for what TypeScript would refuse. */
const bindSqlValue = (binders: Binders, index: number, value: SqlValue): void => {
  if (value === null) binders.bindNull(index);
  else if (typeof value === "string") binders.bindText(index, value);
  else if (typeof value === "number") {
    // -0 is an integral number like 0, and binds as INTEGER 0.
    if (Number.isSafeInteger(value)) binders.bindInteger(index, value);
    else binders.bindReal(index, value);
  } else if (typeof value === "bigint") binders.bindBigint(index, value);
  else if (value instanceof Uint8Array) binders.bindBlob(index, value);
  else {
    throw new MeshError(
      "ERR_SQL",
      `parameter ${index} is ${typeof value}; use string, number, bigint, Uint8Array or null`,
    );
  }
};

type ColumnReaders = Pick<
  Statement,
  "storageClass" | "stored" | "sqlValue" | "integer" | "bigint" | "real" | "text" | "blob"
>;
type RowReaders = Pick<Statement, "columnNames" | "storedRow" | "sqlRow">;

const createColumnReaders = (host: StatementHost, pointer: Pointer): ColumnReaders => {
  const { wasm, heap } = host;
  const int64 = new BigInt64Array(1);
  const halves = new Int32Array(int64.buffer);

  const storageClass = (column: number): StorageClass =>
    wasm._sqlite3_column_type(pointer, column) as StorageClass;
  const bigint = (column: number): bigint => {
    halves[0] = wasm._sqlite3_column_int64(pointer, column);
    halves[1] = wasm.getTempRet0();
    return int64[0] as bigint;
  };
  const integerOrNaN = (column: number): number => {
    const low = wasm._sqlite3_column_int64(pointer, column) >>> 0;
    const value = (wasm.getTempRet0() | 0) * TWO_POW_32 + low;
    return Number.isSafeInteger(value) ? value : Number.NaN;
  };
  const integer = (column: number): number => {
    const value = integerOrNaN(column);
    if (Number.isNaN(value)) throw new RangeError(`column ${column} holds ${bigint(column)}`);
    return value;
  };
  const real = (column: number): number => wasm._sqlite3_column_double(pointer, column);
  // sqlite3_column_blob of a TEXT gives its UTF-8 bytes without a copy or a conversion.
  const text = (column: number): string => {
    const at = wasm._sqlite3_column_blob(pointer, column);
    return heap.text(at, wasm._sqlite3_column_bytes(pointer, column));
  };
  const blob = (column: number): Uint8Array<ArrayBuffer> => {
    const at = wasm._sqlite3_column_blob(pointer, column);
    return heap.bytes(at, wasm._sqlite3_column_bytes(pointer, column));
  };
  const stored = (column: number): StoredValue => {
    switch (storageClass(column)) {
      case INTEGER:
        return bigint(column);
      case REAL:
        return real(column);
      case TEXT:
        return text(column);
      case BLOB:
        return blob(column);
      case NULL:
        return null;
    }
  };
  const sqlValue = (column: number): SqlValue => {
    if (storageClass(column) !== INTEGER) return stored(column);
    const value = integerOrNaN(column);
    return Number.isNaN(value) ? bigint(column) : value;
  };
  return { storageClass, stored, sqlValue, integer, bigint, real, text, blob };
};

const createRowReaders = (
  { wasm, heap }: StatementHost,
  pointer: Pointer,
  columnCount: number,
  { stored, sqlValue }: ColumnReaders,
): RowReaders => {
  let names: readonly string[] | null = null;
  const columnNames = (): readonly string[] => {
    names ??= Array.from({ length: columnCount }, (_, column) =>
      heap.cString(wasm._sqlite3_column_name(pointer, column)),
    );
    return names;
  };
  return {
    columnNames,
    storedRow: () => {
      const row: StoredValue[] = [];
      for (let column = 0; column < columnCount; column += 1) row.push(stored(column));
      return row;
    },
    sqlRow: () => {
      const row: Record<string, SqlValue> = {};
      for (const [column, name] of columnNames().entries()) {
        // Assigning to this one name would set the prototype instead.
        if (name === "__proto__") {
          Object.defineProperty(row, name, { value: sqlValue(column), enumerable: true });
        } else row[name] = sqlValue(column);
      }
      return row;
    },
  };
};

const assertCount = (sql: string, expected: number, given: number): void => {
  if (expected !== given) {
    throw new MeshError("ERR_SQL", `the statement takes ${expected} values, got ${given}: ${sql}`);
  }
};
