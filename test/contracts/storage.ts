/**
 * What every Storage keeps to. Plain functions without a test framework, because OPFS only exists
 * in a dedicated worker of a real browser; test/unit/storage.test.ts and test/browser/storage.test.ts
 * run them.
 */
import { openEngine, type Engine } from "../../src/db/engine.ts";
import type { FileDevice, Storage } from "../../src/db/storage.ts";
import { isMeshError } from "../../src/protocol/errors.ts";

/** One empty place, opened and closed any number of times by one rule. */
interface StoragePlace {
  readonly open: () => Promise<Storage>;
}

interface StorageRule {
  readonly name: string;
  readonly run: (place: StoragePlace, wasm: WebAssembly.Module) => Promise<void>;
  /** Left out for storages that forget. */
  readonly durableOnly?: true;
}

const equal = (actual: unknown, expected: unknown, what: string): void => {
  const [left, right] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (left !== right) throw new Error(`${what}: expected ${right}, got ${left}`);
};

const refused = async (run: () => Promise<unknown>): Promise<string> => {
  try {
    await run();
  } catch (error) {
    if (isMeshError(error)) return error.code;
    throw error;
  }
  return "no error";
};

const readAll = (device: FileDevice, offset: number, length: number): number[] => {
  const into = new Uint8Array(length).fill(255);
  return [...into.subarray(0, device.read(into, offset))];
};

const openOn = async (
  storage: Storage,
  wasm: WebAssembly.Module,
  generation: number = storage.generation(),
): Promise<Engine> => {
  const files = await storage.openFiles(generation);
  return openEngine({ wasm, files, atomicity: storage.atomicity });
};

const count = (engine: Engine): number => {
  const statement = engine.prepare("SELECT count(*) FROM t");
  statement.step();
  const rows = statement.integer(0);
  statement.reset();
  return rows;
};

const insertRows = (engine: Engine, first: number, rows: number): void => {
  engine.exec("BEGIN IMMEDIATE");
  const insert = engine.prepare("INSERT INTO t VALUES (?, hex(randomblob(100)))");
  for (let id = first; id < first + rows; id += 1) {
    insert.bindInteger(1, id);
    insert.run();
  }
  engine.exec("COMMIT");
};

const assertIntegrity = (engine: Engine): void => {
  const statement = engine.prepare("PRAGMA integrity_check");
  statement.step();
  equal(statement.text(0), "ok", "integrity_check");
  statement.reset();
};

const SCHEMA =
  "CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL, x TEXT) STRICT; SELECT crsql_as_crr('t')";

const deviceRules: readonly StorageRule[] = [
  {
    name: "a new storage is generation 0, with two empty files",
    run: async (place) => {
      const storage = await place.open();
      const files = await storage.openFiles(storage.generation());
      equal(
        [storage.generation(), files.database.size(), files.journal.size()],
        [0, 0, 0],
        "new storage",
      );
      await storage.close();
    },
  },
  {
    name: "devices read back what was written, zero in holes, and fewer bytes at the end",
    run: async (place) => {
      const storage = await place.open();
      const { database, journal } = await storage.openFiles(0);
      for (const device of [database, journal]) {
        device.write(Uint8Array.of(1, 2, 3), 40_000);
        equal(device.size(), 40_003, "size");
        equal(readAll(device, 39_999, 10), [0, 1, 2, 3], "around the write");
        equal(readAll(device, 40_003, 10), [], "behind the end");
        device.write(Uint8Array.of(9, 9), 40_001);
        equal(readAll(device, 40_000, 3), [1, 9, 9], "overwritten");
        const large = Uint8Array.from({ length: 70_000 }, (_, index) => index % 251);
        device.write(large, 16_380);
        equal(readAll(device, 16_380, 70_000), [...large], "across blocks");
        device.flush();
      }
      await storage.close();
    },
  },
  {
    name: "what was cut off reads as zero when the file grows again",
    run: async (place) => {
      const storage = await place.open();
      const { database: device } = await storage.openFiles(0);
      device.write(new Uint8Array(50_000).fill(7), 0);
      device.truncate(20_000);
      equal(device.size(), 20_000, "size after truncate");
      device.write(Uint8Array.of(1), 50_000);
      equal(readAll(device, 19_998, 4), [7, 7, 0, 0], "at the cut");
      equal(readAll(device, 49_998, 3), [0, 0, 1], "at the end");
      device.truncate(0);
      equal(readAll(device, 0, 1), [], "emptied");
      await storage.close();
    },
  },
];

