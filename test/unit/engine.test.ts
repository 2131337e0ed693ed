import * as fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { MeshError } from "../../src/protocol/errors.ts";
import type { SqlValue, StoredValue } from "../../src/protocol/values.ts";
import type { Engine } from "../../src/db/engine.ts";
import { sqliteResultCode } from "../../src/db/sqlite-error.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import { openTestEngine, storedRows } from "./open-test-engine.ts";

let engine: Engine;
beforeEach(async () => {
  engine = await openTestEngine();
});

const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof MeshError) return error.code;
    throw error;
  }
  return "no error";
};

/** What SQLite says it was given. */
const bound = (value: SqlValue) => {
  const statement = engine.prepare("SELECT typeof(?1), quote(?1)");
  statement.bindSql([value]);
  statement.step();
  const row = statement.storedRow();
  statement.reset();
  return row;
};

describe("app values bind", () => {
  test.each<[SqlValue, string, string]>([
    [1, "integer", "1"],
    [1.0, "integer", "1"],
    [-1, "integer", "-1"],
    [-0, "integer", "0"],
    [2 ** 31, "integer", "2147483648"],
    [-(2 ** 31) - 1, "integer", "-2147483649"],
    [3e9, "integer", "3000000000"],
    [2 ** 53 - 1, "integer", "9007199254740991"],
    [-(2 ** 53) + 1, "integer", "-9007199254740991"],
    [2 ** 53, "real", "9.007199254740992e+15"],
    [1.5, "real", "1.5"],
    [2n ** 63n - 1n, "integer", "9223372036854775807"],
    [-(2n ** 63n), "integer", "-9223372036854775808"],
    ["", "text", "''"],
    ["x", "text", "'x'"],
    [new Uint8Array(0), "blob", "X''"],
    [Uint8Array.of(0, 255), "blob", "X'00FF'"],
    [null, "null", "NULL"],
  ])("%o as %s %s", (value, storageClass, quoted) => {
    expect(bound(value)).toEqual([storageClass, quoted]);
  });

  test.each<[string, unknown]>([
    ["NaN", Number.NaN],
    ["2^63", 2n ** 63n],
    ["-2^63 - 1", -(2n ** 63n) - 1n],
    ["a lone high surrogate", "a\ud800b"],
    ["a lone low surrogate in a long text", `${"é".repeat(100)}\udc00`],
    ["undefined", undefined],
    ["a boolean", true],
    ["a date", new Date(0)],
    ["an ArrayBuffer", new ArrayBuffer(1)],
    ["an array of numbers", [1, 2]],
  ])("not at all: %s", (_name, value) => {
    expect(codeOf(() => bound(value as SqlValue))).toBe("ERR_SQL");
  });

  test("too few and too many values are refused, and leave no stale value", () => {
    const statement = engine.prepare("SELECT ?1, ?2");
    statement.bindSql([7, 8]);
    expect(codeOf(() => statement.bindSql([9]))).toBe("ERR_SQL");
    expect(codeOf(() => statement.bindSql([9, 9, 9]))).toBe("ERR_SQL");
  });
});

test("integers come back as numbers within ±2^53, else as bigints", () => {
  const statement = engine.prepare("SELECT ?1");
  const read = (value: bigint) => {
    statement.bindStored([value]);
    statement.step();
    return statement.sqlValue(0);
  };
  expect(read(2n ** 53n - 1n)).toBe(2 ** 53 - 1);
  expect(read(-(2n ** 53n) + 1n)).toBe(-(2 ** 53) + 1);
  expect(read(2n ** 53n)).toBe(2n ** 53n);
  expect(read(2n ** 53n + 1n)).toBe(2n ** 53n + 1n);
  expect(read(-(2n ** 63n))).toBe(-(2n ** 63n));
  expect(() => statement.integer(0)).toThrow(RangeError);
});

const storedValue: fc.Arbitrary<StoredValue> = fc.oneof(
  fc.constant(null),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.double({ noNaN: true }),
  fc.string({ unit: "binary", maxLength: 200 }),
  fc.constantFrom("\0", "a\0b", "\ufeffmark", "é".repeat(39), "a".repeat(40), "a".repeat(41), "😀"),
  fc.uint8Array({ maxLength: 200 }),
);

test("every stored value comes back from a table with its exact storage class", () => {
  engine.exec("CREATE TABLE v (id INTEGER PRIMARY KEY, x ANY) STRICT");
  const insert = engine.prepare("INSERT INTO v (x) VALUES (?)");
  fc.assert(
    fc.property(fc.array(storedValue, { minLength: 1, maxLength: 20 }), (values) => {
      engine.exec("DELETE FROM v");
      for (const value of values) {
        insert.bindStored([value]);
        insert.run();
      }
      expect(storedRows(engine, "SELECT x FROM v ORDER BY id")).toEqual(values.map((v) => [v]));
    }),
    { numRuns: 300 },
  );
});

