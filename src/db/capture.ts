/**
 * What the open transaction changed, read from cr-sqlite's clock tables instead of `crsql_changes`:
 * one indexed scan per written table and one lookup per row. A property test holds it equal to the
 * virtual table, which costs several times more.
 *
 * @module
 */

import { compareBytes, encodeText, equalBytes } from "../protocol/bytes.ts";
import { MeshError } from "../protocol/errors.ts";
import type { CellChange, RowChanges, TableChanges } from "../protocol/payload.ts";
import type { StoredValue } from "../protocol/values.ts";
import type { Engine } from "./engine.ts";
import { type AppSchema, type AppTable, quoteName } from "./schema.ts";
import type { Statement } from "./statement.ts";

/**
 * Inside a transaction of local writes only, before its COMMIT.
 * @throws ERR_SQL for text that is not UTF-8, which no changeset can carry
 */
export function captureChanges(
  engine: Engine,
  schema: AppSchema,
  written: ReadonlySet<string>,
): TableChanges[] {
  const pending = pendingDbVersion(engine);
  const tables: TableChanges[] = [];
  for (const [number, table] of schema.tables.entries()) {
    if (!written.has(table.name)) continue;
    const rows = captureTable(engine, table, pending);
    if (rows.length > 0) tables.push({ table: number, rows });
  }
  return tables;
}

const pendingDbVersion = (engine: Engine): bigint => {
  const next = engine.prepare("SELECT crsql_next_db_version()");
  next.step();
  const version = next.bigint(0);
  next.reset();
  return version;
};

interface PendingRow {
  sentinel: boolean;
  /** Column number and col version, alternating. */
  readonly cells: number[];
}

function captureTable(engine: Engine, table: AppTable, pending: bigint): RowChanges[] {
  const numberByName = new Map(
    table.columns.flatMap((column) => (column === null ? [] : [[column.name, column.number]])),
  );
  const rowsByKey = new Map<number, PendingRow>();
  const clock = engine.prepare(clockSql(table));
  clock.bindBigint(1, pending);
  while (clock.step()) {
    const key = clock.integer(0);
    let row = rowsByKey.get(key);
    if (row === undefined) rowsByKey.set(key, (row = { sentinel: false, cells: [] }));
    const number = numberByName.get(clock.text(1));
    if (number === undefined) row.sentinel = true;
    else row.cells.push(number, clock.integer(2));
  }
  const lookup = engine.prepare(rowSql(table));
  const rows: RowChanges[] = [];
  for (const [key, row] of rowsByKey) {
    lookup.bindInteger(1, key);
    lookup.step();
    const primaryKey = lookup.blob(0);
    const causalLength = lookup.integer(1);
    rows.push({ primaryKey, causalLength, sentinel: row.sentinel, cells: readCells(lookup, row) });
    lookup.reset();
  }
  return rows.sort((a, b) => compareBytes(a.primaryKey, b.primaryKey));
}

function readCells(lookup: Statement, { cells }: PendingRow): CellChange[] {
  const read: CellChange[] = [];
  for (let at = 0; at < cells.length; at += 2) {
    const column = cells[at] as number;
    const value = readWhole(lookup, column + 2);
    read.push({ column, columnVersion: cells[at + 1] as number, value });
  }
  return read.sort((a, b) => a.column - b.column);
}

/** Text with malformed UTF-8 (`CAST(x'ff' AS TEXT)`) would arrive as another text. */
function readWhole(lookup: Statement, column: number): StoredValue {
  const value = lookup.stored(column);
  if (typeof value !== "string" || !value.includes("\ufffd")) return value;
  if (equalBytes(encodeText(value), lookup.blob(column))) return value;
  throw new MeshError("ERR_SQL", "a TEXT value is not UTF-8; store it as BLOB");
}

const clockSql = ({ name }: AppTable): string =>
  `SELECT key, col_name, col_version FROM ${quoteName(`${name}__crsql_clock`)} WHERE db_version = ? AND site_id = 0 AND col_version > 0`;

/** Columns: the packed key, the causal length, then every column of the table by its number. */
const rowSql = ({ name, keys, columns }: AppTable): string => {
  const pks = quoteName(`${name}__crsql_pks`);
  const clock = quoteName(`${name}__crsql_clock`);
  const packed = keys.map((key) => `p.${quoteName(key.name)}`).join(", ");
  const cells = columns.map((column) => (column === null ? "NULL" : `b.${quoteName(column.name)}`));
  const join = keys.map((key) => `b.${quoteName(key.name)} = p.${quoteName(key.name)}`);
  return `SELECT crsql_pack_columns(${packed}), coalesce((SELECT col_version FROM ${clock} WHERE key = ?1 AND col_name = '-1'), 1), ${cells.join(", ")} FROM ${pks} p LEFT JOIN ${quoteName(name)} b ON ${join.join(" AND ")} WHERE p.__crsql_key = ?1`;
};
