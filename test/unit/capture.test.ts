import { expect, test } from "vitest";
import { captureChanges } from "../../src/db/capture.ts";
import type { Engine } from "../../src/db/engine.ts";
import { mergeRows } from "../../src/db/merge.ts";
import { checkSchema } from "../../src/db/check-schema.ts";
import type { AppSchema, AppTable } from "../../src/db/schema.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import type { RowChanges } from "../../src/protocol/payload.ts";
import { siteId, toHex } from "../../src/protocol/ids.ts";
import type { StoredValue } from "../../src/protocol/values.ts";
import { randomStatements } from "../../src/testing/random-work.ts";
import { ANIMALS } from "../fixtures/replicas.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { openTestEngine, storedRows } from "./open-test-engine.ts";

type Change = readonly [string, string, string, StoredValue, bigint, bigint];
const byPlace = (a: Change, b: Change): number =>
  `${a[0]} ${a[1]} ${a[2]}` < `${b[0]} ${b[1]} ${b[2]}` ? -1 : 1;

/** What the virtual table says of the open transaction. */
const changesBySqlite = (engine: Engine): Change[] =>
  storedRows(
    engine,
    `SELECT "table", pk, cid, val, col_version, cl FROM crsql_changes WHERE db_version = crsql_next_db_version() AND site_id = crsql_site_id() AND col_version > 0`,
  )
    .map(
      ([table, key, ...rest]) =>
        [table, toHex(key as Uint8Array)].concat(rest as string[]) as unknown as Change,
    )
    .sort(byPlace);

const changesOf = (
  { name, columns }: AppTable,
  { primaryKey, causalLength, sentinel, cells }: RowChanges,
): Change[] => {
  const cl = BigInt(causalLength);
  const place = [name, toHex(primaryKey)] as const;
  const own: Change[] = cells.map(({ column, columnVersion, value }) => [
    ...place,
    columns[column]?.name ?? "?",
    value,
    BigInt(columnVersion),
    cl,
  ]);
  return sentinel ? [...own, [...place, "-1", null, cl, cl] as Change] : own;
};

const captured = (engine: Engine, schema: AppSchema): Change[] => {
  const written = new Set(schema.tables.map(({ name }) => name));
  return captureChanges(engine, schema, written)
    .flatMap(({ table, parts }) => {
      const rows = Array.from(parts).flat();
      return rows.flatMap((row) => changesOf(schema.tables[table] as AppTable, row));
    })
    .sort(byPlace);
};

test.each(Array.from({ length: 10 }, (_, at) => at + 1))(
  "[M8] what is captured is what crsql_changes would tell (seed %i)",
  async (seed) => {
    const random = createSeededRandom(seed);
    const schema = await checkSchema(ANIMALS, await compileSqliteInNode());
    const open = async (): Promise<Engine> => {
      const engine = await openTestEngine(createMemoryStorage());
      for (const { name, sql } of schema.tables) {
        engine.exec(`${sql}; SELECT crsql_as_crr('${name}')`);
      }
      return engine;
    };
    const engines = [await open(), await open()] as const;
    const sites = ["aa", "bb"].map((byte) => siteId(byte.repeat(16)));
    let changes = 0;
    for (let step = 0; step < 120; step++) {
      const at = random.below(2);
      const engine = engines[at] as Engine;
      engine.exec("BEGIN");
      for (const { sql, params } of randomStatements(random)) {
        const statement = engine.prepare(sql);
        statement.bindSql(params);
        statement.run();
      }
      const own = captured(engine, schema);
      expect(own).toEqual(changesBySqlite(engine));
      changes += own.length;
      const tables = captureChanges(engine, schema, new Set(["animal", "sighting", "tag"])).map(
        ({ table, parts }) => ({ table, rows: [...parts].flat() }),
      );
      engine.exec(random.below(8) === 0 ? "ROLLBACK" : "COMMIT");
      if (random.below(2) === 0 && engine.autocommit()) {
        const other = engines[1 - at] as Engine;
        other.exec("BEGIN");
        const payload = { schemaVersion: 1, schemaHash: null, wallClockMs: 0, tables };
        mergeRows(other, schema, sites[at] as (typeof sites)[0], payload);
        other.exec("COMMIT");
      }
    }
    expect(changes).toBeGreaterThan(200);
  },
);
