/**
 * What the open transaction changed, read from cr-sqlite's clock tables instead of `crsql_changes`:
 * one statement per written table. A property test holds it equal to the virtual table, which costs
 * several times more.
 *
 * @module
 */

import { encodeText, equalBytes } from "../protocol/bytes.ts";
import { MeshError } from "../protocol/errors.ts";
import type { CellChange, RowChanges } from "../protocol/payload.ts";
import type { StoredValue } from "../protocol/values.ts";
import type { Engine } from "./engine.ts";
import { type AppSchema, type AppTable, perTable, quoteName } from "./schema.ts";
import type { Statement } from "./statement.ts";

/** What one table's part of the transaction is, read as it is asked for. */
export interface CapturedTable {
  readonly table: number;
  readonly rows: number;
  /** Together so many rows, ascending by primary key. To be read once, before the COMMIT. */
  readonly parts: Iterable<readonly RowChanges[]>;
}

/** Rows, and bytes of values, that are in memory at a time. */
const PART_ROWS = 1_000;
const PART_BYTES: number = 64 * 1024;

/**
 * Inside a transaction of local writes only, before its COMMIT.
 * @throws ERR_SQL for text that is not UTF-8, which no changeset can carry
 */
export function captureChanges(
  engine: Engine,
  schema: AppSchema,
  written: ReadonlySet<string>,
): CapturedTable[] {
  const pending = pendingDbVersion(engine);
  const tables: CapturedTable[] = [];
  for (const [number, table] of schema.tables.entries()) {
    if (!written.has(table.name)) continue;
    for (const { rows, isLast } of readParts(engine, table, pending)) {
      // What is small is read once; what is large is counted, and read again part by part.
      tables.push(
        isLast
          ? { table: number, rows: rows.length, parts: [rows] }
          : {
              table: number,
              rows: countRows(engine, table, pending),
              parts: partsOf(engine, table, pending),
            },
      );
      break;
    }
  }
  return tables;
}

function* partsOf(
  engine: Engine,
  table: AppTable,
  pending: bigint,
): Generator<readonly RowChanges[]> {
  for (const { rows } of readParts(engine, table, pending)) yield rows;
}

function countRows(engine: Engine, table: AppTable, pending: bigint): number {
  const count = engine.prepare(countSql(table));
  count.bindBigint(1, pending);
  count.step();
  const rows = count.integer(0);
  count.reset();
  return rows;
}

const pendingDbVersion = (engine: Engine): bigint => {
  const next = engine.prepare("SELECT crsql_next_db_version()");
  next.step();
  const version = next.bigint(0);
  next.reset();
  return version;
};

/** Columns of {@link rowsSql} before those of the table. */
const FIRST_CELL = 5;

interface Part {
  readonly rows: readonly RowChanges[];
  readonly isLast: boolean;
}

function* readParts(engine: Engine, table: AppTable, pending: bigint): Generator<Part> {
  const cells = table.columns.flatMap((column) => (column === null ? [] : [column.number]));
  const select = engine.prepare(rowsSql(table));
  select.bindBigint(1, pending);
  let rows: RowChanges[] = [];
  let bytes = 0;
  try {
    while (select.step()) {
      if (rows.length === PART_ROWS || bytes >= PART_BYTES) {
        yield { rows, isLast: false };
        rows = [];
        bytes = 0;
      }
      const row = readRow(engine, table, select, cells, pending);
      rows.push(row);
      for (const { value } of row.cells) bytes += lengthOf(value);
    }
    if (rows.length > 0) yield { rows, isLast: true };
  } finally {
    if (!engine.trapped()) select.reset();
  }
}

const lengthOf = (value: StoredValue): number =>
  typeof value === "string" || value instanceof Uint8Array ? value.length : 8;

