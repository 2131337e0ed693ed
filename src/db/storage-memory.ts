/**
 * Storage in memory: for tests, benchmarks and relays that need no yesterday. It outlives an engine,
 * so that an engine that trapped can be replaced, but not the process.
 *
 * @module
 */

import { createBlockFile } from "./block-file.ts";
import { assertNotCurrent, type FileDevice, type Storage, type StorageFiles } from "./storage.ts";

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
    discard: async (generation) => {
      assertNotCurrent(generation, current);
      filesByGeneration.delete(generation);
    },
    switchTo: async (generation) => {
      current = generation;
      for (const other of filesByGeneration.keys()) {
        if (other !== generation) filesByGeneration.delete(other);
      }
    },
    destroy: async () => {
      filesByGeneration.clear();
      current = 0;
    },
    close: async () => {},
  };
};

export const createMemoryDevice = (): FileDevice =>
  createBlockFile({ blockBytes: BLOCK_BYTES, size: 0, blocks: [], touched: () => {} }).device;
