/**
 * Storage in memory: for tests, benchmarks and relays that need no yesterday. It outlives an engine,
 * so that an engine that trapped can be replaced, but not the process.
 *
 * @module
 */

import type { FileDevice, Storage, StorageFiles } from "./storage.ts";

/** Small databases stay small: hundreds live side by side in the simulator. */
const BLOCK_BYTES = 16_384;

export const createMemoryStorage = (): Storage => {
  const filesByGeneration = new Map<number, StorageFiles>();
  let current = 0;
  return {
    kind: "memory",
    durable: false,
    atomicity: "file",
    generation: () => current,
    openFiles: async (generation) => {
      const files = filesByGeneration.get(generation) ?? {
        database: createMemoryDevice(),
        journal: createMemoryDevice(),
      };
      filesByGeneration.set(generation, files);
      return files;
    },
    commit: async () => {},
    switchTo: async (generation) => {
      current = generation;
      for (const other of filesByGeneration.keys()) {
        if (other !== generation) filesByGeneration.delete(other);
      }
    },
    destroy: async () => filesByGeneration.clear(),
    close: async () => {},
  };
};

/** A file as a list of blocks: growing never copies. */
export const createMemoryDevice = (): FileDevice => {
  const blocks: Uint8Array[] = [];
  let fileSize = 0;
  return {
    size: () => fileSize,
    read: (into, offset) => {
      const length = Math.max(0, Math.min(into.length, fileSize - offset));
      for (let done = 0; done < length;) {
        const at = offset + done;
        const start = at % BLOCK_BYTES;
        const take = Math.min(length - done, BLOCK_BYTES - start);
        const block = blocks[(at - start) / BLOCK_BYTES];
        if (block === undefined) into.fill(0, done, done + take);
        else into.set(block.subarray(start, start + take), done);
        done += take;
      }
      return length;
    },
    write: (from, offset) => {
      for (let done = 0; done < from.length;) {
        const at = offset + done;
        const start = at % BLOCK_BYTES;
        const take = Math.min(from.length - done, BLOCK_BYTES - start);
        const block = (blocks[(at - start) / BLOCK_BYTES] ??= new Uint8Array(BLOCK_BYTES));
        block.set(take === from.length ? from : from.subarray(done, done + take), start);
        done += take;
      }
      fileSize = Math.max(fileSize, offset + from.length);
    },
    truncate: (size) => {
      blocks.length = Math.min(blocks.length, Math.ceil(size / BLOCK_BYTES));
      // Bytes cut off must read as zero if the file grows again.
      const last = blocks[(size - (size % BLOCK_BYTES)) / BLOCK_BYTES];
      if (last !== undefined) last.fill(0, size % BLOCK_BYTES);
      fileSize = size;
    },
    flush: () => {},
    close: () => {},
  };
};
