/**
 * What merging means, in 60 lines: causal length first, then the column version, then the larger
 * value. A row is a function of the set of changesets, so the model needs no order, site or clock.
 *
 * @module
 */

import { compareBytes, encodeText } from "../protocol/bytes.ts";
import { toHex } from "../protocol/ids.ts";
import type { ChangesetPayload, RowChanges } from "../protocol/payload.ts";
import type { StoredValue } from "../protocol/values.ts";

interface Cell {
  readonly columnVersion: number;
  readonly value: StoredValue;
}

interface Row {
  causalLength: number;
  readonly cells: Map<number, Cell>;
}

/** Rows that were ever heard of, by table number and packed key in hex. */
export type ModelTables = Map<string, Row>;

export function mergeIntoModel(tables: ModelTables, payload: ChangesetPayload): void {
  for (const { table, rows } of payload.tables) {
    for (const change of rows) {
      const place = `${table}/${toHex(change.primaryKey)}`;
      const row = tables.get(place) ?? { causalLength: 0, cells: new Map() };
      tables.set(place, row);
      mergeRow(row, change);
    }
  }
}

function mergeRow(row: Row, change: RowChanges): void {
  if (change.causalLength < row.causalLength) return;
  if (change.causalLength > row.causalLength) {
    row.causalLength = change.causalLength;
    row.cells.clear();
  }
  for (const { column, columnVersion, value } of change.cells) {
    const ours = row.cells.get(column);
    const wins =
      ours === undefined ||
      columnVersion > ours.columnVersion ||
      (columnVersion === ours.columnVersion && compareValues(value, ours.value) > 0);
    if (wins) row.cells.set(column, { columnVersion, value });
  }
}

const rank = (value: StoredValue): number => {
  if (value === null) return 0;
  if (value instanceof Uint8Array) return 1;
  return ["string", "number", "bigint"].indexOf(typeof value) + 2;
};

function compareValues(a: StoredValue, b: StoredValue): number {
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  if (a === null || b === null || a === b) return 0;
  if (a instanceof Uint8Array && b instanceof Uint8Array) return compareBytes(a, b);
  if (typeof a === "string") return compareBytes(encodeText(a), encodeText(String(b)));
  return a > b ? 1 : -1;
}

export const isAlive = (row: Row): boolean => row.causalLength % 2 === 1;
