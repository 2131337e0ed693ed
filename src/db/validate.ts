/**
 * Whether a changeset's rows may be merged: a function of the signed bytes and the schema alone, so
 * that every replica judges alike (P3). What `decodePayload` demands of the bytes is not repeated.
 * The writer runs its own transactions through the same function before it signs them.
 *
 * @module
 */

import { isMeshError, MeshError } from "../protocol/errors.ts";
import { CLOCK_MAX, PRIMARY_KEY_BYTES_MAX, ROWS_MAX, VALUE_BYTES_MAX } from "../protocol/limits.ts";
import type { PayloadRows, RowChanges } from "../protocol/payload.ts";
import type { StoredValue } from "../protocol/values.ts";
import type { Engine } from "./engine.ts";
import { unpackKey } from "./packed-key.ts";
import {
  type AppSchema,
  type AppTable,
  type CellColumn,
  checkSql,
  type KeyColumn,
  schemaVersionOf,
  type ValueClass,
} from "./schema.ts";

/**
 * By the tables of the version the payload names, which is this schema's or an earlier one.
 * @throws MeshError ERR_ROWS_INVALID: void everywhere and for ever
 */
export function validatePayload(payload: PayloadRows, schema: AppSchema, engine: Engine): void {
  const { tables } = schemaVersionOf(schema, payload.schemaVersion);
  let rowCount = 0;
  for (const { table: number, rows } of payload.tables) {
    const table = tables[number];
    if (table === undefined) throw new MeshError("ERR_ROWS_INVALID", `no table ${number}`);
    rowCount += rows.length;
    if (rowCount > ROWS_MAX) throw invalid(table, "too many rows");
    const classes = table.keys.map(({ valueClass }) => valueClass);
    for (const row of rows) {
      validateClocks(table, row);
      const key = unpack(table, row.primaryKey, classes);
      for (const [at, column] of table.keys.entries()) {
        validateChecks(table, column, key[at] as StoredValue, engine);
      }
      for (const { column: cid, columnVersion, value } of row.cells) {
        const column = table.columns[cid];
        if (column === undefined) throw invalid(table, `no column ${cid}`);
        if (column === null) throw invalid(table, "a key column never changes");
        if (columnVersion < 1 || columnVersion > CLOCK_MAX) throw invalid(table, usedUp(column));
        validateValue(table, column, value);
        validateChecks(table, column, value, engine);
      }
    }
  }
}

/** What a writer reads when an insider drove a clock to its cap; what a decoder lets through is at most that. */
const usedUp = ({ name }: CellColumn): string =>
  `${name} of this row can change no more; delete the row and insert it again`;
const KEY_USED_UP = "this key was used up; insert the row under another key";

const invalid = (table: AppTable, why: string, cause?: unknown): MeshError =>
  new MeshError("ERR_ROWS_INVALID", `table ${table.name}: ${why}`, { cause });

function validateClocks(table: AppTable, { causalLength, sentinel, cells }: RowChanges): void {
  if (causalLength < 1 || causalLength > CLOCK_MAX) throw invalid(table, KEY_USED_UP);
  const alive = causalLength % 2 === 1;
  if (alive ? !sentinel && cells.length === 0 : !sentinel || cells.length > 0) {
    throw invalid(table, "cells and liveness");
  }
}

function unpack(
  table: AppTable,
  primaryKey: Uint8Array,
  classes: Parameters<typeof unpackKey>[1],
): StoredValue[] {
  if (primaryKey.length > PRIMARY_KEY_BYTES_MAX) throw invalid(table, "primary key too long");
  try {
    return unpackKey(primaryKey, classes);
  } catch (cause) {
    if (isMeshError(cause)) throw invalid(table, "primary key", cause);
    throw cause;
  }
}

function validateValue(table: AppTable, column: CellColumn, value: StoredValue): void {
  if (value === null) {
    if (!column.nullable) throw invalid(table, `NULL in ${column.name}`);
    return;
  }
  const valueClass = classOf(value);
  if (column.valueClass !== "ANY" && column.valueClass !== valueClass) {
    throw invalid(table, `${valueClass} in ${column.name}, which is ${column.valueClass}`);
  }
  // SQLite stores −0.0 as 0.0: two values for one cell would never meet.
  if (Object.is(value, -0)) throw invalid(table, `−0.0 in ${column.name}`);
  const long = typeof value === "string" || value instanceof Uint8Array;
  if (long && value.length > VALUE_BYTES_MAX) throw invalid(table, `${column.name} too long`);
}

const classOf = (value: Exclude<StoredValue, null>): ValueClass => {
  if (typeof value === "bigint") return "INTEGER";
  if (typeof value === "number") return "REAL";
  return typeof value === "string" ? "TEXT" : "BLOB";
};

function validateChecks(
  table: AppTable,
  column: KeyColumn | CellColumn,
  value: StoredValue,
  engine: Engine,
): void {
  if (column.checks.length === 0) return;
  const check = engine.prepare(checkSql(column));
  check.bind(1, value);
  let passes = false;
  try {
    passes = check.step() && check.integer(0) === 1;
    check.reset();
  } catch (cause) {
    // The expression fails on this value (abs of −2^63, say), as it does in the writer's INSERT.
    if (!isMeshError(cause, "ERR_SQL")) throw cause;
  }
  if (!passes) throw invalid(table, `${column.name} breaks its CHECK`);
}
