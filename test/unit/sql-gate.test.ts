import { beforeEach, describe, expect, test } from "vitest";
import { MeshError } from "../../src/protocol/errors.ts";
import type { Engine } from "../../src/db/engine.ts";
import { gatedRows, openTestEngine, storedRows } from "./open-test-engine.ts";

let engine: Engine;
beforeEach(async () => {
  engine = await openTestEngine();
  engine.exec(`
    CREATE TABLE animal (id TEXT PRIMARY KEY NOT NULL, name TEXT, habitat TEXT) STRICT;
    CREATE TABLE sight (id INTEGER PRIMARY KEY NOT NULL, animal TEXT, at INTEGER) STRICT;
    CREATE INDEX sight_by_animal ON sight (animal);
    SELECT crsql_as_crr('animal'); SELECT crsql_as_crr('sight');
    CREATE TRIGGER rowmesh_animal_key BEFORE UPDATE OF id ON animal WHEN new.id IS NOT old.id
      BEGIN SELECT raise(abort, 'primary keys are immutable') WHERE crsql_internal_sync_bit() = 0; END;
    CREATE TABLE rowmesh_log (hash BLOB PRIMARY KEY NOT NULL, body BLOB) STRICT;
    INSERT INTO rowmesh_log VALUES (x'01', x'02');
    INSERT INTO animal VALUES ('a', 'heron', 'river'), ('b', 'otter', 'river');
    INSERT INTO sight VALUES (1, 'a', 5);
  `);
});

const codeOf = (sql: string): string => {
  try {
    engine.prepareGated(sql);
  } catch (error) {
    if (error instanceof MeshError) return error.code;
    throw error;
  }
  return "no error";
};

describe("apps may", () => {
  test.each([
    "SELECT * FROM animal",
    "  -- a comment\n /* and another */ select 1",
    "SELECT count(*) FROM animal a JOIN sight s ON s.animal = a.id WHERE s.at > ?",
    "WITH river AS (SELECT id FROM animal WHERE habitat = 'river') SELECT * FROM river",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5) SELECT i FROM n",
    "SELECT rank() OVER (ORDER BY at), json_group_array(id) FROM sight",
    "SELECT value FROM json_each('[1,2]')",
    "SELECT rowid, name FROM animal ORDER BY name COLLATE NOCASE",
    "VALUES (1), (2)",
    "EXPLAIN QUERY PLAN SELECT * FROM animal",
    "SELECT name FROM sqlite_schema",
    "INSERT INTO animal VALUES ('c', 'frog', NULL)",
    "INSERT INTO animal (id) VALUES ('a') ON CONFLICT DO UPDATE SET name = excluded.name",
    "INSERT INTO animal SELECT id || 'x', name, habitat FROM animal",
    "REPLACE INTO animal VALUES ('a', 'frog', NULL)",
    "UPDATE animal SET name = upper(name) WHERE id IN (SELECT animal FROM sight)",
    "UPDATE animal SET name = s.at FROM sight s WHERE s.animal = animal.id",
    "DELETE FROM animal RETURNING id",
    "WITH gone AS (SELECT 'a' AS id) DELETE FROM animal WHERE id IN (SELECT id FROM gone)",
  ])("%s", (sql) => {
    const { statement } = engine.prepareGated(sql);
    if (statement.parameterCount > 0) statement.bindSql([0]);
    statement.run();
    expect(storedRows(engine, "PRAGMA integrity_check")).toEqual([["ok"]]);
  });
});

