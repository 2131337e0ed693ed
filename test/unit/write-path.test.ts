import { expect, test } from "vitest";
import type { ReplicaDatabase } from "../../src/db/replica-database.ts";
import type { SqlRunner } from "../../src/db/sql-runner.ts";
import type { MeshErrorCode } from "../../src/protocol/errors.ts";
import type { SqlValue } from "../../src/protocol/values.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { randomTransaction } from "../../src/testing/random-work.ts";
import { openReplica, pull } from "../fixtures/replicas.ts";
import { createSimulatedDisk } from "../../src/testing/simulated-disk.ts";

const headOf = (db: ReplicaDatabase): number =>
  db.authors().find(({ local }) => local)?.version ?? 0;
const code = (expected: MeshErrorCode): object => expect.objectContaining({ code: expected });
const insert = (db: SqlRunner, id: string): Promise<number> =>
  db.exec("INSERT INTO animal (id) VALUES (?)", [id]);
interface Gate {
  readonly opened: Promise<void>;
  readonly open: () => void;
}
const createGate = (): Gate => {
  const controller = new AbortController();
  const opened = new Promise<void>((resolve) => {
    controller.signal.addEventListener("abort", () => resolve());
  });
  return { opened, open: () => controller.abort() };
};

/** The next local write is tracked, and both replicas still agree. */
async function expectSound(db: ReplicaDatabase, peer: ReplicaDatabase): Promise<void> {
  const before = headOf(db);
  await db.exec("INSERT OR REPLACE INTO animal (id, legs) VALUES ('sound', ?)", [before]);
  expect(headOf(db)).toBe(before + 1);
  await pull(db, peer);
  expect(await peer.stateHash()).toBe(await db.stateHash());
}

test("[L1] a transaction that fails leaves neither rows nor a changeset", async () => {
  const a = await openReplica(1);
  const b = await openReplica(2);
  const failures: readonly (readonly [(tx: SqlRunner) => Promise<unknown>, object])[] = [
    [async () => Promise.reject(new RangeError("mine")), expect.any(RangeError)],
    [async (tx) => tx.exec("INSERT INTO nowhere VALUES (1)"), code("ERR_SQL")],
    [async (tx) => tx.exec("INSERT INTO animal (id) VALUES ('x'), ('x')"), code("ERR_SQL")],
    [async (tx) => tx.exec("INSERT INTO sighting VALUES ('p', 1, -1, '')"), code("ERR_SQL")],
    [async (tx) => tx.exec("UPDATE animal SET id = 'other'"), code("ERR_SQL")],
    [async (tx) => tx.exec("COMMIT"), code("ERR_SQL_FORBIDDEN")],
    [async (tx) => tx.exec("SELECT crsql_internal_sync_bit(1)"), code("ERR_SQL_FORBIDDEN")],
    [async (tx) => tx.exec("DELETE FROM rowmesh_log"), code("ERR_SQL_FORBIDDEN")],
    [
      async (tx) => tx.exec("INSERT INTO animal (id, legs) VALUES ('y', ?)", [1n << 70n]),
      code("ERR_SQL"),
    ],
    [async (tx) => tx.exec("UPDATE animal SET name = CAST(x'ff' AS TEXT)"), code("ERR_SQL")],
    [
      async (tx) => tx.exec("UPDATE animal SET name = ?", ["z".repeat(1024 * 1024 + 1)]),
      code("ERR_ROWS_INVALID"),
    ],
  ];
  await insert(a, "kept");
  for (const [work, error] of failures) {
    const head = headOf(a);
    const hash = await a.stateHash();
    const failing = a.transaction(async (tx) => {
      await tx.exec("UPDATE animal SET legs = coalesce(legs, 0) + 1");
      await insert(tx, "temporary");
      await work(tx);
    });
    await expect(failing).rejects.toEqual(error);
    expect(headOf(a)).toBe(head);
    expect(await a.stateHash()).toBe(hash);
    await expectSound(a, b);
  }
  await a.close();
  await b.close();
});

