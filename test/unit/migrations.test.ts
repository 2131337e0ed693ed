/** What a later schema version may add, what becomes of a file that meets it, and who judges by what. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { appendSome } from "../../src/db/append.ts";
import { checkSchema } from "../../src/db/check-schema.ts";
import { type DatabaseFile, openDatabaseFile } from "../../src/db/database-file.ts";
import type { Engine } from "../../src/db/engine.ts";
import { createReplicaState, type ReplicaState } from "../../src/db/replica-state.ts";
import { installSchema } from "../../src/db/schema-install.ts";
import { logCounts } from "../../src/db/log-status.ts";
import type { HeaderHash } from "../../src/protocol/ids.ts";
import type { VerifiedChangeset } from "../../src/protocol/changeset.ts";
import type { AppSchema, Schema } from "../../src/db/schema.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import { packKey } from "../../src/db/packed-key.ts";
import { COLUMNS_MAX, SCHEMA_VERSION_MAX, TABLES_MAX } from "../../src/protocol/limits.ts";
import type { StoredValue } from "../../src/protocol/values.ts";
import { forge, payloadOf } from "../fixtures/forge.ts";
import {
  ANIMALS,
  ANIMALS_2,
  ANIMALS_3,
  changesetsOf,
  INVITE,
  MESH,
  openReplica,
  pull,
  secretOf,
  signerOf,
  testClock,
} from "../fixtures/replicas.ts";
import { openTestEngine, storedRows } from "./open-test-engine.ts";

const T = "CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a TEXT) STRICT";

const schemaOf = (...migrations: readonly (readonly string[])[]): Schema => ({
  version: 1 + migrations.length,
  tables: [T, "CREATE INDEX t_a ON t (a)"],
  migrations: migrations.map((statements) => ({ statements })),
});

const check = async (schema: Schema): Promise<AppSchema> =>
  checkSchema(schema, await compileSqliteInNode());

const add = (definition: string): string => `ALTER TABLE t ADD COLUMN ${definition}`;

const refusals: readonly (readonly [string, readonly string[], RegExp])[] = [
  ["DROP TABLE", ["DROP TABLE t"], /not upgraded still write it/],
  ["DROP COLUMN", ["ALTER TABLE t DROP COLUMN a"], /table t: .*leave it/],
  ["RENAME TO", ["ALTER TABLE t RENAME TO u"], /know the old name/],
  ["RENAME COLUMN", ["ALTER TABLE t RENAME COLUMN a TO b"], /know the old name/],
  ["ALTER COLUMN", ["ALTER TABLE t ALTER COLUMN a TYPE INTEGER"], /add another column/],
  ["UPDATE", ["UPDATE t SET a = upper(a)"], /holds no data/],
  ["INSERT", ["INSERT INTO t VALUES ('x', 'y')"], /holds no data/],
  ["REPLACE", ["REPLACE INTO t VALUES ('x', 'y')"], /holds no data/],
  ["DELETE", ["DELETE FROM t"], /holds no data/],
  ["a WITH before it", ["WITH x AS (SELECT 1) DELETE FROM t"], /holds no data/],
  ["a PRAGMA", ["PRAGMA foreign_keys = on"], /ADD COLUMN, CREATE TABLE/],
  ["a view", ["CREATE VIEW v AS SELECT 1"], /ADD COLUMN, CREATE TABLE/],
  ["nothing", [""], /ADD COLUMN, CREATE TABLE/],
  ["two statements", [`${add("b TEXT")}; DROP TABLE t`], /one statement per entry/],
  ["an unknown table", ["ALTER TABLE u ADD COLUMN b TEXT"], /no table u: t/],
  ["a table of rowmesh", ["ALTER TABLE rowmesh_log ADD COLUMN b TEXT"], /no table rowmesh_log/],
  ["a quoted table", ['ALTER TABLE "t" ADD COLUMN b TEXT'], /no table "t"/],
  ["a quoted column", [add('"b" TEXT')], /without quotes/],
  ["capitals", [add("B TEXT")], /t\.B: names/],
  ["a column that is there", [add("a TEXT")], /t\.a: .*duplicate/],
  ["the same column twice", [add("b TEXT"), add("b TEXT")], /t\.b: .*duplicate/],
  ["no type", [add("b")], /t\.b: /],
  ["no name", ["ALTER TABLE t ADD COLUMN"], /needs a name/],
  ["NOT NULL without DEFAULT", [add("b TEXT NOT NULL")], /t\.b: NOT NULL needs a DEFAULT/],
  ["a DEFAULT of the clock", [add("b TEXT DEFAULT CURRENT_TIMESTAMP")], /t\.b: .*literal/],
  ["a DEFAULT in parentheses", [add("b INTEGER DEFAULT (1 + 1)")], /t\.b: .*literal/],
  ["a DEFAULT of another class", [add("b INTEGER DEFAULT 'x'")], /t\.b: .*INTEGER/],
  ["a DEFAULT that old rows show otherwise", [add("b ANY DEFAULT 1.0")], /t\.b: .*in old rows/],
  ["UNIQUE", [add("b TEXT UNIQUE")], /t\.b: UNIQUE/],
  ["a UNIQUE index", ["CREATE UNIQUE INDEX t_b ON t (a)"], /UNIQUE index/],
  ["a foreign key", [add("b TEXT REFERENCES t (id)")], /t\.b: foreign key/],
  ["another key", [add("b TEXT PRIMARY KEY NOT NULL")], /t\.b: the primary key of a table never/],
  ["COLLATE", [add("b TEXT COLLATE NOCASE")], /t\.b: .*COLLATE/],
  ["a generated column", [add("b TEXT AS (a)")], /generated/],
  ["a CHECK over an older column", [add("b TEXT CHECK (b > a)")], /may not look at a/],
  ["a CHECK with the clock", [add("b TEXT CHECK (b < date('now'))")], /no date in a CHECK/],
  ["a DEFAULT against its CHECK", [add("b INTEGER DEFAULT 0 CHECK (b > 0)")], /satisfy its CHECK/],
  ["a table without STRICT", ["CREATE TABLE u (id TEXT PRIMARY KEY NOT NULL)"], /add STRICT/],
  ["a table that is there", [T], /already exists/],
  ["an index that is not there", ["DROP INDEX t_b"], /index t_b: no index of that name/],
  ["an index of rowmesh", ["DROP INDEX rowmesh_log_version"], /no index of that name/],
  [
    "too many columns",
    Array.from({ length: COLUMNS_MAX - 2 }, (_, at) => add(`c${at} TEXT`)),
    /at most 63 columns/,
  ],
  [
    "too many tables",
    Array.from(
      { length: TABLES_MAX },
      (_, at) => `CREATE TABLE u${at} (id TEXT PRIMARY KEY NOT NULL) STRICT`,
    ),
    /at most 50 tables/,
  ],
];

test.each(refusals)(
  "[M11] refused with version, statement, reason and fix: %s",
  async (name, statements, why) => {
    const schema = schemaOf([add("first TEXT")], statements);
    await expect(check(schema)).rejects.toMatchObject({ code: "ERR_SCHEMA_INVALID" });
    await expect(check(schema)).rejects.toThrow(why);
    if (name.startsWith("too many tables")) return;
    const statement = statements.at(-1)?.slice(0, 40) as string;
    await expect(check(schema)).rejects.toThrow(`migration to version 3, "${statement}`);
  },
);

test("[M11] the version counts the migrations", async () => {
  const one = { statements: [add("b TEXT")] };
  const wrong: readonly Schema[] = [
    { version: 2, tables: [T] },
    { version: 1, tables: [T], migrations: [one] },
    { version: 3, tables: [T], migrations: [one] },
    { version: 0, tables: [T] },
    { version: 1.5, tables: [T] },
  ];
  for (const schema of wrong) {
    await expect(check(schema)).rejects.toMatchObject({ code: "ERR_SCHEMA_INVALID" });
    await expect(check(schema)).rejects.toThrow(/version/);
  }
});

test("[M11] the example of docs/MERGE.md is accepted", async () => {
  const [, chapter = ""] = readFileSync("docs/MERGE.md", "utf8").split("## Changing the schema");
  const [, code = ""] = chapter.split(/^```.*$/m);
  const url = `data:text/javascript,${encodeURIComponent(`export ${code.trim()}`)}`;
  const { schema } = (await import(/* @vite-ignore */ url)) as { readonly schema: Schema };
  expect((await check(schema)).tables[0]?.columns.length).toBe(3);
});

