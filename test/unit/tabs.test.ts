/** What tabs share a database by, without a browser: links, seats, and receipts in a real database. */
import { releaseProxy } from "comlink";
import { expect, test } from "vitest";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import type { Storage } from "../../src/db/storage.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import { MeshError } from "../../src/protocol/errors.ts";
import { type LocalReplica, openReplica } from "../../src/node/replica.ts";
import { WorkerEndedError } from "../../src/node/pending-calls.ts";
import { openReplicaOverLink } from "../../src/node/replica-client.ts";
import { createReplicaHost } from "../../src/node/replica-host.ts";
import { createSeats, type Seat, type Seats } from "../../src/node/seats.ts";
import { createSharedDatabase } from "../../src/node/shared-database.ts";

import { systemClock, systemRandom } from "../../src/node/system-seams.ts";
import { openTabLink } from "../../src/node/tab-link.ts";
import { ANIMALS, ed25519 } from "../fixtures/replicas.ts";

const TAB = "ab".repeat(16);
const INSERT = "INSERT INTO animal (id) VALUES (?)";

const wasm = await compileSqliteInNode();

const open = (storage: Storage): Promise<LocalReplica> =>
  openReplica({
    storage,
    wasm,
    schema: ANIMALS,
    ed25519,
    clock: systemClock,
    random: systemRandom,
  });

const nothing = (): never => {
  throw new RangeError("no mesh in this test");
};

interface DyingSeat extends Seat {
  readonly die: () => void;
}

/**
 * A follower's seat whose leader dies with the call that `dies` names: after it was done, or instead.
 * `die` then says that it has ended.
 */
function seatOver(
  replica: LocalReplica,
  role: Seat["role"],
  dies: "never" | "afterwards" | "instead",
): DyingSeat {
  const death = new AbortController();
  const die = (): void => death.abort();
  const ended = new Promise<void>((resolve) =>
    death.signal.addEventListener("abort", () => resolve()),
  );
  const dying = <Arguments extends readonly unknown[], Result>(
    run: (...args: Arguments) => Promise<Result>,
  ) => {
    return async (...args: Arguments): Promise<Result> => {
      const result = dies === "instead" ? null : await run(...args);
      if (dies === "never") return result as Result;
      die();
      throw new WorkerEndedError("dead");
    };
  };
  const { exec, query, execMany, transaction, watch } = replica.db;
  const db = {
    exec: dying(exec),
    query: dying(query),
    execMany: dying(execMany),
    transaction: dying(transaction),
    watch,
  };
  const shown: LocalReplica = Object.create(replica, { db: { value: db } });
  const mesh = {
    status: nothing,
    onStatus: nothing,
    invite: nothing,
    join: nothing,
    online: nothing,
    pair: nothing,
  };
  return {
    role,
    replica: shown,
    mesh,
    answers: () => true,
    ended,
    close: async () => undefined,
    die,
  };
}

async function idsIn(replica: LocalReplica): Promise<unknown[]> {
  return (await replica.db.query("SELECT id FROM animal ORDER BY id")).map(({ id }) => id);
}

const calls = {
  exec: (db: ReturnType<typeof createSharedDatabase>) => db.exec(INSERT, ["a"]),
  execMany: (db: ReturnType<typeof createSharedDatabase>) => db.execMany(INSERT, [["a"], ["b"]]),
  query: (db: ReturnType<typeof createSharedDatabase>) =>
    db.query(
      "INSERT INTO animal (id, photo, weight) VALUES (?, ?, ?) RETURNING id, photo, weight",
      ["a", Uint8Array.of(1, 2), 1e300 * 1e10],
    ),
  transaction: (db: ReturnType<typeof createSharedDatabase>) =>
    db.transaction(async (tx) => `wrote ${await tx.exec(INSERT, ["a"])}`),
};
const answers = {
  exec: 1,
  execMany: 2,
  query: [{ id: "a", photo: Uint8Array.of(1, 2), weight: Number.POSITIVE_INFINITY }],
  transaction: "wrote 1",
};

test.each(["exec", "execMany", "query", "transaction"] as const)(
  "%s: done by a leader that died before it answered, the next one answers from the receipt",
  async (kind) => {
    const storage = createMemoryStorage();
    const replica = await open(storage);
    const seats = createSeats();
    seats.take(seatOver(replica, "follower", "afterwards"));
    const answer = calls[kind](createSharedDatabase(seats, TAB));
    const next = seatOver(replica, "follower", "never");
    await seated(seats, next);
    expect(await answer).toEqual(answers[kind]);
    expect(await idsIn(replica)).toEqual(kind === "execMany" ? ["a", "b"] : ["a"]);
    expect(replica.keys.siteId).toBe(next.replica.keys.siteId);
    await replica.close();
  },
);