describe("apps may not", () => {
  test.each([
    // Transactions.
    "BEGIN",
    "COMMIT",
    "END",
    "ROLLBACK",
    "SAVEPOINT a",
    "RELEASE a",
    "ROLLBACK TO a",
    "/* SELECT */ COMMIT",
    // Schema and settings.
    "CREATE TABLE x (id INTEGER)",
    "CREATE TEMP TABLE x (id INTEGER)",
    "CREATE TABLE x AS SELECT * FROM animal",
    "CREATE VIEW v AS SELECT 1",
    "CREATE TRIGGER t AFTER INSERT ON animal BEGIN SELECT 1; END",
    "CREATE INDEX i ON animal (name)",
    "DROP TABLE animal",
    "ALTER TABLE animal ADD COLUMN x TEXT",
    "REINDEX",
    "ANALYZE",
    "VACUUM",
    "VACUUM INTO 'copy'",
    "PRAGMA user_version = 1",
    "PRAGMA table_info(animal)",
    "EXPLAIN PRAGMA user_version = 1",
    "EXPLAIN CREATE TABLE x (id INTEGER)",
    "EXPLAIN COMMIT",
    "SELECT * FROM pragma_table_info('animal')",
    "SELECT * FROM pragma_user_version",
    "ATTACH ':memory:' AS other",
    "DETACH main",
    // cr-sqlite's inside.
    "SELECT crsql_site_id()",
    "SELECT CRSQL_next_db_version(9000)",
    'SELECT "crsql_site_id"()',
    "SELECT crsql_internal_sync_bit(1)",
    "SELECT * FROM crsql_changes",
    "SELECT * FROM 'crsql_changes'",
    "SELECT * FROM [crsql_changes]",
    "SELECT * FROM main.`crsql_changes`",
    "INSERT INTO crsql_changes VALUES (1,2,3,4,5,6,7,8,9)",
    "UPDATE crsql_site_id SET site_id = x'00'",
    "DELETE FROM animal__crsql_clock",
    "SELECT * FROM animal__crsql_pks",
    "SELECT * FROM crsql_unpack_columns WHERE package = x'00'",
    // rowmesh's inside.
    "SELECT * FROM rowmesh_log",
    "SELECT * FROM ROWMESH_LOG",
    "DELETE FROM rowmesh_log",
    "INSERT INTO animal SELECT hex(hash), hex(body), NULL FROM rowmesh_log",
    "UPDATE animal SET name = (SELECT hex(body) FROM rowmesh_log)",
    "DELETE FROM animal WHERE EXISTS (SELECT 1 FROM rowmesh_log)",
    // SQLite's inside.
    "INSERT INTO sqlite_schema VALUES ('table','x','x',1,'')",
    "SELECT * FROM bytecode('SELECT 1')",
    "SELECT * FROM tables_used('SELECT 1')",
    // A CTE's name is reported where a trigger's is: it must not open the door.
    "WITH animal__crsql_itrig AS (SELECT * FROM crsql_changes) SELECT * FROM animal__crsql_itrig",
    "WITH 'animal__crsql_itrig' AS (SELECT * FROM tables_used) SELECT * FROM 'animal__crsql_itrig'",
    "SELECT fts5(?)",
    "WITH rowmesh_animal_key AS (SELECT * FROM pragma_user_version) SELECT * FROM rowmesh_animal_key",
    "SELECT * FROM (SELECT * FROM pragma_user_version) AS rowmesh_x",
    // More than one, or none of ours.
    "SELECT 1; DROP TABLE animal",
    "SELECT 1; SELECT 2",
    "SELECT 1\0; DROP TABLE animal",
    "INSERT INTO animal VALUES ('about crsql_changes', '', '')",
  ])("%s", (sql) => {
    expect(codeOf(sql)).toBe("ERR_SQL_FORBIDDEN");
  });

  test.each([
    "UPDATE sqlite_master SET sql = ''",
    "DELETE FROM sqlite_schema",
    "SELECT load_extension('x')",
  ])("%s: SQLite itself refuses", (sql) => expect(codeOf(sql)).toBe("ERR_SQL"));

  test("be told that a mistake is forbidden: it is a mistake", () => {
    expect(codeOf("SELECT * FROM missing")).toBe("ERR_SQL");
    expect(codeOf("SELECT missing FROM animal")).toBe("ERR_SQL");
    expect(codeOf("")).toBe("ERR_SQL");
    expect(codeOf(" ; -- nothing")).toBe("ERR_SQL");
  });

  test("break the guard trigger, which uses what they may not", () => {
    const { statement } = engine.prepareGated("UPDATE animal SET id = 'z' WHERE id = 'a'");
    expect(() => statement.run()).toThrow(/primary keys are immutable/);
  });
});