test("[M11] every version has the shape and the hash it had when it was the last", async () => {
  const whole = await check(ANIMALS_3);
  const [first, second, third] = await Promise.all([ANIMALS, ANIMALS_2, ANIMALS_3].map(check));
  expect(whole.versions.map(({ hash }) => hash)).toEqual(
    [first, second, third].map((each) => each?.hash),
  );
  const widths = whole.versions.map(({ tables }) => tables.map(({ columns }) => columns.length));
  expect(widths).toEqual([
    [5, 4, 1],
    [6, 4, 1, 2],
    [7, 4, 2, 3],
  ]);
  // Left alone by version 2 and 3.
  expect(whole.tables[1]).toBe(whole.versions[0]?.tables[1]);
  expect(whole.indexes).toEqual([
    { name: "animal_name", sql: "CREATE INDEX animal_name ON animal (name, tame)" },
  ]);
});

const MORE = "CREATE TABLE more (id TEXT PRIMARY KEY NOT NULL) STRICT";
const FURTHER = "ALTER TABLE sighting ADD COLUMN who TEXT";

const two = (tables: readonly string[], statements: readonly string[]): Schema => ({
  version: 2,
  tables,
  migrations: [{ statements }],
});

const three = ({ tables, migrations = [] }: Schema): Schema => ({
  version: 3,
  tables,
  migrations: [...migrations, { statements: [FURTHER] }],
});