test("-0.0 and 5.0 stay REAL, and -0.0 keeps its sign", () => {
  const [row] = storedRows(engine, "SELECT ?1, ?2, typeof(?1)", -0, 5);
  expect(Object.is(row?.[0], -0)).toBe(true);
  expect(row?.slice(1)).toEqual([5, "real"]);
});

test("values beyond the scratch, and after the memory has grown", { timeout: 60_000 }, () => {
  const large = new Uint8Array(20_000_000).fill(7);
  const text = "ü".repeat(3_000_000);
  const [row] = storedRows(engine, "SELECT ?1 = ?2, ?1, ?3", large, large, text);
  expect(row?.[0]).toBe(1n);
  expect(Buffer.compare(row?.[1] as Uint8Array, large)).toBe(0);
  expect(row?.[2] === text).toBe(true);
  expect(storedRows(engine, "SELECT ?1", "small again")).toEqual([["small again"]]);
});

test("a row is an object by column name, whatever the names are", () => {
  const statement = engine.prepare(`SELECT 1 AS a, 'x' AS "__proto__", x'00' AS "ö b"`);
  statement.step();
  const row = statement.sqlRow();
  expect(Object.entries(row)).toEqual([
    ["a", 1],
    ["__proto__", "x"],
    ["ö b", Uint8Array.of(0)],
  ]);
  expect(statement.columnNames()).toEqual(["a", "__proto__", "ö b"]);
});

describe("errors", () => {
  test("carry SQLite's message and code", () => {
    engine.exec(
      "CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL) STRICT; INSERT INTO t VALUES (1)",
    );
    let caught: unknown;
    try {
      engine.prepare("INSERT INTO t VALUES (1)").run();
    } catch (error) {
      caught = error;
    }
    expect(caught).toMatchObject({
      code: "ERR_SQL",
      message: "ERR_SQL: UNIQUE constraint failed: t.id (SQLite 19)",
    });
    expect(sqliteResultCode(caught)).toBe(19);
  });

  test.each([
    ["SELEC 1", "ERR_SQL"],
    ["SELECT * FROM missing", "ERR_SQL"],
    ["", "ERR_SQL"],
    ["-- nothing", "ERR_SQL"],
    ["SELECT 1; SELECT 2", "ERR_SQL_FORBIDDEN"],
    ["SELECT 1; garbage", "ERR_SQL_FORBIDDEN"],
    ["SELECT 1 ; -- and that is all\n /* really */ ;", "no error"],
  ])("preparing %j: %s", (sql, code) => {
    expect(codeOf(() => engine.prepare(sql))).toBe(code);
  });

  test("a statement that failed can run again", () => {
    engine.exec("CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL) STRICT");
    const insert = engine.prepare("INSERT INTO t VALUES (?)");
    insert.bindSql([1]);
    insert.run();
    expect(codeOf(() => insert.run())).toBe("ERR_SQL");
    insert.bindSql([2]);
    insert.run();
    expect(storedRows(engine, "SELECT count(*) FROM t")).toEqual([[2n]]);
  });

  test("wrong indexes and used-up statements are our own mistakes", () => {
    const statement = engine.prepare("SELECT ?1");
    expect(() => statement.bindInteger(2, 1)).toThrow(RangeError);
    expect(() => statement.bindInteger(1, 1.5)).toThrow(RangeError);
    statement.finalize();
    expect(() => statement.step()).toThrow(RangeError);
    expect(engine.prepare("SELECT ?1")).not.toBe(statement);
  });
});

test("a trap ends the engine, and the storage lives on without the open transaction", async () => {
  const storage = createMemoryStorage();
  const first = await openTestEngine(storage);
  first.exec("CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL, x TEXT) STRICT");
  first.exec("SELECT crsql_as_crr('t'); INSERT INTO t VALUES (1, 'kept')");
  first.exec("BEGIN; INSERT INTO t VALUES (2, 'lost')");
  const merge = first.prepare(
    `INSERT INTO crsql_changes VALUES ('t', x'', 'x', 'y', 1, 1, x'${"aa".repeat(16)}', 1, 0)`,
  );
  // An empty key makes cr-sqlite panic.
  expect(codeOf(() => merge.run())).toBe("ERR_ENGINE_TRAP");
  expect(first.trapped()).toBe(true);
  expect(codeOf(() => first.exec("SELECT 1"))).toBe("ERR_ENGINE_TRAP");
  expect(codeOf(() => first.prepare("SELECT 1"))).toBe("ERR_ENGINE_TRAP");
  expect(codeOf(() => first.autocommit())).toBe("ERR_ENGINE_TRAP");
  first.close();

  const second = await openTestEngine(storage);
  expect(storedRows(second, "SELECT * FROM t")).toEqual([[1n, "kept"]]);
  expect(storedRows(second, "PRAGMA integrity_check")).toEqual([["ok"]]);
});

