import { expect, test } from "vitest";
import { checkSchema } from "../../src/db/check-schema.ts";
import type { AppSchema } from "../../src/db/schema.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";

const check = async (tables: readonly string[]): Promise<AppSchema> =>
  checkSchema({ version: 1, tables }, await compileSqliteInNode());

const refusals: readonly (readonly [string, readonly string[], RegExp])[] = [
  ["no STRICT", ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL)"], /table t.*STRICT/],
  ["no primary key", ["CREATE TABLE t (id TEXT) STRICT"], /table t.*primary key/],
  ["nullable key", ["CREATE TABLE t (id INTEGER PRIMARY KEY) STRICT"], /t\.id.*NOT NULL/],
  [
    "REAL key",
    ["CREATE TABLE t (id REAL PRIMARY KEY NOT NULL) STRICT"],
    /t\.id.*TEXT, BLOB or INTEGER/,
  ],
  ["ANY key", ["CREATE TABLE t (id ANY PRIMARY KEY NOT NULL) STRICT"], /t\.id/],
  [
    "NOCASE key",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL COLLATE NOCASE) STRICT"],
    /column t\.id.*COLLATE/,
  ],
  [
    "AUTOINCREMENT",
    ["CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL) STRICT"],
    /column t\.id: AUTOINCREMENT/,
  ],
  [
    "autoincrement in a comment",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL /* autoincrement */) STRICT"],
    /AUTOINCREMENT/,
  ],
  [
    "NOT NULL without default",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a TEXT NOT NULL) STRICT"],
    /t\.a.*DEFAULT/,
  ],
  [
    "NOT NULL DEFAULT NULL",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a TEXT NOT NULL DEFAULT NULL) STRICT"],
    /t\.a.*DEFAULT/,
  ],
  [
    "a default that changes",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a TEXT DEFAULT CURRENT_TIMESTAMP) STRICT"],
    /t\.a.*literal/,
  ],
  [
    "a computed default",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a TEXT DEFAULT (random())) STRICT"],
    /t\.a.*literal/,
  ],
  [
    "a default of another class",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a INTEGER DEFAULT '1') STRICT"],
    /t\.a.*INTEGER/,
  ],
  [
    "UNIQUE column",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a TEXT UNIQUE) STRICT"],
    /column t\.a: UNIQUE/,
  ],
  [
    "UNIQUE table",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a TEXT, UNIQUE (a)) STRICT"],
    /table t: UNIQUE/,
  ],
  ["UNIQUE index", ["CREATE UNIQUE INDEX i ON t (a)"], /UNIQUE index/],
  [
    "foreign key",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a TEXT REFERENCES t (id)) STRICT"],
    /column t\.a: foreign key/,
  ],
  [
    "foreign key of the table",
    [
      "CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a TEXT, FOREIGN KEY (a) REFERENCES t (id)) STRICT",
    ],
    /foreign key/,
  ],
  [
    "generated column",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a TEXT AS (id)) STRICT"],
    /generated/,
  ],
  [
    "generated always",
    [
      "CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a TEXT GENERATED ALWAYS AS (id) STORED) STRICT",
    ],
    /generated/,
  ],
  [
    "CHECK over two columns",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a INTEGER, b INTEGER CHECK (b > a)) STRICT"],
    /t\.b.*cells merge one by one/,
  ],
  [
    "CHECK over a quoted column",
    ['CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a INTEGER, b INTEGER CHECK (b > "a")) STRICT'],
    /t\.b/,
  ],
  [
    "CHECK of the table",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a INTEGER, CHECK (a > 0)) STRICT"],
    /CHECK/,
  ],
  [
    "CHECK with the clock",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a TEXT CHECK (a < date('now'))) STRICT"],
    /t\.a.*date/,
  ],
  [
    "CHECK with LIKE",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a TEXT CHECK (a LIKE 'x%')) STRICT"],
    /t\.a.*like/,
  ],
  [
    "CHECK against its default",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a INTEGER DEFAULT 0 CHECK (a > 0)) STRICT"],
    /t\.a.*satisfy/,
  ],
  [
    "CHECK against its NULL",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a INTEGER CHECK (a IS NOT NULL)) STRICT"],
    /t\.a.*satisfy/,
  ],
  [
    "ON CONFLICT",
    ["CREATE TABLE t (id TEXT PRIMARY KEY ON CONFLICT REPLACE NOT NULL) STRICT"],
    /ON CONFLICT/,
  ],
  ["quoted table", ['CREATE TABLE "t" (id TEXT PRIMARY KEY NOT NULL) STRICT'], /without quotes/],
  [
    "quoted column",
    ['CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, "a b" TEXT) STRICT'],
    /without quotes/,
  ],
  [
    "capitals in a table",
    ["CREATE TABLE T (id TEXT PRIMARY KEY NOT NULL) STRICT"],
    /table T: names/,
  ],
  [
    "capitals in a column with a CHECK",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, Legs INTEGER CHECK (Legs >= 0)) STRICT"],
    /column t\.Legs: names/,
  ],
  [
    "a capital that only looks Latin",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, \u212a TEXT) STRICT"],
    /names/,
  ],
  [
    "another type",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a VARCHAR(9)) STRICT"],
    /t\.a.*INTEGER, REAL, TEXT, BLOB or ANY/,
  ],
  [
    "reserved table",
    ["CREATE TABLE select (id TEXT PRIMARY KEY NOT NULL) STRICT"],
    /table select.*keyword/,
  ],
  ["names of ours", ["CREATE TABLE rowmesh_x (id TEXT PRIMARY KEY NOT NULL) STRICT"], /taken/],
  ["names of cr-sqlite", ["CREATE TABLE my_crsql (id TEXT PRIMARY KEY NOT NULL) STRICT"], /taken/],
  ["names of SQLite", ["CREATE TABLE sqlite_x (id TEXT PRIMARY KEY NOT NULL) STRICT"], /taken/],
  [
    "IF NOT EXISTS",
    ["CREATE TABLE IF NOT EXISTS t (id TEXT PRIMARY KEY NOT NULL) STRICT"],
    /IF NOT EXISTS/,
  ],
  ["TEMP", ["CREATE TEMP TABLE t (id TEXT PRIMARY KEY NOT NULL) STRICT"], /CREATE TABLE/],
  ["AS SELECT", ["CREATE TABLE t AS SELECT 1"], /CREATE TABLE/],
  ["another statement", ["DROP TABLE t"], /CREATE TABLE/],
  ["a trigger", ["CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END"], /CREATE TABLE/],
  [
    "two statements",
    ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL) STRICT; DROP TABLE t"],
    /one statement/,
  ],
  [
    "the same table twice",
    Array.from({ length: 2 }, () => "CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL) STRICT"),
    /already exists/,
  ],
  [
    "64 columns",
    [
      `CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, ${Array.from({ length: 63 }, (_, at) => `c${at} TEXT`).join(", ")}) STRICT`,
    ],
    /63 columns/,
  ],
  [
    "51 tables",
    Array.from(
      { length: 51 },
      (_, at) => `CREATE TABLE t${at} (id TEXT PRIMARY KEY NOT NULL) STRICT`,
    ),
    /50 tables/,
  ],
  [
    "an index with a clock",
    [
      "CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a TEXT) STRICT",
      "CREATE INDEX i ON t (a) WHERE a < date('now')",
    ],
    /index i.*date/,
  ],
  ["an index on nothing", ["CREATE INDEX i ON nowhere (a)"], /nowhere/],
];