test("[L1] a caught error keeps the rest; one that SQLite rolled back by itself fails the whole", async () => {
  const a = await openReplica(1);
  await a.transaction(async (tx) => {
    await insert(tx, "x");
    await expect(insert(tx, "x")).rejects.toEqual(code("ERR_SQL"));
    await insert(tx, "y");
  });
  expect(await a.query("SELECT id FROM animal ORDER BY id")).toEqual([{ id: "x" }, { id: "y" }]);
  const rolledBack = a.transaction(async (tx) => {
    await insert(tx, "z");
    await expect(tx.exec("INSERT OR ROLLBACK INTO animal (id) VALUES ('x')")).rejects.toEqual(
      code("ERR_SQL"),
    );
    await expect(insert(tx, "lost")).rejects.toEqual(code("ERR_SQL"));
  });
  await expect(rolledBack).rejects.toEqual(code("ERR_SQL"));
  expect(await a.query("SELECT count(*) AS n FROM animal")).toEqual([{ n: 2 }]);
  const swallowed = a.transaction(async (tx) => {
    await tx.exec("INSERT OR ROLLBACK INTO animal (id) VALUES ('x')").catch(() => 0);
  });
  await expect(swallowed).rejects.toEqual(code("ERR_SQL"));
  expect(headOf(a)).toBe(1);
  await insert(a, "w");
  expect(headOf(a)).toBe(2);
  await a.close();
});

test("[L10] what a receiver would call void is refused at the writer", async () => {
  const a = await openReplica(1);
  await expect(a.exec("INSERT INTO animal (id) VALUES (?)", ["k".repeat(4097)])).rejects.toEqual(
    code("ERR_ROWS_INVALID"),
  );
  expect(headOf(a)).toBe(0);
  await a.close();
});

test("[L11] calls are served in order; a transaction keeps its turn until it ends", async () => {
  const a = await openReplica(1);
  const seen: SqlValue[] = [];
  const gate = createGate();
  const transaction = a.transaction(async (tx) => {
    await insert(tx, "first");
    await gate.opened;
    await insert(tx, "second");
  });
  const others = ["third", "fourth"].map(async (id) => {
    await insert(a, id);
    seen.push(id);
  });
  const count = a.query("SELECT count(*) AS n FROM animal");
  gate.open();
  await Promise.all([transaction, ...others]);
  expect(await count).toEqual([{ n: 4 }]);
  expect(seen).toEqual(["third", "fourth"]);
  expect(headOf(a)).toBe(3);
  await a.close();
});

test("[L11] mesh.db inside a transaction fails instead of waiting for itself", async () => {
  const a = await openReplica(1);
  const nested: readonly ((tx: SqlRunner) => Promise<unknown>)[] = [
    async () => insert(a, "x"),
    async (tx) => {
      await insert(tx, "y");
      return a.query("SELECT 1");
    },
    async () => a.transaction(async () => {}),
  ];
  for (const work of nested) {
    await expect(a.transaction(work)).rejects.toEqual(code("ERR_NESTED"));
  }
  // Left over from a transaction that is over, it is a call like any other.
  const gate = createGate();
  const late = async (): Promise<number> => {
    await gate.opened;
    return insert(a, "late");
  };
  const { pending } = await a.transaction(async () => ({ pending: late() }));
  gate.open();
  expect(await pending).toBe(1);
  expect(await a.query("SELECT id FROM animal")).toEqual([{ id: "late" }]);
  await a.close();
});

