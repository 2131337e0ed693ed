/** Durable at `commit()` and not before, as IndexedDB is; every commit can be made to fail. */
import { MeshError } from "../../src/protocol/errors.ts";
import { createMemoryDevice } from "../../src/db/storage-memory.ts";
import type { FileDevice, Storage } from "../../src/db/storage.ts";

export interface CommitStorage extends Storage {
  readonly failCommits: (fail: boolean) => void;
}

export const createCommitStorage = (): CommitStorage => {
  const durableByGeneration = new Map<number, Uint8Array>();
  const openByGeneration = new Map<number, FileDevice>();
  let current = 0;
  let failing = false;
  const commit = async (): Promise<void> => {
    if (failing) throw new MeshError("ERR_STORAGE_FULL", "no room");
    for (const [generation, device] of openByGeneration) {
      const whole = new Uint8Array(device.size());
      device.read(whole, 0);
      durableByGeneration.set(generation, whole);
    }
  };
  const forget = (generation: number): void => {
    durableByGeneration.delete(generation);
    openByGeneration.delete(generation);
  };
  return {
    kind: "indexeddb",
    durable: true,
    atomicity: "commit",
    generation: () => current,
    openFiles: async (generation) => {
      const database = createMemoryDevice();
      database.write(durableByGeneration.get(generation) ?? new Uint8Array(0), 0);
      openByGeneration.set(generation, database);
      return { database, journal: createMemoryDevice() };
    },
    commit,
    discard: async (generation) => forget(generation),
    switchTo: async (generation) => {
      for (const other of openByGeneration.keys()) if (other !== generation) forget(other);
      await commit();
      current = generation;
    },
    destroy: async () => durableByGeneration.clear(),
    close: async () => openByGeneration.clear(),
    failCommits: (fail) => {
      failing = fail;
    },
  };
};