test("text about cr-sqlite goes in as a parameter", () => {
  gatedRows(engine, "INSERT INTO animal VALUES (?, ?, NULL)", "c", "crsql_changes; rowmesh_log");
  expect(gatedRows(engine, "SELECT name FROM animal WHERE id = 'c'")).toEqual([
    { name: "crsql_changes; rowmesh_log" },
  ]);
});

test("writes through the gate are tracked by cr-sqlite like any other", () => {
  const before = storedRows(engine, "SELECT count(*) FROM crsql_changes")[0]?.[0] as bigint;
  gatedRows(engine, "INSERT INTO animal VALUES ('c', 'frog', 'pond')");
  const after = storedRows(engine, "SELECT count(*) FROM crsql_changes")[0]?.[0] as bigint;
  expect(after - before).toBe(2n);
});

test("one text, two trusts: what rowmesh prepared is not handed to an app", () => {
  const sql = "SELECT body FROM rowmesh_log";
  expect(storedRows(engine, sql)).toEqual([[Uint8Array.of(2)]]);
  expect(codeOf(sql)).toBe("ERR_SQL_FORBIDDEN");
  const allowed = "SELECT name FROM animal";
  expect(engine.prepareGated(allowed).statement).not.toBe(engine.prepare(allowed));
});

const access = (sql: string) => {
  const { reads, writes } = engine.prepareGated(sql);
  return [[...reads].toSorted(), [...writes].toSorted()];
};

test("what a statement reads and writes is known", () => {
  expect(access("SELECT count(*) FROM animal")).toEqual([["animal"], []]);
  expect(access("SELECT 1 FROM animal, sight")).toEqual([["animal", "sight"], []]);
  expect(access("SELECT (SELECT max(at) FROM sight)")).toEqual([["sight"], []]);
  expect(access("DELETE FROM sight WHERE animal IN (SELECT id FROM animal)")).toEqual([
    ["animal", "sight"],
    ["sight"],
  ]);
  expect(access("INSERT INTO sight VALUES (9, 'a', 1)")[1]).toEqual(["sight"]);
});

test("statements survive a change of the schema by rowmesh", () => {
  expect(gatedRows(engine, "SELECT * FROM sight")).toEqual([{ id: 1, animal: "a", at: 5 }]);
  engine.exec(`SELECT crsql_begin_alter('sight'); ALTER TABLE sight ADD COLUMN note TEXT;
    SELECT crsql_commit_alter('sight')`);
  expect(gatedRows(engine, "SELECT * FROM sight")).toEqual([
    { id: 1, animal: "a", at: 5, note: null },
  ]);
});

test("comments are skipped as SQLite skips them, in linear time", () => {
  const comments = "/**//* * / ; */-- x\n".repeat(20_000);
  expect(codeOf(`${comments}SELECT 1${comments}`)).toBe("no error");
  expect(codeOf(`SELECT 1;${comments}x`)).toBe("ERR_SQL_FORBIDDEN");
  expect(codeOf("/*/ SELECT 1 */ COMMIT")).toBe("ERR_SQL_FORBIDDEN");
  expect(codeOf("-- SELECT 1\r COMMIT")).toBe("ERR_SQL");
  expect(codeOf("\u00a0SELECT 1")).toBe("ERR_SQL_FORBIDDEN");
  expect(codeOf("SELECT 1 /* open")).toBe("no error");
});

test("more texts than the cache holds", () => {
  for (let round = 0; round < 2; round += 1) {
    for (let index = 0; index < 200; index += 1) {
      expect(gatedRows(engine, `SELECT ${index} AS n`)).toEqual([{ n: index }]);
    }
  }
});