test("[L11] time limit and signal end a transaction, also inside one long statement", async () => {
  const a = await openReplica(1);
  const b = await openReplica(2);
  const endless =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
  const forever = new Promise<void>(() => {});
  await expect(a.transaction(async () => forever, { timeoutMs: 20 })).rejects.toEqual(
    code("ERR_TRANSACTION_TIMEOUT"),
  );
  const late = a.transaction(async (tx) => tx.query(endless), { timeoutMs: 20 });
  await expect(late).rejects.toEqual(code("ERR_TRANSACTION_TIMEOUT"));
  const controller = new AbortController();
  const aborted = a.transaction(
    async (tx) => {
      await insert(tx, "x");
      controller.abort();
      await forever;
    },
    { signal: controller.signal },
  );
  await expect(aborted).rejects.toEqual(code("ERR_ABORTED"));
  await expect(a.query("SELECT 1", [], { signal: controller.signal })).rejects.toEqual(
    code("ERR_ABORTED"),
  );
  let escaped: SqlRunner | null = null;
  await a.transaction(async (tx) => {
    escaped = tx;
  });
  await expect(insert(escaped as unknown as SqlRunner, "x")).rejects.toEqual(code("ERR_CLOSED"));
  await expectSound(a, b);
  await a.close();
  await b.close();
});

test("[L11] closing refuses those who wait and lets the one at work finish", async () => {
  const a = await openReplica(1);
  const gate = createGate();
  const transaction = a.transaction(async (tx) => {
    await gate.opened;
    return insert(tx, "x");
  });
  const waiting = a.query("SELECT 1");
  const closing = a.close();
  await expect(waiting).rejects.toEqual(code("ERR_CLOSED"));
  gate.open();
  expect(await transaction).toBe(1);
  await closing;
  await expect(insert(a, "y")).rejects.toEqual(code("ERR_CLOSED"));
  await a.close();
});

test("values keep what an app gave, and integers beyond 2^53 arrive as bigint", async () => {
  const a = await openReplica(1);
  const wide = 2n ** 63n - 1n;
  await a.execMany("INSERT INTO animal VALUES (?, ?, ?, ?, ?)", [
    ["1", "nul\0nul", wide, 5, new Uint8Array(0)],
    ["2", null, -3, 0.5, null],
  ]);
  expect(await a.query("SELECT * FROM animal ORDER BY id")).toEqual([
    { id: "1", name: "nul\0nul", legs: wide, weight: 5, photo: new Uint8Array(0) },
    { id: "2", name: null, legs: -3, weight: 0.5, photo: null },
  ]);
  expect(await a.query("SELECT typeof(weight) AS t FROM animal LIMIT 1")).toEqual([{ t: "real" }]);
  await a.close();
});

test.each([1, 2, 3, 4, 5, 6])(
  "[L1] whatever the disk does, rows and log stay together (seed %i)",
  async (seed) => {
    const random = createSeededRandom(seed);
    const disk = createSimulatedDisk(random.below);
    const peer = await openReplica(2);
    let acknowledged = 0;
    let db = await openReplica(1, { storage: disk.storage });
    for (let round = 0; round < 12; round++) {
      const full = random.below(2) === 0;
      if (full) disk.setFree(random.below(40_000));
      else disk.losePowerAfter(random.below(60));
      const fault = await (async () => {
        for (let step = 0; step < 30; step++) {
          await randomTransaction(db, random);
          acknowledged = headOf(db);
        }
        return { code: "none" };
      })().catch((error: { code: string }) => error);
      expect(["none", "ERR_STORAGE_FULL", "ERR_STORAGE_LOST"]).toContain(fault.code);
      disk.setFree(null);
      if (disk.hasLostPower()) {
        disk.losePower();
        db = await openReplica(1, { storage: disk.storage });
      } else disk.losePowerAfter(null);
      expect(headOf(db)).toBeGreaterThanOrEqual(acknowledged);
      await pull(db, peer);
      expect(peer.counts().forks).toEqual([]);
      expect(await peer.stateHash()).toBe(await db.stateHash());
      await expectSound(db, peer);
    }
    const hash = await db.stateHash();
    expect(hash).toBe(await peer.stateHash());
    await db.close();
    await peer.close();
  },
  30_000,
);