test("a value beyond 128 MiB is refused, and the memory is not spent", () => {
  expect(codeOf(() => storedRows(engine, "SELECT length(zeroblob(200000000))"))).toBe("ERR_SQL");
  expect(codeOf(() => engine.prepareGated("SELECT randomblob(1000000000)").statement.step())).toBe(
    "ERR_SQL",
  );
  expect(engine.trapped()).toBe(false);
});

test("a fault that SQLite swallowed is not blamed for a later error", async () => {
  const storage = createMemoryStorage();
  const files = await storage.openFiles(0);
  let isFull = false;
  const write = (from: Uint8Array, offset: number): void => {
    if (isFull) throw new MeshError("ERR_STORAGE_FULL", "no room for a checkpoint");
    files.database.write(from, offset);
  };
  const database = { ...files.database, write };
  const full = await openTestEngine({
    ...storage,
    openFiles: async () => ({ database, journal: files.journal }),
  });
  full.exec("CREATE TABLE t (id INTEGER PRIMARY KEY) STRICT; PRAGMA wal_autocheckpoint = 1");
  isFull = true;
  // The row is in the log, durable; the checkpoint that follows fails and will be tried again.
  full.prepare("INSERT INTO t VALUES (1)").run();
  expect(codeOf(() => full.prepare("INSERT INTO t VALUES (1)").run())).toBe("ERR_SQL");
  expect(codeOf(() => full.prepare("PRAGMA wal_checkpoint(TRUNCATE)").run())).toBe(
    "ERR_STORAGE_FULL",
  );
});

test("autocommit and changes", () => {
  engine.exec("CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL, x TEXT) STRICT");
  engine.exec("SELECT crsql_as_crr('t')");
  expect(engine.autocommit()).toBe(true);
  engine.exec("BEGIN IMMEDIATE");
  expect(engine.autocommit()).toBe(false);
  engine.prepare("INSERT INTO t VALUES (1,'a'),(2,'b'),(3,'c')").run();
  expect(engine.changes()).toBe(3);
  engine.prepare("UPDATE t SET x = 'd' WHERE id > 1").run();
  expect(engine.changes()).toBe(2);
  engine.exec("ROLLBACK");
  expect(engine.autocommit()).toBe(true);
});

test("a runaway statement is interrupted with the caller's error, and the engine goes on", () => {
  let checks = 0;
  engine.interruptWith(() => {
    checks += 1;
    return checks < 3 ? null : new MeshError("ERR_TRANSACTION_TIMEOUT", "too long");
  });
  const forever = engine.prepare(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
  );
  expect(codeOf(() => forever.step())).toBe("ERR_TRANSACTION_TIMEOUT");
  expect(checks).toBe(3);
  engine.interruptWith(null);
  expect(storedRows(engine, "SELECT 1")).toEqual([[1n]]);
});

test("close rolls back and is idempotent; then every call says ERR_CLOSED", async () => {
  const storage = createMemoryStorage();
  const first = await openTestEngine(storage);
  first.exec("CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL) STRICT");
  first.exec("BEGIN; INSERT INTO t VALUES (1)");
  const open = first.prepare("SELECT * FROM t");
  open.step();
  first.close();
  first.close();
  expect(codeOf(() => first.exec("SELECT 1"))).toBe("ERR_CLOSED");
  const second = await openTestEngine(storage);
  expect(storedRows(second, "SELECT count(*) FROM t")).toEqual([[0n]]);
});

test("a hundred engines side by side", { timeout: 60_000 }, async () => {
  const engines = await Promise.all(Array.from({ length: 100 }, async () => openTestEngine()));
  for (const [index, each] of engines.entries()) each.exec(`PRAGMA user_version = ${index}`);
  expect(engines.map((each) => storedRows(each, "PRAGMA user_version")[0]?.[0])).toEqual(
    engines.map((_, index) => BigInt(index)),
  );
});

test("exactly this WebAssembly: the facts were measured on it", () => {
  expect(storedRows(engine, "SELECT sqlite_version()")).toEqual([["3.44.0"]]);
  expect(
    storedRows(engine, "SELECT value FROM crsql_master WHERE key = 'crsqlite_version'"),
  ).toEqual([[150_000n]]);
});