test("[M11] a version that a file took stays as it was; nothing of a refused upgrade stays", async () => {
  const storage = createMemoryStorage();
  await (await openReplica(1, { storage, schema: ANIMALS_2 })).close();
  const { tables } = ANIMALS;
  const [animal = "", ...rest] = tables;
  const [{ statements } = { statements: [] }] = ANIMALS_2.migrations ?? [];
  const without = [animal.replace(", photo BLOB", ""), ...rest];
  const attempts: readonly (readonly [Schema, RegExp])[] = [
    [two([...tables, MORE], statements), /version 1 was declared differently/],
    [two([...rest, animal], statements), /version 1 was declared differently/],
    [two(without, statements), /version 1 was declared differently.*photo BLOB/],
    [two(tables, [...statements, MORE]), /version 2 was declared differently/],
    [two(tables, statements.slice(1)), /version 2 was .*ADD COLUMN tame.*further migration/],
    [
      two(tables, [`${statements[0]?.replace("DEFAULT 0", "DEFAULT 1")}`, ...statements.slice(1)]),
      /version 2 was declared differently/,
    ],
  ];
  for (const [schema, why] of attempts) {
    for (const tried of [schema, three(schema)]) {
      const opening = openReplica(1, { storage, schema: tried });
      await expect(opening).rejects.toMatchObject({ code: "ERR_SCHEMA_INVALID" });
      await expect(opening).rejects.toThrow(why);
    }
  }
  const older = openReplica(1, { storage });
  await expect(older).rejects.toMatchObject({ code: "ERR_SCHEMA_NEWER" });
  await expect(older).rejects.toThrow("schema version 2, this app 1");
  const db = await openReplica(1, { storage, schema: ANIMALS_3 });
  await db.exec("INSERT INTO animal (id, legs) VALUES ('a', 4)");
  await db.close();
});

test("[M11] indexes are the file's own matter: they come and go without a version", async () => {
  const storage = createMemoryStorage();
  const indexesWith = async (...indexes: readonly string[]): Promise<readonly unknown[]> => {
    const schema = { version: 1, tables: [...ANIMALS.tables, ...indexes] };
    const db = await openReplica(1, { storage, schema });
    await db.exec("INSERT OR REPLACE INTO animal (id, name) VALUES ('a', 'x')");
    await db.close();
    const engine = await openTestEngine(storage);
    const sql = "SELECT sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'animal'";
    const found = storedRows(engine, `${sql} AND sql IS NOT NULL ORDER BY name`).flat();
    engine.close();
    return found;
  };
  const [a, b] = ["CREATE INDEX a ON animal (name)", "CREATE INDEX b ON animal (legs)"] as const;
  const other = "CREATE INDEX a ON animal (legs, name)";
  expect(await indexesWith()).toEqual([]);
  expect(await indexesWith(b, a)).toEqual([a, b]);
  expect(await indexesWith(other, b)).toEqual([other, b]);
  expect(await indexesWith(b)).toEqual([b]);
});

/** One row of `animal` with one cell. */
const animalCell = (column: number, value: StoredValue, version: number): Uint8Array => {
  const cells = [{ column, columnVersion: 1, value }];
  const primaryKey = packKey([`${version} ${column}`]);
  const rows = [{ primaryKey, causalLength: 1, sentinel: false, cells }];
  return payloadOf([{ table: 0, rows }], version);
};
const trapOf = (version: number): Uint8Array => {
  const cells = [{ column: 1, columnVersion: 1, value: "pond" }];
  const rows = [{ primaryKey: packKey(["t"]), causalLength: 1, sentinel: false, cells }];
  return payloadOf([{ table: 3, rows }], version);
};

