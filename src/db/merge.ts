/**
 * Rows of a validated changeset into the tables, through `crsql_changes` (docs/PROTOCOL.md, rule M5):
 * - db_version 0: an author's own would poison ours;
 * - rows new to this replica go a shorter way (`merge-new-rows.ts`);
 * - before every re-inserted row (odd causal length from 3 on) the delete that precedes it, or a
 *   changeset that carries only some cells of the row would leave replicas apart;
 * - the site is the changeset's author, never NULL, which cr-sqlite would take for us.
 *
 * @module
 */

import { fromHex, type SiteId } from "../protocol/ids.ts";
import type { PayloadRows } from "../protocol/payload.ts";
import type { Engine } from "./engine.ts";
import { mergeNewRows, type SequencedRow } from "./merge-new-rows.ts";
import {
  type AppSchema,
  type AppTable,
  type CellColumn,
  perTable,
  schemaVersionOf,
} from "./schema.ts";
import type { Statement } from "./statement.ts";

const KEY = 1;
const CID = 2;
const VALUE = 3;
const COL_VERSION = 4;
const SITE = 5;
const CAUSAL_LENGTH = 6;
const SEQ = 7;

/**
 * Inside an open transaction. When it throws, roll that back: a part may be in the tables. There is
 * no savepoint for each changeset because one that is open makes every later statement of a large
 * changeset walk the whole statement journal (100,000 updated rows took 20 s instead of 2).
 */
export function mergeRows(
  engine: Engine,
  schema: AppSchema,
  site: SiteId,
  payload: PayloadRows,
  onTable: (table: AppTable) => void = () => undefined,
): void {
  const siteBytes = fromHex(site);
  // A row that is whole for its own version is new as a whole; what later ones add has its default.
  const { tables } = schemaVersionOf(schema, payload.schemaVersion);
  let seq = 0;
  for (const { table: number, rows } of payload.tables) {
    const table = tables[number] as AppTable;
    const sequenced = rows.map((row) => {
      const first = seq;
      seq += row.cells.length + (row.sentinel ? 1 : 0);
      return { row, seq: first };
    });
    onTable(table);
    insertThroughVtab(engine, table, siteBytes, mergeNewRows(engine, table, siteBytes, sequenced));
  }
}

function insertThroughVtab(
  engine: Engine,
  table: AppTable,
  site: Uint8Array,
  rows: readonly SequencedRow[],
): void {
  // Bindings outlive a step: only what differs from the last change is bound again.
  const insert = engine.prepare(insertSql(table));
  insert.bindBlob(SITE, site);
  for (const { row, seq: first } of rows) {
    const { primaryKey, causalLength, sentinel, cells } = row;
    let seq = first;
    insert.bindBlob(KEY, primaryKey);
    if (causalLength % 2 === 1 && causalLength >= 3) insertSentinel(insert, causalLength - 1, 0);
    if (sentinel) insertSentinel(insert, causalLength, seq++);
    insert.bindInteger(CAUSAL_LENGTH, causalLength);
    for (const { column: cid, columnVersion, value } of cells) {
      insert.bindText(CID, (table.columns[cid] as CellColumn).name);
      insert.bind(VALUE, value);
      insert.bindInteger(COL_VERSION, columnVersion);
      insert.bindInteger(SEQ, seq++);
      insert.step();
    }
  }
}

const insertSql = perTable(
  ({ name }) =>
    `INSERT INTO crsql_changes ("table", pk, cid, val, col_version, db_version, site_id, cl, seq) VALUES ('${name}', ?1, ?2, ?3, ?4, 0, ?5, ?6, ?7)`,
);

function insertSentinel(insert: Statement, causalLength: number, seq: number): void {
  insert.bindText(CID, "-1");
  insert.bindNull(VALUE);
  insert.bindInteger(COL_VERSION, causalLength);
  insert.bindInteger(CAUSAL_LENGTH, causalLength);
  insert.bindInteger(SEQ, seq);
  insert.step();
}