test.each(refusals)("[M9] refused with its place and its fix: %s", async (_name, tables, why) => {
  await expect(check(tables)).rejects.toMatchObject({ code: "ERR_SCHEMA_INVALID" });
  await expect(check(tables)).rejects.toThrow(why);
});

test("[M9] accepted: every kind of column that merges alike everywhere", async () => {
  const tables = [
    "CREATE TABLE a (id BLOB NOT NULL, n INT NOT NULL, x ANY, r REAL NOT NULL DEFAULT 1, t TEXT DEFAULT 'it''s', b BLOB DEFAULT x'00', flag INTEGER NOT NULL DEFAULT 0 CHECK (flag IN (0, 1)) CHECK (flag >= 0), PRIMARY KEY (n, id)) STRICT",
    "create table b (id text primary key not null check (length(id) > 0)) strict, without rowid",
    "CREATE INDEX a_t ON a (t COLLATE NOCASE, flag)",
    "CREATE TABLE c (id INTEGER PRIMARY KEY NOT NULL, -- a comment\n v INTEGER DEFAULT -5);".replace(
      ");",
      ") STRICT;",
    ),
  ];
  expect(await check(tables)).toMatchObject({
    tables: [
      {
        name: "a",
        keys: [
          { name: "n", number: 1 },
          { name: "id", number: 0 },
        ],
      },
      { name: "b", columns: [null] },
      { name: "c" },
    ],
    indexes: [{ name: "a_t" }],
  });
});

const hash = async (sql: string): Promise<string> => (await check([sql])).hash;

test("[M9] the hash leaves blanks, comments and indexes out, and nothing else", async () => {
  const base = await hash("CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a INTEGER) STRICT");
  expect(await hash("create table t(id TEXT NOT NULL PRIMARY KEY /* x */,\n a INT)STRICT")).toBe(
    base,
  );
  const others = await Promise.all([
    hash("CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a REAL) STRICT"),
    hash("CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a INTEGER DEFAULT 0) STRICT"),
    hash("CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a INTEGER CHECK (a > 0)) STRICT"),
    hash("CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, b INTEGER) STRICT"),
    hash("CREATE TABLE u (id TEXT PRIMARY KEY NOT NULL, a INTEGER) STRICT"),
  ]);
  expect(new Set([base, ...others]).size).toBe(others.length + 1);
});