const engineRules: readonly StorageRule[] = [
  {
    name: "what was committed is there for the next engine, also without close; the rest is not",
    run: async (place, wasm) => {
      const storage = await place.open();
      const first = await openOn(storage, wasm);
      first.exec(SCHEMA);
      insertRows(first, 0, 500);
      await storage.commit();
      first.exec("BEGIN; DELETE FROM t; INSERT INTO t VALUES (-1, 'never committed')");
      // No close: as if the WebAssembly had trapped.
      const second = await openOn(storage, wasm);
      equal(count(second), 500, "rows");
      assertIntegrity(second);
      second.close();
      const third = await openOn(storage, wasm);
      equal(count(third), 500, "rows after close");
      third.close();
      await storage.close();
    },
  },
  {
    name: "hundreds of commits, rollbacks and checkpoints, and a reopen after each hundred",
    run: async (place, wasm) => {
      const storage = await place.open();
      let engine = await openOn(storage, wasm);
      engine.exec(SCHEMA);
      for (let round = 0; round < 3; round += 1) {
        for (let index = 0; index < 100; index += 1) {
          insertRows(engine, round * 1_000 + index * 5, 5);
          engine.exec("BEGIN; DELETE FROM t WHERE id % 50 = 0; ROLLBACK");
          await storage.commit();
        }
        if (round === 1) engine.close();
        engine = await openOn(storage, wasm);
        engine.exec("PRAGMA wal_autocheckpoint = 50");
        equal(count(engine), (round + 1) * 500, "rows");
        assertIntegrity(engine);
      }
      engine.exec("DELETE FROM t; VACUUM");
      await storage.commit();
      engine = await openOn(storage, wasm);
      equal(count(engine), 0, "rows");
      assertIntegrity(engine);
      engine.close();
      await storage.close();
    },
  },
  {
    name: "a transaction larger than SQLite's cache commits or rolls back whole",
    run: async (place, wasm) => {
      const storage = await place.open();
      const engine = await openOn(storage, wasm);
      engine.exec(`${SCHEMA}; PRAGMA cache_size = 10`);
      insertRows(engine, 0, 2_000);
      await storage.commit();
      engine.exec("BEGIN; UPDATE t SET x = 'changed'");
      const again = await openOn(storage, wasm);
      const statement = again.prepare("SELECT count(*) FROM t WHERE x = 'changed'");
      statement.step();
      equal([count(again), statement.integer(0)], [2_000, 0], "rows, half changed");
      assertIntegrity(again);
      again.close();
      await storage.close();
    },
  },
  {
    name: "a switch of generation keeps the new database and forgets the old one",
    run: async (place, wasm) => {
      const storage = await place.open();
      const old = await openOn(storage, wasm);
      old.exec(SCHEMA);
      insertRows(old, 0, 10);
      await storage.commit();
      const fresh = await openOn(storage, wasm, 1);
      fresh.exec(SCHEMA);
      insertRows(fresh, 0, 20);
      await storage.commit();
      old.close();
      await storage.switchTo(1);
      equal([storage.generation(), count(fresh)], [1, 20], "after the switch");
      insertRows(fresh, 100, 1);
      await storage.commit();
      const again = await openOn(storage, wasm);
      equal(count(again), 21, "rows of the new generation");
      again.close();
      equal((await storage.openFiles(0)).database.size(), 0, "the old generation");
      await storage.close();
    },
  },
  {
    name: "a discarded generation is empty, and the database unharmed",
    run: async (place, wasm) => {
      const storage = await place.open();
      const engine = await openOn(storage, wasm);
      engine.exec(SCHEMA);
      insertRows(engine, 0, 10);
      await storage.commit();
      await storage.discard(1);
      for (let attempt = 0; attempt < 2; attempt += 1) {
        const failed = await openOn(storage, wasm, 1);
        failed.exec(SCHEMA);
        insertRows(failed, 0, 500);
        await storage.commit();
        failed.close();
        await storage.discard(1);
        const { database, journal } = await storage.openFiles(1);
        equal([database.size(), journal.size()], [0, 0], "discarded");
      }
      insertRows(engine, 100, 1);
      await storage.commit();
      const again = await openOn(storage, wasm);
      equal(count(again), 11, "rows");
      again.close();
      await storage.close();
    },
  },
];

const durableRules: readonly StorageRule[] = [
  {
    name: "what was committed outlives the storage object",
    durableOnly: true,
    run: async (place, wasm) => {
      let storage = await place.open();
      let engine = await openOn(storage, wasm);
      engine.exec(SCHEMA);
      insertRows(engine, 0, 300);
      await storage.commit();
      engine.exec("BEGIN; INSERT INTO t VALUES (-1, 'never committed')");
      await storage.close();
      storage = await place.open();
      engine = await openOn(storage, wasm);
      equal(count(engine), 300, "rows");
      assertIntegrity(engine);
      engine.close();
      await storage.close();
    },
  },
  {
    name: "an unfinished generation is gone after a reopen, a finished switch is not",
    durableOnly: true,
    run: async (place, wasm) => {
      let storage = await place.open();
      let engine = await openOn(storage, wasm);
      engine.exec(SCHEMA);
      insertRows(engine, 0, 10);
      await storage.commit();
      const unfinished = await openOn(storage, wasm, 1);
      unfinished.exec(SCHEMA);
      await storage.commit();
      await storage.close();

      storage = await place.open();
      equal(storage.generation(), 0, "generation");
      equal((await storage.openFiles(1)).database.size(), 0, "the unfinished generation");
      engine = await openOn(storage, wasm, 1);
      engine.exec(SCHEMA);
      await storage.commit();
      await storage.switchTo(1);
      await storage.switchTo(1);
      engine.close();
      await storage.close();

      storage = await place.open();
      equal(storage.generation(), 1, "generation after the switch");
      engine = await openOn(storage, wasm);
      equal(count(engine), 0, "rows");
      engine.close();
      await storage.close();
    },
  },
  {
    name: "one at a time: a second is refused while the first is open, not after",
    durableOnly: true,
    run: async (place) => {
      const first = await place.open();
      equal(await refused(place.open), "ERR_STORAGE_LOCKED", "second");
      equal(await refused(place.open), "ERR_STORAGE_LOCKED", "third");
      await first.close();
      await first.close();
      const second = await place.open();
      await second.close();
    },
  },
  {
    name: "destroy leaves nothing",
    durableOnly: true,
    run: async (place, wasm) => {
      let storage = await place.open();
      const engine = await openOn(storage, wasm, 0);
      engine.exec(SCHEMA);
      await storage.commit();
      engine.close();
      await storage.switchTo(0);
      await storage.destroy();
      storage = await place.open();
      equal([storage.generation(), (await storage.openFiles(0)).database.size()], [0, 0], "after");
      await storage.close();
    },
  },
];

export const STORAGE_RULES: readonly StorageRule[] = [
  ...deviceRules,
  ...engineRules,
  ...durableRules,
];
