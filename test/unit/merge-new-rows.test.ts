import { expect, test } from "vitest";
import { captureChanges } from "../../src/db/capture.ts";
import type { Engine } from "../../src/db/engine.ts";
import { mergeRows } from "../../src/db/merge.ts";
import { type AppSchema, checkSchema } from "../../src/db/schema.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import { fromHex, type SiteId, siteId } from "../../src/protocol/ids.ts";
import type { ChangesetPayload } from "../../src/protocol/payload.ts";
import type { SqlValue, StoredValue } from "../../src/protocol/values.ts";
import { randomStatements } from "../../src/testing/random-work.ts";
import { ANIMALS } from "../fixtures/replicas.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { openTestEngine, storedRows } from "./open-test-engine.ts";

const SITES: readonly SiteId[] = ["aa", "bb", "cc"].map((byte) => siteId(byte.repeat(16)));
/** Keys enough that most rows are new somewhere, few enough that they meet. */
const IDS = 40;

/** The reference: every change through the virtual table, in the order of the payload. */
function mergeThroughVtab(
  engine: Engine,
  schema: AppSchema,
  site: SiteId,
  payload: ChangesetPayload,
): void {
  let seq = 0n;
  const insert = engine.prepare("INSERT INTO crsql_changes VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?)");
  for (const { table: number, rows } of payload.tables) {
    const table = schema.tables[number] as AppSchema["tables"][number];
    for (const { primaryKey, causalLength, sentinel, cells } of rows) {
      const change = (cid: string, value: StoredValue, version: number, cl: number): void => {
        const of = [table.name, primaryKey, cid, value, BigInt(version), fromHex(site)];
        insert.bindStored([...of, BigInt(cl), seq]);
        insert.run();
      };
      const from = seq;
      seq = 0n;
      if (causalLength % 2 === 1 && causalLength >= 3) {
        change("-1", null, causalLength - 1, causalLength - 1);
      }
      seq = from;
      if (sentinel) {
        change("-1", null, causalLength, causalLength);
        seq++;
      }
      for (const { column, columnVersion, value } of cells) {
        change(table.columns[column]?.name ?? "?", value, columnVersion, causalLength);
        seq++;
      }
    }
  }
}

const TABLES = ["animal", "sighting", "tag"];
/** The seq of own changes follows SQLite's row order, which nothing promises. */
const CHANGES =
  'SELECT "table", pk, cid, val, col_version, db_version, site_id, cl, iif(site_id = crsql_site_id(), 0, seq) FROM crsql_changes ORDER BY 1, 2, 3';
const everything = (engine: Engine): readonly unknown[] => [
  storedRows(engine, CHANGES),
  ...TABLES.map((name) => storedRows(engine, `SELECT * FROM ${name}`).map(String).sort()),
  storedRows(engine, "SELECT crsql_db_version(), crsql_internal_sync_bit()"),
  storedRows(engine, "SELECT site_id FROM crsql_site_id ORDER BY 1"),
];

test.each(Array.from({ length: 6 }, (_, at) => at + 1))(
  "[M10] rows new to a replica are merged as the virtual table would merge them (seed %i)",
  async (seed) => {
    const random = createSeededRandom(seed);
    const schema = await checkSchema(ANIMALS, await compileSqliteInNode());
    const open = async (site: SiteId): Promise<Engine> => {
      const storage = createMemoryStorage();
      const first = await openTestEngine(storage);
      first
        .prepare("UPDATE crsql_site_id SET site_id = ? WHERE ordinal = 0")
        .bindStored([fromHex(site)]);
      first.prepare("UPDATE crsql_site_id SET site_id = ? WHERE ordinal = 0").run();
      first.close();
      const engine = await openTestEngine(storage);
      for (const { name, sql } of schema.tables) {
        engine.exec(`${sql}; SELECT crsql_as_crr('${name}')`);
      }
      return engine;
    };
    const authors = await Promise.all(SITES.slice(1).map(open));
    const own = SITES[0] as SiteId;
    const ours = await open(own);
    const reference = await open(own);
    const write = (engine: Engine, work: ReturnType<typeof randomStatements>): ChangesetPayload => {
      for (const { sql, params } of work) {
        const statement = engine.prepare(sql);
        statement.bindSql(params);
        statement.run();
      }
      const tables = captureChanges(engine, schema, new Set(TABLES));
      return { schemaVersion: 1, schemaHash: null, wallClockMs: 0, tables };
    };
    const statements = (): ReturnType<typeof randomStatements> => {
      const inserts = Array.from({ length: random.below(6) }, () => ({
        sql: "INSERT OR IGNORE INTO animal VALUES (?, ?, ?, ?, ?)",
        params: [`id${random.below(IDS)}`, "new", random.below(9), 1.5, null] as SqlValue[],
      }));
      return [...inserts, ...randomStatements(random)];
    };
    for (let step = 0; step < 60; step++) {
      const at = random.below(3);
      const end = random.below(6) === 0 ? "ROLLBACK" : "COMMIT";
      const work = statements();
      for (const engine of [ours, reference]) engine.exec("BEGIN");
      if (at === 0) {
        for (const engine of [ours, reference]) write(engine, work);
      } else {
        const author = authors[at - 1] as Engine;
        author.exec("BEGIN");
        const payload = write(author, work);
        author.exec("COMMIT");
        mergeRows(ours, schema, SITES[at] as SiteId, payload);
        mergeThroughVtab(reference, schema, SITES[at] as SiteId, payload);
      }
      for (const engine of [ours, reference]) engine.exec(end);
      expect(everything(ours)).toEqual(everything(reference));
    }
    expect(storedRows(ours, "PRAGMA integrity_check")).toEqual([["ok"]]);
  },
);
