/**
 * The bare engine: the same WebAssembly, VFS, pragmas and storage, one CRR, nothing of rowmesh on
 * top. What the ratios compare with.
 *
 * @module
 */

import { type Engine, openEngine } from "../src/db/engine.ts";
import type { Statement } from "../src/db/statement.ts";
import type { Storage } from "../src/db/storage.ts";
import { compileSqliteInNode } from "../src/db/wasm-node.ts";
import { fromHex, type SiteId } from "../src/protocol/ids.ts";
import type { SqlValue, StoredValue } from "../src/protocol/values.ts";
import { COLUMNS, INSERT, SCHEMA } from "./sample-rows.ts";

/** One row of `crsql_changes`, as the merge inserts it. */
export interface ChangeRow {
  readonly primaryKey: Uint8Array;
  readonly column: string;
  readonly value: StoredValue;
  readonly columnVersion: number;
  readonly causalLength: number;
  readonly seq: number;
}

export interface BareCrr {
  /** BEGIN, one INSERT per row through one prepared statement, COMMIT. */
  readonly insert: (rows: readonly (readonly SqlValue[])[]) => Promise<void>;
  /** BEGIN, `insert into crsql_changes` per row through one prepared statement, COMMIT. */
  readonly merge: (rows: readonly ChangeRow[], site: SiteId) => Promise<void>;
  readonly count: () => number;
  readonly close: () => Promise<void>;
}

export async function openBareCrr(storage: Storage): Promise<BareCrr> {
  const engine: Engine = await openEngine({
    wasm: await compileSqliteInNode(),
    files: await storage.openFiles(storage.generation()),
    atomicity: storage.atomicity,
  });
  for (const sql of SCHEMA.tables) engine.exec(sql);
  engine.exec("SELECT crsql_as_crr('sighting')");
  const insert = engine.prepare(INSERT);
  const merge = engine.prepare("INSERT INTO crsql_changes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
  merge.bindText(1, "sighting");
  merge.bindInteger(6, 0);

  const inTransaction = async (run: () => void): Promise<void> => {
    engine.exec("BEGIN IMMEDIATE");
    run();
    engine.exec("COMMIT");
    await storage.commit();
  };
  return {
    insert: (rows) =>
      inTransaction(() => {
        for (const row of rows) {
          insert.bindSql(row);
          insert.step();
        }
      }),
    merge: (rows, site) =>
      inTransaction(() => {
        merge.bindBlob(7, fromHex(site));
        for (const row of rows) {
          bindChange(merge, row);
          merge.step();
        }
      }),
    count: () => {
      const statement = engine.prepare("SELECT count(*) FROM sighting");
      statement.step();
      const count = statement.integer(0);
      statement.reset();
      return count;
    },
    close: async () => {
      engine.close();
      await storage.close();
    },
  };
}

/** What stays the same from row to row (table, db version, site) stays bound. */
function bindChange(merge: Statement, row: ChangeRow): void {
  merge.bindBlob(2, row.primaryKey);
  merge.bindText(3, row.column);
  merge.bind(4, row.value);
  merge.bindInteger(5, row.columnVersion);
  merge.bindInteger(8, row.causalLength);
  merge.bindInteger(9, row.seq);
}

/** The name of a payload's column number: the key is number 0. */
export function columnName(column: number): string {
  const name = COLUMNS[column - 1];
  if (name === undefined) throw new RangeError(`column ${column}`);
  return name;
}
