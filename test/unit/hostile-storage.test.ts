/** Storage that fails at the worst moment, and again while the engine is being replaced. */
import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { openDirectoryStorage } from "../../src/db/storage-directory.ts";
import type { FileDevice, Storage } from "../../src/db/storage.ts";
import { MeshError } from "../../src/protocol/errors.ts";
import { entryOf, openReplica, pull } from "../fixtures/replicas.ts";
import { createCommitStorage } from "./commit-storage.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

/** As {@link createCommitStorage}; opening can be made to fail as well. */
function createFailingStorage() {
  const storage = createCommitStorage();
  let opensToFail = 0;
  const failing: Storage = {
    ...storage,
    openFiles: async (generation) => {
      if (opensToFail-- > 0) throw new MeshError("ERR_STORAGE_LOST", "not now");
      return storage.openFiles(generation);
    },
  };
  const failOnce = (opens: number): void => {
    storage.failCommits(true);
    opensToFail = opens;
  };
  return { storage: failing, failOnce, heal: () => storage.failCommits(false) };
}

test("[L1] a commit that fails, and then the reopening, leave no trace in memory either", async () => {
  const { storage, failOnce, heal } = createFailingStorage();
  const writer = await openReplica(1, { storage });
  await writer.exec("INSERT INTO animal (id) VALUES ('a')");
  failOnce(1);
  await expect(writer.exec("INSERT INTO animal (id) VALUES ('lost')")).rejects.toThrow(
    /ERR_STORAGE_/,
  );
  heal();
  await writer.exec("INSERT INTO animal (id) VALUES ('b')");
  expect(entryOf(writer, writer.signer.siteId)?.head).toBe(2);

  const reader = await openReplica(2);
  await pull(writer, reader);
  expect(await reader.query("SELECT id FROM animal ORDER BY id")).toEqual([
    { id: "a" },
    { id: "b" },
  ]);
  expect(await reader.stateHash()).toBe(await writer.stateHash());
  await reader.close();
  await writer.close();
});

test("[L2] what was received when that happened is asked for again, and merged", async () => {
  const writer = await openReplica(1);
  await writer.exec("INSERT INTO animal (id) VALUES ('a')");
  const { storage, failOnce, heal } = createFailingStorage();
  const reader = await openReplica(2, { storage });
  failOnce(1);
  await expect(pull(writer, reader)).rejects.toThrow(/ERR_STORAGE_/);
  heal();
  expect(await reader.query("SELECT id FROM animal")).toEqual([]);
  expect(entryOf(reader, writer.signer.siteId)).toBeUndefined();
  await pull(writer, reader);
  expect(await reader.query("SELECT id FROM animal")).toEqual([{ id: "a" }]);
  await reader.close();
  await writer.close();
});

test("[L5] a release that could not be kept is no release", async () => {
  const { storage, failOnce, heal } = createFailingStorage();
  const writer = await openReplica(1, { storage });
  await writer.offer("off");
  await writer.exec("INSERT INTO animal (id) VALUES ('a')");
  failOnce(1);
  await expect(writer.offer("on")).rejects.toThrow(/ERR_STORAGE_/);
  heal();
  expect(await writer.query("SELECT id FROM animal")).toEqual([{ id: "a" }]);
  expect(entryOf(writer, writer.signer.siteId)).toBeUndefined();
  await writer.offer("on");
  expect(entryOf(writer, writer.signer.siteId)?.head).toBe(1);
  await writer.close();
});

test("[M7] a rebuild that runs out of room takes its files away again", async () => {
  const directory = temporaryDirectory();
  const storage = await openDirectoryStorage(directory);
  let room = Number.POSITIVE_INFINITY;
  const small: Storage = {
    ...storage,
    openFiles: async (generation) => {
      const files = await storage.openFiles(generation);
      const limited = (device: FileDevice): FileDevice => ({
        ...device,
        write: (from, offset) => {
          if (generation > 0 && (room -= from.length) < 0) {
            throw new MeshError("ERR_STORAGE_FULL", "no room");
          }
          device.write(from, offset);
        },
      });
      return { database: limited(files.database), journal: limited(files.journal) };
    },
  };
  const replica = await openReplica(1, { storage: small });
  await replica.exec("INSERT INTO animal (id, photo) VALUES ('a', ?)", [new Uint8Array(100_000)]);
  const hash = await replica.stateHash();
  for (const bytes of [0, 5_000, 100_000, 300_000]) {
    room = bytes;
    await expect(replica.rebuild()).rejects.toMatchObject({ code: "ERR_STORAGE_FULL" });
    expect(readdirSync(directory).filter((name) => name.startsWith("rowmesh-1"))).toEqual([]);
  }
  room = Number.POSITIVE_INFINITY;
  await replica.rebuild();
  expect(await replica.stateHash()).toBe(hash);
  await replica.close();
});
