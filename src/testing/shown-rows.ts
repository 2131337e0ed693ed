/**
 * The same rows from two sides: what the tables show, and what the model says they should.
 *
 * @module
 */

import { packKey } from "../db/packed-key.ts";
import type { AppSchema, CellColumn } from "../db/schema.ts";
import type { SqlRunner } from "../db/sql-runner.ts";
import { toHex } from "../protocol/ids.ts";
import type { SqlValue, StoredValue } from "../protocol/values.ts";
import { isAlive, type ModelTables } from "./merge-model.ts";

/** What a table shows, with storage classes, by table number and packed key. */
export async function rowsOf(
  db: Pick<SqlRunner, "query">,
  schema: AppSchema,
): Promise<Map<string, unknown>> {
  const shown = new Map<string, unknown>();
  for (const [number, { name, keys, columns }] of schema.tables.entries()) {
    const cells = columns.flatMap((column) => (column === null ? [] : [column]));
    const all = [...keys, ...cells].flatMap((column) => [column.name, `typeof(${column.name})`]);
    for (const row of await db.query(`SELECT ${all.join(", ")} FROM ${name}`)) {
      const stored = (column: string): StoredValue => {
        const value = row[column] as SqlValue;
        return row[`typeof(${column})`] === "integer" ? BigInt(value as number) : value;
      };
      const key = toHex(packKey(keys.map((column) => stored(column.name))));
      shown.set(`${number}/${key}`, Object.fromEntries(cells.map((c) => [c.name, stored(c.name)])));
    }
  }
  return shown;
}

/** What the model shows; a cell nobody wrote in this life of the row has its default. */
export function rowsOfModel(model: ModelTables, schema: AppSchema): Map<string, unknown> {
  const shown = new Map<string, unknown>();
  for (const [place, row] of model) {
    if (!isAlive(row)) continue;
    const { columns } = schema.tables[Number(place.split("/")[0])] as AppSchema["tables"][number];
    const cells = columns.flatMap((column) => {
      if (column === null) return [];
      const cell = row.cells.get(column.number);
      return [[column.name, cell === undefined ? defaultOf(column) : cell.value]];
    });
    shown.set(place, Object.fromEntries(cells));
  }
  return shown;
}

/** SQL's literals; SQLite itself checked that this is one (`checkSchema`). */
function defaultOf({ defaultSql, valueClass }: CellColumn): StoredValue {
  if (defaultSql === null || /^null$/i.test(defaultSql)) return null;
  if (defaultSql.startsWith("'")) return defaultSql.slice(1, -1).replaceAll("''", "'");
  if (/^x'/i.test(defaultSql)) return Uint8Array.from(Buffer.from(defaultSql.slice(2, -1), "hex"));
  if (/^(?:true|false)$/i.test(defaultSql)) return /^true$/i.test(defaultSql) ? 1n : 0n;
  const number = defaultSql.replaceAll(/\s/g, "");
  const isInteger = /^[+-]?(?:\d+|0x[0-9a-f]+)$/i.test(number) && valueClass !== "REAL";
  if (!isInteger) return Number(number);
  const size = BigInt(number.replace(/^[+-]/, ""));
  return number.startsWith("-") ? -size : size;
}