/** When there is none: after the one before has ended. */
async function seated(seats: Seats, seat: Seat): Promise<void> {
  await expect.poll(() => seats.now()).toBe(null);
  seats.take(seat);
}

test.each(["exec", "execMany", "query", "transaction"] as const)(
  "%s: not done by a leader that died, it is made again, by this tab if it leads now",
  async (kind) => {
    for (const role of ["follower", "leader"] as const) {
      const replica = await open(createMemoryStorage());
      const seats = createSeats();
      seats.take(seatOver(replica, "follower", "instead"));
      const answer = calls[kind](createSharedDatabase(seats, TAB));
      await seated(seats, seatOver(replica, role, "never"));
      expect(await answer).toEqual(answers[kind]);
      expect(await idsIn(replica)).toEqual(kind === "execMany" ? ["a", "b"] : ["a"]);
      const receipts = await Promise.all(
        Array.from({ length: 32 }, (_, slot) => replica.keptResult({ tab: TAB, slot, turn: 0 })),
      );
      // This tab's own calls cost nothing more.
      expect(receipts.filter((kept) => kept !== undefined)).toHaveLength(role === "leader" ? 0 : 1);
      await replica.close();
    }
  },
);

test("a receipt that is there twice over: the leader that answers from it dies too", async () => {
  const replica = await open(createMemoryStorage());
  const seats = createSeats();
  seats.take(seatOver(replica, "follower", "afterwards"));
  const answer = createSharedDatabase(seats, TAB).exec(INSERT, ["a"]);
  const second = seatOver(replica, "follower", "never");
  Object.defineProperty(second.replica, "keptResult", {
    value: async () => {
      second.die();
      throw new WorkerEndedError("dead");
    },
  });
  await seated(seats, second);
  await seated(seats, seatOver(replica, "leader", "never"));
  expect(await answer).toBe(1);
  expect(await idsIn(replica)).toEqual(["a"]);
  await replica.close();
});

test("a transaction under way when its leader ends is refused, and its callback runs once", async () => {
  const replica = await open(createMemoryStorage());
  const seats = createSeats();
  const first = seatOver(replica, "follower", "never");
  seats.take(first);
  let runs = 0;
  Object.defineProperty(first.replica.db, "transaction", {
    value: async (run: (tx: unknown) => Promise<unknown>) => {
      void run({});
      first.die();
      throw new WorkerEndedError("dead");
    },
  });
  const refused = createSharedDatabase(seats, TAB).transaction(async () => {
    runs += 1;
    await new Promise(() => undefined);
  });
  await seated(seats, seatOver(replica, "follower", "never"));
  await expect(refused).rejects.toMatchObject({ code: "ERR_TAB_LOST" });
  expect(runs).toBe(1);
  await replica.close();
});

test("what a transaction's callback throws reaches the app at once, also ERR_CLOSED of another mesh", async () => {
  const replica = await open(createMemoryStorage());
  const seats = createSeats();
  seats.take(seatOver(replica, "follower", "never"));
  const elsewhere = new MeshError("ERR_CLOSED", "another mesh");
  const refused = createSharedDatabase(seats, TAB).transaction(async (tx) => {
    await tx.exec(INSERT, ["a"]);
    throw elsewhere;
  });
  await expect(refused).rejects.toBe(elsewhere);
  expect(await idsIn(replica)).toEqual([]);
  await replica.close();
});

test("a call that may be done is told of although the app aborts it, or nobody can open the database", async () => {
  const replica = await open(createMemoryStorage());
  const seats = createSeats();
  const aborting = new AbortController();
  seats.take(seatOver(replica, "follower", "afterwards"));
  const db = createSharedDatabase(seats, TAB);
  const answer = db.exec(INSERT, ["a"], { signal: aborting.signal });
  await expect.poll(() => seats.now()).toBe(null);
  aborting.abort();
  seats.take(seatOver(replica, "follower", "afterwards"));
  expect(await answer).toBe(1);
  const unknown = db.exec(INSERT, ["b"]);
  await expect.poll(() => seats.now()).toBe(null);
  seats.fail(new MeshError("ERR_SCHEMA_NEWER", "the file"));
  await expect(unknown).rejects.toMatchObject({ code: "ERR_STORAGE_LOST" });
  await expect(db.exec(INSERT, ["c"])).rejects.toMatchObject({ code: "ERR_SCHEMA_NEWER" });
  expect(await idsIn(replica)).toEqual(["a", "b"]);
  await replica.close();
});

