import { expect, test } from "vitest";
import { captureChanges } from "../../src/db/capture.ts";
import type { Engine } from "../../src/db/engine.ts";
import { mergeRows } from "../../src/db/merge.ts";
import { checkSchema } from "../../src/db/check-schema.ts";
import type { AppSchema } from "../../src/db/schema.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import { fromHex, type SiteId, siteId } from "../../src/protocol/ids.ts";
import type { ChangesetPayload } from "../../src/protocol/payload.ts";
import type { SqlValue, StoredValue } from "../../src/protocol/values.ts";
import { randomStatements } from "../../src/testing/random-work.ts";
import { ANIMALS, ANIMALS_2, ANIMALS_3 } from "../fixtures/replicas.ts";
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

const TABLES = ["animal", "sighting", "tag", "trap"];
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
  "[M10] rows new to a replica are merged as the virtual table would merge them, of whatever schema version (seed %i)",
  async (seed) => {
    const random = createSeededRandom(seed);
    const wasm = await compileSqliteInNode();
    const schemas = await Promise.all(
      [ANIMALS, ANIMALS_2, ANIMALS_3].map((each) => checkSchema(each, wasm)),
    );
    /** Ours is the last; authors have any. */
    const versionOf = (at: number): number => (at === 0 ? 3 : 1 + ((seed + at) % 3));
    const schemaOf = (version: number): AppSchema => schemas[version - 1] as AppSchema;
    const open = async (at: number): Promise<Engine> => {
      const site = SITES[at] as SiteId;
      const storage = createMemoryStorage();
      const first = await openTestEngine(storage);
      first
        .prepare("UPDATE crsql_site_id SET site_id = ? WHERE ordinal = 0")
        .bindStored([fromHex(site)]);
      first.prepare("UPDATE crsql_site_id SET site_id = ? WHERE ordinal = 0").run();
      first.close();
      const engine = await openTestEngine(storage);
      for (const { name, sql } of schemaOf(versionOf(at)).tables) {
        engine.exec(`${sql}; SELECT crsql_as_crr('${name}')`);
      }
      return engine;
    };
    const authors = await Promise.all([1, 2].map(open));
    const ours = await open(0);
    const reference = await open(0);
    const write = (
      engine: Engine,
      at: number,
      work: ReturnType<typeof randomStatements>,
    ): ChangesetPayload => {
      const schemaVersion = versionOf(at);
      for (const { sql, params } of work) {
        const statement = engine.prepare(sql);
        statement.bindSql(params);
        statement.run();
      }
      const tables = captureChanges(engine, schemaOf(schemaVersion), new Set(TABLES)).map(
        ({ table, parts }) => ({ table, rows: [...parts].flat() }),
      );
      return { schemaVersion, schemaHash: null, wallClockMs: 0, tables };
    };
    const statements = (): ReturnType<typeof randomStatements> => {
      const inserts = Array.from({ length: random.below(6) }, () => ({
        sql: "INSERT OR IGNORE INTO animal (id, name, legs, weight, photo) VALUES (?, ?, ?, ?, ?)",
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
        for (const engine of [ours, reference]) write(engine, 0, work);
      } else {
        const author = authors[at - 1] as Engine;
        author.exec("BEGIN");
        const payload = write(author, at, work);
        author.exec("COMMIT");
        mergeRows(ours, schemaOf(3), SITES[at] as SiteId, payload);
        mergeThroughVtab(reference, schemaOf(3), SITES[at] as SiteId, payload);
      }
      for (const engine of [ours, reference]) engine.exec(end);
      expect(everything(ours)).toEqual(everything(reference));
    }
    expect(storedRows(ours, "PRAGMA integrity_check")).toEqual([["ok"]]);
  },
  30_000,
);
