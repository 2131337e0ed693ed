/** Disks that forget: a restored backup, a lost flush. Nothing that anyone else has seen is lost. */
import { expect, test } from "vitest";
import type { ReplicaDatabase } from "../../src/db/replica-database.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import type { Storage } from "../../src/db/storage.ts";
import { randomTransaction } from "../../src/testing/random-work.ts";
import {
  changesetsOf,
  ed25519,
  entryOf,
  INVITE,
  MESH,
  openReplica,
  pull,
  syncAll,
} from "../fixtures/replicas.ts";
import { createIngestQueue } from "../../src/node/ingest-queue.ts";
import { createSimulatedDisk } from "../../src/testing/simulated-disk.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";

test.each(Array.from({ length: 8 }, (_, at) => at + 1))(
  "[L7] replicas rewound at random take their own work back and go on (seed %i)",
  async (seed) => {
    const random = createSeededRandom(seed);
    const numbers = [1, 2, 3].map((at) => 100 * seed + at);
    const replicas = await Promise.all(numbers.map(async (number) => openReplica(number)));
    for (let step = 0; step < 25; step++) {
      const at = random.below(3);
      const one = replicas[at] as ReplicaDatabase;
      const other = replicas[(at + 1 + random.below(2)) % 3] as ReplicaDatabase;
      await randomTransaction(one, random);
      if (random.below(3) === 0) await pull(other, one);
      if (random.below(4) > 0) continue;
      // The other has all of it; then the disk forgets: a part of everything is left.
      await pull(one, other);
      const site = one.signer.siteId;
      await one.close();
      const rewound = await openReplica(numbers[at] as number, { mesh: null });
      await rewound.bindMesh(MESH, INVITE);
      replicas[at] = rewound;
      for (const { site: author, head } of other.vector()) {
        const left = random.below(head + 1);
        if (left > 0) await rewound.append(await changesetsOf(other, author, 1, left));
      }
      for (let work = random.below(3); work > 0; work--) await randomTransaction(rewound, random);
      await pull(other, rewound);
      expect(entryOf(rewound, site)?.head).toBe(entryOf(other, site)?.head);
      await rewound.offer("on");
    }
    await syncAll(replicas);
    const hashes = new Set<string>();
    for (const replica of replicas) {
      expect(replica.counts()).toMatchObject({ held: 0, parked: 0, void: 0, forks: [] });
      hashes.add(await replica.stateHash());
      await replica.rebuild();
      hashes.add(await replica.stateHash());
      await replica.close();
    }
    expect(hashes.size).toBe(1);
  },
  30_000,
);

const write = (db: ReplicaDatabase, id: string) =>
  db.exec("INSERT INTO animal (id, legs) VALUES (?, 4)", [id]);

test("[L7] what a backup holds unreleased, and others have by now, is released and not doubled", async () => {
  const disk = createSimulatedDisk(() => 0);
  const open = async () => {
    const database = await openReplica(1, { storage: disk.storage, mesh: null });
    await database.bindMesh(MESH, INVITE);
    return database;
  };
  const before = await open();
  for (const id of ["a", "b", "c"]) await write(before, id);
  const backup = disk.copy();
  const other = await openReplica(2);
  await pull(before, other);
  const site = before.signer.siteId;
  const { runs } = await before.read({ site, stream: "data", first: 1, last: 3 }, 1_000_000);
  await before.close();
  disk.restore(backup);

  const rewound = await open();
  await write(rewound, "d");
  expect(entryOf(rewound, site)?.head ?? 0).toBe(0);
  const queue = createIngestQueue({ database: rewound, ed25519 });
  const bytes = runs[0] as Uint8Array;
  const known = { verdict: "known" };
  expect(await queue.ingest([{ type: "run", bytes }])).toEqual([[known, known, known]]);
  expect(entryOf(rewound, site)?.head).toBe(3);
  await rewound.offer("on");
  await pull(rewound, other);
  expect(entryOf(other, site)?.head).toBe(4);
  expect(await other.stateHash()).toBe(await rewound.stateHash());
  expect(other.counts()).toMatchObject({ held: 0, forks: [] });
  for (const database of [rewound, other]) await database.close();
});

/** Counts what SQLite reads. */
function counting(storage: Storage): {
  readonly storage: Storage;
  readonly takeBytes: () => number;
} {
  let bytes = 0;
  return {
    storage: {
      ...storage,
      openFiles: async (generation) => {
        const { database, journal } = await storage.openFiles(generation);
        const read: typeof database.read = (into, offset) => {
          bytes += into.length;
          return database.read(into, offset);
        };
        return { database: { ...database, read }, journal };
      },
    },
    takeBytes: () => {
      const taken = bytes;
      bytes = 0;
      return taken;
    },
  };
}

test("[L12] opening reads the authors, not their history", async () => {
  const { storage, takeBytes } = counting(createMemoryStorage());
  const bytesAfter = async (transactions: number): Promise<number> => {
    const db = await openReplica(1, { storage });
    for (let at = 0; at < transactions; at++) {
      await db.exec("INSERT OR REPLACE INTO animal (id, name) VALUES ('a', ?)", ["n".repeat(500)]);
    }
    await db.close();
    takeBytes();
    await (await openReplica(1, { storage, mesh: null })).close();
    return takeBytes();
  };
  const short = await bytesAfter(20);
  const long = await bytesAfter(1_000);
  // Some levels more of a few indexes; the log itself is 800 KB by then.
  expect(long).toBeLessThan(short + 100_000);
});