test("[M12] a changeset is judged by the version it names, by newcomers as by veterans", async () => {
  const VOID = { verdict: "void", code: "ERR_ROWS_INVALID" };
  const MISMATCH = { verdict: "parked", code: "ERR_SCHEMA_MISMATCH" };
  const judged: readonly (readonly [Uint8Array, unknown])[] = [
    [animalCell(4, null, 1), { verdict: "applied" }],
    [animalCell(5, 1n, 1), VOID],
    [animalCell(5, 1n, 2), { verdict: "applied" }],
    [animalCell(6, 1.5, 2), VOID],
    [animalCell(6, 1.5, 3), { verdict: "applied" }],
    [trapOf(1), VOID],
    [trapOf(2), { verdict: "applied" }],
    [payloadOf([], 1, "ab".repeat(32)), MISMATCH],
    [payloadOf([], 2, "ab".repeat(32)), MISMATCH],
  ];
  const changesets = await Promise.all(judged.map(([payload], at) => forge(70 + at, payload)));
  const storage = createMemoryStorage();
  let veteran = await openReplica(1, { storage });
  await veteran.append(changesets);
  for (const schema of [ANIMALS_2, ANIMALS_3]) {
    await veteran.close();
    veteran = await openReplica(1, { storage, schema });
  }
  const newcomer = await openReplica(2, { schema: ANIMALS_3 });
  expect(await newcomer.append(changesets)).toEqual(judged.map(([, outcome]) => outcome));
  expect(await veteran.stateHash()).toBe(await newcomer.stateHash());
  for (const replica of [veteran, newcomer]) {
    expect(replica.counts()).toMatchObject({ void: 3, parked: 2, newerSchemas: [] });
    await replica.close();
  }
});

test("[M3] a peer of an older version forwards what it parks, and says who names which version", async () => {
  const storage = createMemoryStorage();
  let old = await openReplica(1, { storage });
  const middle = await openReplica(2, { schema: ANIMALS_2 });
  const modern = await openReplica(3, { schema: ANIMALS_3 });
  await middle.exec("INSERT INTO trap VALUES ('t', 'pond')");
  await modern.exec("INSERT INTO tag VALUES (x'01', 'red')");
  await modern.exec("INSERT INTO animal (id, tame) VALUES ('a', 1)");
  const liar = await forge(90, payloadOf([], SCHEMA_VERSION_MAX));
  await old.append([liar]);
  for (const from of [middle, modern]) await pull(from, old);
  const claims = [
    { version: 2, changesets: 1, authors: [middle.signer.siteId] },
    { version: 3, changesets: 2, authors: [modern.signer.siteId] },
    { version: SCHEMA_VERSION_MAX, changesets: 1, authors: [liar.header.site] },
  ];
  expect(old.counts()).toMatchObject({ parked: 4, newerSchemas: claims });
  // Only through the old one.
  const third = await openReplica(4, { schema: ANIMALS_3 });
  await pull(old, third);
  expect(third.counts()).toMatchObject({ parked: 1, newerSchemas: claims.slice(2) });
  expect(await third.query("SELECT id, bait FROM trap")).toEqual([
    { id: "t", bait: Uint8Array.of(0, 255) },
  ]);
  await old.close();
  old = await openReplica(1, { storage, schema: ANIMALS_2 });
  expect(old.counts()).toMatchObject({ parked: 3, newerSchemas: claims.slice(1) });
  expect(await old.query("SELECT id FROM trap")).toEqual([{ id: "t" }]);
  await old.close();
  old = await openReplica(1, { storage, schema: ANIMALS_3 });
  expect(await old.stateHash()).toBe(await third.stateHash());
  for (const db of [old, middle, modern, third]) await db.close();
});

