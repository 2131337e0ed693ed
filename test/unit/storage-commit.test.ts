/** Storage that is durable only by commit(), as IndexedDB is: when it refuses, nothing has happened. */
import { expect, test } from "vitest";
import type { DatabaseChange } from "../../src/db/replica-database.ts";
import type { FileDevice, Storage, StorageFiles } from "../../src/db/storage.ts";
import { createMemoryDevice } from "../../src/db/storage-memory.ts";
import { MeshError } from "../../src/protocol/errors.ts";
import { randomTransaction } from "../../src/testing/random-work.ts";
import { changesetsOf, entryOf, INVITE, MESH, openReplica, pull } from "../fixtures/replicas.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";

const contentOf = (device: FileDevice): Uint8Array => {
  const bytes = new Uint8Array(device.size());
  device.read(bytes, 0);
  return bytes;
};
const deviceOf = (content: Uint8Array): FileDevice => {
  const device = createMemoryDevice();
  if (content.length > 0) device.write(content, 0);
  return device;
};

interface CommitStorage {
  readonly storage: Storage;
  /** The next so many commits are refused. */
  readonly refuse: (count: number) => void;
}

function createCommitStorage(): CommitStorage {
  let current = 0;
  let refusals = 0;
  const committed = new Map<number, readonly [Uint8Array, Uint8Array]>();
  const open = new Map<number, StorageFiles>();
  const storage: Storage = {
    kind: "memory",
    durable: true,
    atomicity: "commit",
    generation: () => current,
    openFiles: async (generation) => {
      const [database, journal] = committed.get(generation) ?? [new Uint8Array(), new Uint8Array()];
      const files = { database: deviceOf(database), journal: deviceOf(journal) };
      open.set(generation, files);
      return files;
    },
    commit: async () => {
      if (refusals-- > 0) throw new MeshError("ERR_STORAGE_FULL", "refused");
      for (const [generation, { database, journal }] of open) {
        committed.set(generation, [contentOf(database), contentOf(journal)]);
      }
    },
    discard: async (generation) => void committed.delete(generation),
    switchTo: async (generation) => {
      current = generation;
    },
    destroy: async () => {},
    close: async () => {},
  };
  return {
    storage,
    refuse: (count) => {
      refusals = count;
    },
  };
}

const FULL = { code: "ERR_STORAGE_FULL" };

test("[L1] a refused commit leaves neither rows nor changeset, and nobody hears of it", async () => {
  const { storage, refuse } = createCommitStorage();
  const a = await openReplica(1, { storage });
  const b = await openReplica(2);
  const changes: DatabaseChange[] = [];
  a.onChange((change) => changes.push(change));
  await a.exec("INSERT INTO animal (id) VALUES ('kept')");
  const hash = await a.stateHash();
  const vector = a.vector();
  expect(changes.length).toBe(1);
  refuse(1);
  await expect(a.exec("INSERT INTO animal (id) VALUES ('lost')")).rejects.toMatchObject(FULL);
  expect(await a.stateHash()).toBe(hash);
  expect(a.vector()).toEqual(vector);
  expect(changes.length).toBe(1);
  await a.exec("INSERT INTO animal (id) VALUES ('next')");
  await pull(a, b);
  expect(await b.query("SELECT id FROM animal ORDER BY id")).toEqual([
    { id: "kept" },
    { id: "next" },
  ]);
  expect(b.counts().forks).toEqual([]);
  await a.close();
  await b.close();
});

test("[L2] a refused commit acknowledges nothing; the same changesets are taken later", async () => {
  const { storage, refuse } = createCommitStorage();
  const a = await openReplica(1, { storage });
  const b = await openReplica(2);
  await b.exec("INSERT INTO animal (id) VALUES ('x')");
  const changesets = await changesetsOf(b, b.signer.siteId);
  refuse(1);
  await expect(a.append(changesets)).rejects.toMatchObject(FULL);
  expect(a.vector()).toEqual([]);
  expect(a.authorOf(b.signer.siteId)).toBeNull();
  expect(await a.append(changesets)).toEqual([{ verdict: "applied" }]);
  expect(await a.stateHash()).toBe(await b.stateHash());
  await a.close();
  await b.close();
});

test("[L5] a refused commit releases nothing", async () => {
  const { storage, refuse } = createCommitStorage();
  const a = await openReplica(1, { storage, mesh: null });
  const site = a.signer.siteId;
  await a.exec("INSERT INTO animal (id) VALUES ('x')");
  refuse(1);
  await expect(a.bindMesh(MESH, INVITE)).rejects.toMatchObject(FULL);
  expect(a.mesh()).toBeNull();
  await a.bindMesh(MESH, INVITE);
  refuse(1);
  await expect(a.offer("on")).rejects.toMatchObject(FULL);
  expect(entryOf(a, site)).toBeUndefined();
  refuse(1);
  const range = { site, stream: "data", first: 1, last: 1 } as const;
  await expect(a.read(range, 1_000)).rejects.toMatchObject(FULL);
  expect(entryOf(a, site)).toBeUndefined();
  await a.offer("on");
  expect(entryOf(a, site)?.head).toBe(1);
  await a.close();
});

test("[M7] a refused commit leaves the tables as they were before the rebuild", async () => {
  const { storage, refuse } = createCommitStorage();
  const random = createSeededRandom(1);
  const a = await openReplica(1, { storage });
  for (let step = 0; step < 20; step++) await randomTransaction(a, random);
  const hash = await a.stateHash();
  for (const refusals of [1, 2, 1]) {
    refuse(refusals);
    await expect(a.rebuild()).rejects.toMatchObject(FULL);
    refuse(0);
    expect(await a.stateHash()).toBe(hash);
  }
  await a.rebuild();
  expect(await a.stateHash()).toBe(hash);
  expect(storage.generation()).toBe(1);
  await a.close();
});