function readRow(
  engine: Engine,
  table: AppTable,
  select: Statement,
  cells: readonly number[],
  pending: bigint,
): RowChanges {
  const count = select.integer(0);
  const highest = select.integer(1);
  const primaryKey = select.blob(3);
  const causalLength = select.integer(4);
  // A new row, by far the most frequent: every cell at version 1. (A sentinel is at 2 or more.)
  if (count === cells.length && highest === 1) {
    const fresh = cells.map((column) => readCell(select, column, 1));
    return { primaryKey, causalLength, sentinel: false, cells: fresh };
  }
  const { sentinel, versions } = readClock(engine, table, select.integer(2), pending);
  const changed = cells.flatMap((column) => {
    const columnVersion = versions.get(column);
    return columnVersion === undefined ? [] : [readCell(select, column, columnVersion)];
  });
  return { primaryKey, causalLength, sentinel, cells: changed };
}

/** Which cells of one row changed, by column number, and whether the row itself did. */
function readClock(
  engine: Engine,
  table: AppTable,
  key: number,
  pending: bigint,
): { readonly sentinel: boolean; readonly versions: ReadonlyMap<number, number> } {
  const clock = engine.prepare(clockSql(table));
  clock.bindInteger(1, key);
  clock.bindBigint(2, pending);
  const versions = new Map<number, number>();
  let sentinel = false;
  while (clock.step()) {
    const name = clock.text(0);
    const number = table.columns.findIndex((column) => column?.name === name);
    if (number < 0) sentinel = true;
    else versions.set(number, clock.integer(1));
  }
  return { sentinel, versions };
}

/** Text with malformed UTF-8 (`CAST(x'ff' AS TEXT)`) would arrive as another text. */
function readCell(select: Statement, column: number, columnVersion: number): CellChange {
  const value = select.stored(column + FIRST_CELL);
  if (typeof value === "string" && value.includes("\ufffd")) {
    if (!equalBytes(encodeText(value), select.blob(column + FIRST_CELL))) {
      throw new MeshError("ERR_SQL", "a TEXT value is not UTF-8; store it as BLOB");
    }
  }
  return { column, columnVersion, value };
}

const clockName = ({ name }: AppTable): string => quoteName(`${name}__crsql_clock`);

const clockSql = perTable(
  (table) =>
    `SELECT col_name, col_version FROM ${clockName(table)} WHERE key = ? AND db_version = ? AND site_id = 0 AND col_version > 0`,
);

/**
 * One row for each changed one: how many of its clock entries changed, the highest of their versions,
 * its key in the clock, its packed key, its causal length, then every
 * column of the table by its number. The clock's index on db_version goes on with the key, so the
 * groups come without sorting; the rows are sorted by their packed key, bytewise.
 */
const rowsSql = perTable((table) => {
  const { name, keys, columns } = table;
  const packed = keys.map((key) => `p.${quoteName(key.name)}`).join(", ");
  const cells = columns.map((column) => (column === null ? "NULL" : `b.${quoteName(column.name)}`));
  const join = keys.map((key) => `b.${quoteName(key.name)} = p.${quoteName(key.name)}`);
  return `SELECT c.n, c.highest, c.key, crsql_pack_columns(${packed}), coalesce((SELECT col_version FROM ${clockName(table)} WHERE key = c.key AND col_name = '-1'), 1), ${cells.join(", ")} FROM (SELECT key, count(*) AS n, max(col_version) AS highest FROM ${clockName(table)} WHERE db_version = ? AND site_id = 0 AND col_version > 0 GROUP BY key) c JOIN ${quoteName(`${name}__crsql_pks`)} p ON p.__crsql_key = c.key LEFT JOIN ${quoteName(name)} b ON ${join.join(" AND ")} ORDER BY 4`;
});

const countSql = perTable(
  (table) =>
    `SELECT count(*) FROM (SELECT key FROM ${clockName(table)} WHERE db_version = ? AND site_id = 0 AND col_version > 0 GROUP BY key)`,
);