test("[M13] added columns show their default, in rows from before, from older peers, and after a rebuild", async () => {
  const storages = [createMemoryStorage(), createMemoryStorage()] as const;
  const older = await openReplica(1, { storage: storages[0] });
  await older.exec("INSERT INTO animal (id) VALUES ('before')");
  await older.exec("INSERT INTO tag VALUES (x'01')");
  let veteran = await openReplica(2, { storage: storages[1] });
  await pull(older, veteran);
  await veteran.close();
  veteran = await openReplica(2, { storage: storages[1], schema: ANIMALS_3 });
  await older.exec("INSERT INTO animal (id) VALUES ('after')");
  await older.exec("INSERT OR REPLACE INTO tag VALUES (x'02')");
  const newcomer = await openReplica(3, { schema: ANIMALS_3 });
  const shown = [
    { id: "after", tame: 0, speed: 2, class: "real" },
    { id: "before", tame: 0, speed: 2, class: "real" },
  ];
  for (const db of [veteran, newcomer]) {
    await pull(older, db);
    for (const again of [false, true]) {
      if (again) await db.rebuild();
      const rows = "SELECT id, tame, speed, typeof(speed) AS class FROM animal ORDER BY id";
      expect(await db.query(rows)).toEqual(shown);
      expect(await db.query("SELECT DISTINCT colour FROM tag")).toEqual([{ colour: "grey" }]);
    }
  }
  for (const db of [older, veteran, newcomer]) await db.close();
});

test("[M13] every kind of table is altered: without rowid, of several keys, in many steps at once", async () => {
  const storages = [createMemoryStorage(), createMemoryStorage()] as const;
  const tables = [
    "CREATE TABLE w (id TEXT PRIMARY KEY NOT NULL, a TEXT) STRICT, WITHOUT ROWID",
    "CREATE TABLE k (b BLOB NOT NULL, v TEXT, a INTEGER NOT NULL, PRIMARY KEY (a, b)) STRICT",
  ];
  const columns = [
    "INTEGER NOT NULL DEFAULT -5",
    "TEXT DEFAULT 'it''s'",
    "BLOB",
    "REAL DEFAULT 1e3",
  ];
  const migrations = columns.map((column, at) => ({
    statements: ["w", "k"].map((name) => `ALTER TABLE ${name} ADD c${at} ${column}`),
  }));
  const later: Schema = { version: 1 + migrations.length, tables, migrations };
  const open = (at: 0 | 1, schema: Schema) =>
    openReplica(at + 1, { storage: storages[at], schema });
  let veteran = await open(0, { version: 1, tables });
  await veteran.exec("INSERT INTO w VALUES ('1', 'x'), ('2', 'y')");
  await veteran.exec("INSERT INTO k (a, b, v) VALUES (1, x'', 'x'), (2, x'00', 'y')");
  await veteran.exec("DELETE FROM w WHERE id = '2'");
  await veteran.close();
  veteran = await open(0, later);
  const newcomer = await open(1, later);
  await veteran.exec("UPDATE w SET c0 = c0 + 1, c3 = c3 / 2");
  await veteran.exec("INSERT OR REPLACE INTO k (a, b, c1) VALUES (1, x'', 'again')");
  await pull(veteran, newcomer);
  await newcomer.exec("INSERT INTO w (id, c2) VALUES ('2', x'')");
  await pull(newcomer, veteran);
  const shown = [
    { id: "1", a: "x", c0: -4, c1: "it's", c2: null, c3: 500 },
    { id: "2", a: null, c0: -5, c1: "it's", c2: new Uint8Array(0), c3: 1000 },
  ];
  for (const db of [veteran, newcomer]) {
    expect(await db.query("SELECT * FROM w ORDER BY id")).toEqual(shown);
    expect(await db.query("SELECT v, c1, typeof(c3) AS t FROM k ORDER BY a")).toEqual([
      { v: null, c1: "again", t: "real" },
      { v: "y", c1: "it's", t: "real" },
    ]);
    await db.rebuild();
    expect(await db.stateHash()).toBe(await veteran.stateHash());
  }
  await veteran.close();
  await newcomer.close();
});

test("[M13] own newer changesets come back to a disk of the older app, and are merged after its upgrade", async () => {
  const modern = await openReplica(1, { schema: ANIMALS_3 });
  await modern.exec("INSERT INTO animal (id, name, tame) VALUES ('a', 'x', 1), ('b', 'x', 1)");
  await modern.exec("INSERT INTO trap (id) VALUES ('t')");
  const peer = await openReplica(2, { schema: ANIMALS_3 });
  await pull(modern, peer);
  await modern.close();
  const storage = createMemoryStorage();
  let restored = await openReplica(1, { storage, mesh: null });
  await restored.bindMesh(MESH, INVITE);
  await pull(peer, restored);
  expect(restored.counts()).toMatchObject({ held: 0, parked: 2 });
  await restored.offer("on");
  await restored.exec("INSERT INTO animal (id, name) VALUES ('a', 'y')");
  await pull(restored, peer);
  await restored.close();
  restored = await openReplica(1, { storage, schema: ANIMALS_3 });
  expect(await restored.query("SELECT id, name, tame FROM animal ORDER BY id")).toEqual([
    { id: "a", name: "y", tame: 1 },
    { id: "b", name: "x", tame: 1 },
  ]);
  for (const db of [restored, peer]) {
    expect(db.counts()).toMatchObject({ held: 0, parked: 0, void: 0 });
    expect(await db.stateHash()).toBe(await peer.stateHash());
    await db.rebuild();
    expect(await db.stateHash()).toBe(await restored.stateHash());
  }
  await restored.close();
  await peer.close();
});

