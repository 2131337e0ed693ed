/**
 * The same rows from two sides: what the tables of `ANIMALS` show, and what the model says they should.
 *
 * @module
 */

import { packKey } from "../db/packed-key.ts";
import type { AppSchema } from "../db/schema.ts";
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
  const defaults: Record<string, StoredValue> = { count: 0n, note: "" };
  const shown = new Map<string, unknown>();
  for (const [place, row] of model) {
    if (!isAlive(row)) continue;
    const { columns } = schema.tables[Number(place.split("/")[0])] as AppSchema["tables"][number];
    const cells = columns.flatMap((column) => {
      if (column === null) return [];
      const cell = row.cells.get(column.number);
      return [[column.name, cell === undefined ? (defaults[column.name] ?? null) : cell.value]];
    });
    shown.set(place, Object.fromEntries(cells));
  }
  return shown;
}