test("a receipt outlives a rebuild and an opening, goes with its tab, and is as long as its slots", async () => {
  const storage = createMemoryStorage();
  let replica = await open(storage);
  const seats = createSeats();
  seats.take(seatOver(replica, "follower", "never"));
  const db = createSharedDatabase(seats, TAB);
  // More at once than there are slots, and then some.
  await Promise.all(Array.from({ length: 100 }, (_, at) => db.exec(INSERT, [`row ${at}`])));
  for (let at = 100; at < 200; at++) await db.exec(INSERT, [`row ${at}`]);
  const receipt = { tab: TAB, slot: 0, turn: 5_000 };
  expect(await replica.keptResult(receipt)).toBe(undefined);
  expect(await replica.db.exec(INSERT, ["last"], { receipt })).toBe(1);
  await replica.rebuild();
  expect(await replica.keptResult(receipt)).toBe(1);
  expect(await replica.keptResult({ ...receipt, turn: 5_001 })).toBe(undefined);
  const bySlot = await Promise.all(
    Array.from({ length: 64 }, async (_, slot) => {
      const found = await Promise.all(
        Array.from({ length: 201 }, (__, turn) => replica.keptResult({ tab: TAB, slot, turn })),
      );
      return found.filter((kept) => kept !== undefined).length;
    }),
  );
  expect(bySlot.reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(32);
  await replica.close();
  replica = await open(storage);
  await replica.dropReceipts((tab) => tab === TAB);
  expect(await replica.keptResult(receipt)).toBe(1);
  await replica.dropReceipts(() => false);
  expect(await replica.keptResult(receipt)).toBe(undefined);
  await replica.close();
});

test("what fails leaves no receipt", async () => {
  const replica = await open(createMemoryStorage());
  const receipt = { tab: TAB, slot: 0, turn: 0 };
  await expect(
    replica.db.exec("INSERT INTO animal (id) VALUES (NULL)", [], { receipt }),
  ).rejects.toMatchObject({ code: "ERR_SQL" });
  await expect(
    replica.db.transaction(
      async (tx) => {
        await tx.exec(INSERT, ["a"]);
        throw new RangeError("mine");
      },
      { receipt },
    ),
  ).rejects.toThrow("mine");
  // SQLite ends the transaction by itself; the app does not care.
  await expect(
    replica.db.transaction(
      async (tx) => {
        await tx.exec(INSERT, ["a"]);
        await tx.exec("INSERT OR ROLLBACK INTO animal (id) VALUES ('a')").catch(() => undefined);
      },
      { receipt },
    ),
  ).rejects.toMatchObject({ code: "ERR_SQL" });
  expect(await replica.keptResult(receipt)).toBe(undefined);
  expect(await idsIn(replica)).toEqual([]);
  await replica.close();
});

test("a link carries calls and callbacks whichever end is first, and keeps no port that was released", async () => {
  for (const first of ["leader", "follower"] as const) {
    const name = `link ${first}`;
    const one = openTabLink(name, first);
    const early = first === "follower" ? one.wrap<Host>() : null;
    if (first === "leader") one.expose(host);
    const answer = early?.double(21);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const other = openTabLink(name, first === "leader" ? "follower" : "leader");
    if (first === "follower") other.expose(host);
    const remote = early ?? other.wrap<Host>();
    const follower = first === "leader" ? other : one;
    expect(await (answer ?? remote.double(21))).toBe(42);
    const seen: number[] = [];
    for (let i = 0; i < 10; i++) {
      await remote.tell(
        follower.carry((value: number) => void seen.push(value)),
        i,
      );
    }
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    await expect.poll(() => [one.ports(), other.ports()]).toEqual([0, 0]);
    other.close();
    one.close();
    // Nobody hears it, nothing is kept.
    void remote.double(1);
    expect([one.ports(), other.ports()]).toEqual([0, 0]);
  }
});

test("a follower's calls, transactions and live queries leave no ports behind; it closes when it has its answers", async () => {
  const replica = await open(createMemoryStorage());
  const [there, here] = [openTabLink("replica", "leader"), openTabLink("replica", "follower")];
  const replicaHost = createReplicaHost({ replica: () => replica, carry: there.carry });
  there.expose(replicaHost);
  const { replica: remote } = await openReplicaOverLink(
    here,
    "nobody's",
    new AbortController().signal,
  );
  const before = [there.ports(), here.ports()];
  for (let at = 0; at < 20; at++) {
    await remote.db.transaction((tx) => tx.exec(INSERT, [`row ${at}`]));
    await expect(
      remote.db.transaction(async () => {
        throw new RangeError("mine");
      }),
    ).rejects.toThrow("mine");
    const count = await new Promise<unknown>((resolve) => {
      const stop = remote.db.watch("SELECT count(*) AS n FROM animal", [], ({ rows }) => {
        resolve(rows[0]?.["n"]);
        queueMicrotask(() => stop());
      });
    });
    expect(count).toBe(at + 1);
  }
  await expect.poll(() => [there.ports(), here.ports()]).toEqual(before);
  const events = remote.events({ since: 20 })[Symbol.asyncIterator]().next();
  const last = remote.db.exec(INSERT, ["last"]);
  const closing = remote.close();
  await expect(remote.db.exec(INSERT, ["late"])).rejects.toMatchObject({ code: "ERR_CLOSED" });
  expect(await last).toBe(1);
  await closing;
  // With the event, or without: who waits for one is not left waiting.
  await events;
  there.close();
  await replica.close();
});

test("who leaves is answered: what is at work ends, nothing of it is written, and nothing more is begun", async () => {
  const replica = await open(createMemoryStorage());
  const [there, here] = [openTabLink("leaving", "leader"), openTabLink("leaving", "follower")];
  const replicaHost = createReplicaHost({ replica: () => replica, carry: there.carry });
  there.expose(replicaHost);
  const { signal } = new AbortController();
  const { replica: remote } = await openReplicaOverLink(here, "nobody's", signal);
  const hanging = remote.db.transaction(async (tx) => {
    await tx.exec(INSERT, ["lost"]);
    void replicaHost.leave();
    await new Promise(() => undefined);
  });
  const behind = remote.db.exec(INSERT, ["behind"]);
  const closed: unknown = expect.objectContaining({ code: "ERR_CLOSED" });
  expect(await Promise.allSettled([hanging, behind])).toEqual([
    { status: "rejected", reason: closed },
    { status: "rejected", reason: closed },
  ]);
  await expect(remote.db.exec(INSERT, ["late"])).rejects.toMatchObject({ code: "ERR_CLOSED" });
  expect(await idsIn(replica)).toEqual([]);
  await remote.close();
  there.close();
  await replica.close();
});

interface Host {
  readonly double: (value: number) => number;
  readonly tell: (listener: (value: number) => void, value: number) => Promise<void>;
}

const host: Host = {
  double: (value) => value * 2,
  tell: async (listener, value) => {
    await (listener as unknown as (value: number) => Promise<void>)(value);
    (listener as unknown as { readonly [releaseProxy]: () => void })[releaseProxy]();
  },
};

test("seats: waiters are told of the next one, of a failure, of the end", async () => {
  const seats = createSeats();
  const replica = await open(createMemoryStorage());
  const waiting = seats.next();
  const seat = seatOver(replica, "follower", "never");
  seats.take(seat);
  expect(await waiting).toBe(seat);
  const started: string[] = [];
  const stop = seats.each((on) => {
    started.push(on.role);
    return () => void started.push("stopped");
  });
  seats.take(seatOver(replica, "leader", "never"));
  stop();
  expect(started).toEqual(["follower", "stopped", "leader", "stopped"]);
  seats.leave(seats.now() as Seat);
  const abort = new AbortController();
  const aborted = seats.next(abort.signal);
  abort.abort();
  await expect(aborted).rejects.toMatchObject({ code: "ERR_ABORTED" });
  const failing = seats.next();
  seats.fail(new RangeError("no storage"));
  await expect(failing).rejects.toThrow("no storage");
  await expect(seats.next()).rejects.toThrow("no storage");
  seats.take(seat);
  expect(await seats.next()).toBe(seat);
  seats.close();
  await expect(seats.next()).rejects.toMatchObject({ code: "ERR_CLOSED" });
  await replica.close();
});
