/**
 * The package's stock `@vlcn.io/crsqlite-wasm` (asynchronous WebAssembly, its own binding) and our
 * engine (synchronous WebAssembly, typed binding) are one cr-sqlite: what one writes the other
 * merges to the same rows and clocks. Only values that the stock binding carries whole are used
 * (docs/decisions/0006-engine.md).
 */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { beforeAll, expect, test } from "vitest";
import type { DB, SQLite3 } from "@vlcn.io/crsqlite-wasm";
import type { Engine } from "../../src/db/engine.ts";
import type { StoredValue } from "../../src/protocol/values.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { openTestEngine } from "../unit/open-test-engine.ts";

const SCHEMA = "CREATE TABLE animal (id TEXT PRIMARY KEY NOT NULL, name TEXT, legs INTEGER) STRICT";
const CHANGES = `SELECT "table", hex(pk), cid, val, col_version, db_version, hex(site_id), cl, seq FROM crsql_changes`;
const CLOCKS = `SELECT "table", hex(pk), cid, val, col_version, cl FROM crsql_changes ORDER BY 1, 2, 3`;
const INSERT = `INSERT INTO crsql_changes ("table", pk, cid, val, col_version, db_version, site_id, cl, seq) VALUES (?, unhex(?), ?, ?, ?, ?, unhex(?), ?, ?)`;

type Value = string | number | null;

let stock: SQLite3;

beforeAll(async () => {
  // The wrapper opens an IndexedDB as it starts, which databases in memory never use.
  Object.assign(globalThis, { indexedDB: { open: () => new EventTarget() } });
  const { default: initWasm } = await import("@vlcn.io/crsqlite-wasm");
  const path = createRequire(import.meta.url).resolve("@vlcn.io/crsqlite-wasm/crsqlite.wasm");
  const wasm = (await readFile(path)).toString("base64");
  stock = await initWasm(() => `data:application/wasm;base64,${wasm}`);
});

/** As the stock binding gives it: every number a JavaScript number. */
const plain = (value: StoredValue): Value => {
  if (value instanceof Uint8Array) throw new RangeError("no blobs here");
  return typeof value === "bigint" ? Number(value) : value;
};

const rowsOf = (engine: Engine, sql: string): Value[][] => {
  const statement = engine.prepare(sql);
  const rows: Value[][] = [];
  while (statement.step()) rows.push(statement.storedRow().map(plain));
  return rows;
};

/** Inserts, updates, deletes and re-inserts over few keys, so that histories collide. */
const randomWrites = (seed: number): string[] => {
  const random = createSeededRandom(seed);
  return Array.from({ length: 40 }, (_, i) => {
    const id = `'a${random.below(6)}'`;
    switch (random.below(4)) {
      case 0:
        return `DELETE FROM animal WHERE id = ${id}`;
      case 1:
        return `UPDATE animal SET legs = ${random.below(9)} WHERE id = ${id}`;
      case 2:
        return `UPDATE animal SET name = 'n${i}' WHERE id = ${id}`;
      default:
        return `INSERT OR IGNORE INTO animal VALUES (${id}, 'n${random.below(5)}', ${random.below(9)})`;
    }
  });
};

test.each([1, 2, 3, 4, 5, 6, 7, 8])("seed %i: both builds end alike", async (seed) => {
  const engine = await openTestEngine();
  const db: DB = await stock.open();
  try {
    await db.exec(SCHEMA);
    await db.exec("SELECT crsql_as_crr('animal')");
    engine.exec(`${SCHEMA}; SELECT crsql_as_crr('animal')`);
    for (const sql of randomWrites(seed)) await db.exec(sql);
    for (const sql of randomWrites(seed + 1_000)) engine.exec(sql);

    const fromStock = (await db.execA(CHANGES)) as Value[][];
    const fromEngine = rowsOf(engine, CHANGES);
    expect(fromStock.length).toBeGreaterThan(0);
    expect(fromEngine.length).toBeGreaterThan(0);
    for (const change of fromEngine) await db.exec(INSERT, change);
    const insert = engine.prepare(INSERT);
    for (const change of fromStock) {
      insert.bindSql(change);
      insert.run();
    }

    const table = "SELECT id, name, legs FROM animal ORDER BY id";
    expect(rowsOf(engine, table)).toEqual(await db.execA(table));
    expect(rowsOf(engine, CLOCKS)).toEqual(await db.execA(CLOCKS));
  } finally {
    await db.close();
  }
});