/** The database of replica 1, and how many statements its transactions prepare. */
async function openCounted() {
  const wasm = await compileSqliteInNode();
  const storage = createMemoryStorage();
  await (await openReplica(1, { storage })).close();
  const signer = await signerOf(1);
  const identity = async () => ({ secret: secretOf(1), signer });
  const { file } = await openDatabaseFile(storage, wasm, identity);
  const prepared: string[] = [];
  const counting = (engine: Engine): Engine => ({
    ...engine,
    prepare: (sql) => {
      prepared.push(sql);
      return engine.prepare(sql);
    },
  });
  const counted: DatabaseFile = {
    ...file,
    transact: (work) => file.transact((engine) => work(counting(engine))),
  };
  return {
    file,
    prepared,
    open: async (schema: Schema): Promise<ReplicaState> => {
      const checked = await checkSchema(schema, wasm);
      await file.transact((engine) => installSchema(engine, checked));
      return createReplicaState(counted, signer, checked, testClock);
    },
  };
}

/** Statements that it takes to park a history of version 3, and to merge it after the upgrade. */
async function statementsFor(changesets: readonly VerifiedChangeset[]): Promise<number> {
  const { file, prepared, open } = await openCounted();
  const parking = await open(ANIMALS);
  for (const changeset of changesets) await appendSome(parking, [changeset], 0);
  const merging = await open(ANIMALS_3);
  for (let more = true; more;) ({ more } = await appendSome(merging, [], 0));
  expect(storedRows(file.engine(), "SELECT DISTINCT state FROM rowmesh_log")).toEqual([[2n]]);
  await file.close();
  return prepared.length;
}

test("[M3] what is parked is not read again when a gap behind it closes", async () => {
  const { file, prepared, open } = await openCounted();
  const chain = [await forge(70, payloadOf([], 2))];
  for (let version = 2; version <= 9; version++) {
    const previousHash = chain.at(-1)?.headerHash as HeaderHash;
    chain.push(await forge(70, payloadOf([]), { version, previousHash }));
  }
  const state = await open(ANIMALS);
  // 1, 3, 2, 5, 4, …
  const order = chain.map((_, at) => chain[at === 0 ? 0 : at % 2 === 1 ? at + 1 : at - 1]);
  for (const changeset of order) await appendSome(state, [changeset as VerifiedChangeset], 0);
  expect(logCounts(state)).toMatchObject({ held: 0, parked: 9 });
  // The one that each gap had kept waiting.
  expect(prepared.filter((sql) => sql.startsWith("SELECT id, state")).length).toBe(4);
  await file.close();
});

test("[M13] an upgrade merges a long parked history at a cost of its length", async () => {
  const [one, other] = await Promise.all(
    [2, 3].map((number) => openReplica(number, { schema: ANIMALS_3 })),
  );
  if (one === undefined || other === undefined) throw new RangeError("two were opened");
  // Each on top of the other's: no author's chain is merged in one go.
  for (let at = 0; at < 60; at++) {
    await one.exec("INSERT INTO trap VALUES (?, 'one', NULL)", [`${at}`]);
    await pull(one, other);
    await other.exec("UPDATE trap SET place = 'other' WHERE id = ?", [`${at}`]);
    await pull(other, one);
  }
  const chains = await Promise.all([one, other].map((db) => changesetsOf(one, db.signer.siteId)));
  const firsts = (count: number) => chains.flatMap((chain) => chain.slice(0, count));
  const [half, whole] = [await statementsFor(firsts(30)), await statementsFor(firsts(60))];
  expect(whole).toBeLessThan(2.1 * half);
  expect(whole / 120).toBeLessThan(13);
  await one.close();
  await other.close();
}, 30_000);
