/**
 * Storage in IndexedDB, for pages without OPFS (plain http). SQLite works on blocks in memory; each
 * `commit()` writes the touched ones in one transaction with durability "strict". So nothing is on
 * disk before `commit()` resolves, and nothing is ever half there.
 *
 * A counter in the database, the epoch, fences: whoever opens raises it, and a tab whose epoch is
 * past finds out in its next commit and stores nothing.
 *
 * @module
 */

import { type DBSchema, type IDBPDatabase, openDB, deleteDB, unwrap } from "idb";

import { isMeshError, MeshError } from "../protocol/errors.ts";
import { type BlockFile, createBlockFile } from "./block-file.ts";
import { createMemoryDevice } from "./storage-memory.ts";
import { assertNotCurrent, type Storage, type StorageFiles } from "./storage.ts";
import { acquireTabLock, type TabLock } from "./tab-lock.ts";

/** One page: a commit writes what SQLite wrote (docs/decisions/0003-storage-and-pragmas.md). */
const BLOCK_BYTES = 4_096;

interface Schema extends DBSchema {
  /** Key: generation, index. */
  readonly blocks: { readonly key: [number, number]; readonly value: Uint8Array<ArrayBuffer> };
  /** Keys: "epoch", "generation", and for a generation's size its number. */
  readonly meta: { readonly key: string | number; readonly value: number };
}

type Database = IDBPDatabase<Schema>;

interface OpenGeneration {
  readonly file: BlockFile;
  readonly files: StorageFiles;
  readonly touched: Set<number>;
  /** As of the last batch taken. */
  savedSize: number;
}

/** What one IndexedDB transaction is to write. */
interface Batch {
  readonly puts: readonly (readonly [[number, number], Uint8Array<ArrayBuffer>])[];
  readonly sizes: readonly (readonly [number, number])[];
  readonly removals: readonly IDBKeyRange[];
  readonly switchTo: number | null;
}

/** @throws ERR_STORAGE_UNAVAILABLE, ERR_STORAGE_LOCKED, ERR_STORAGE_FULL */
export const openIndexedDbStorage = async (name: string): Promise<Storage> => {
  const databaseName = `rowmesh-${name}`;
  const lock = await acquireTabLock(databaseName);
  const connection = { lost: false };
  let database: Database;
  try {
    database = await openDB<Schema>(databaseName, 1, {
      upgrade: (upgraded) => {
        upgraded.createObjectStore("blocks");
        upgraded.createObjectStore("meta");
      },
      blocking: (_current, _blocked, event) => (event.target as IDBDatabase).close(),
      terminated: () => {
        connection.lost = true;
      },
    });
  } catch (error) {
    lock.release();
    throw new MeshError("ERR_STORAGE_UNAVAILABLE", "IndexedDB does not open", { cause: error });
  }
  try {
    const { epoch, generation } = await takeOver(database);
    return createIndexedDbStorage({ databaseName, database, lock, epoch, connection }, generation);
  } catch (error) {
    database.close();
    lock.release();
    throw asStorageError(error);
  }
};

/** Raises the epoch and removes what an unfinished generation left. */
const takeOver = async (
  database: Database,
): Promise<{ readonly epoch: number; readonly generation: number }> => {
  const transaction = database.transaction(["blocks", "meta"], "readwrite", {
    durability: "strict",
  });
  const meta = transaction.objectStore("meta");
  const epoch = ((await meta.get("epoch")) ?? 0) + 1;
  const generation = (await meta.get("generation")) ?? 0;
  await meta.put(epoch, "epoch");
  for (const range of blocksOfOthers(generation)) {
    await transaction.objectStore("blocks").delete(range);
  }
  for (const range of sizesOfOthers(generation)) await meta.delete(range);
  await transaction.done;
  return { epoch, generation };
};

interface Connection {
  readonly databaseName: string;
  readonly database: Database;
  readonly lock: TabLock;
  readonly epoch: number;
  readonly connection: { readonly lost: boolean };
}

const createIndexedDbStorage = (opened: Connection, generationAtOpen: number): Storage => {
  const { databaseName, database, lock } = opened;
  const openByGeneration = new Map<number, OpenGeneration>();
  let current = generationAtOpen;
  let fault: MeshError | null = null;
  let lastWrite: Promise<void> = Promise.resolve();

  /** Batches are written in order, and none after one that failed: a gap would corrupt. */
  const write = async (batch: Batch): Promise<void> => {
    const previous = lastWrite;
    const attempt = async (): Promise<void> => {
      await previous;
      if (fault !== null) throw fault;
      try {
        await writeBatch(opened, batch);
      } catch (error) {
        fault = asStorageError(error);
        throw fault;
      }
    };
    const written = attempt();
    lastWrite = written.catch(() => {});
    return written;
  };
  const close = (): void => {
    openByGeneration.clear();
    database.close();
    lock.release();
  };
  return {
    kind: "indexeddb",
    durable: true,
    atomicity: "commit",
    generation: () => current,
    openFiles: async (generation) => {
      await lastWrite;
      // Whoever lost the database to another tab has lost it for good.
      if (isMeshError(fault, "ERR_STORAGE_LOCKED")) throw fault;
      fault = null;
      const loaded = await loadGeneration(database, generation);
      openByGeneration.set(generation, loaded);
      return loaded.files;
    },
    commit: async () => {
      if (fault !== null) throw fault;
      const batch = takeBatch(openByGeneration, null);
      if (batch.puts.length + batch.sizes.length > 0) await write(batch);
      else await lastWrite.then(() => assertSound(fault));
    },
    discard: async (generation) => {
      assertNotCurrent(generation, current);
      openByGeneration.delete(generation);
      await write({
        puts: [],
        sizes: [[generation, 0]],
        removals: [blocksOf(generation, 0)],
        switchTo: null,
      });
    },
    switchTo: async (generation) => {
      for (const other of openByGeneration.keys()) {
        if (other !== generation) openByGeneration.delete(other);
      }
      await write(takeBatch(openByGeneration, generation));
      current = generation;
    },
    destroy: async () => {
      await lastWrite;
      database.close();
      await deleteDB(databaseName);
      close();
    },
    close: async () => {
      await lastWrite;
      close();
    },
  };
};

const assertSound = (fault: MeshError | null): void => {
  if (fault !== null) throw fault;
};

const loadGeneration = async (database: Database, generation: number): Promise<OpenGeneration> => {
  const range = blocksOf(generation, 0);
  const transaction = database.transaction(["blocks", "meta"]);
  const [keys, values, size] = await Promise.all([
    transaction.objectStore("blocks").getAllKeys(range),
    transaction.objectStore("blocks").getAll(range),
    transaction.objectStore("meta").get(generation),
  ]).catch((error: unknown) => {
    throw asStorageError(error);
  });
  const blocks: (Uint8Array<ArrayBuffer> | undefined)[] = [];
  for (const [at, [, index]] of keys.entries()) blocks[index] = values[at];
  const touched = new Set<number>();
  const file = createBlockFile({
    blockBytes: BLOCK_BYTES,
    size: size ?? 0,
    blocks,
    touched: (block) => touched.add(block),
  });
  // The journal is never needed after a crash: what is stored is always between transactions.
  const files = { database: file.device, journal: createMemoryDevice() };
  return { file, files, touched, savedSize: size ?? 0 };
};

/** Copies what changed since the last batch: SQLite may go on at once. */
const takeBatch = (
  openByGeneration: ReadonlyMap<number, OpenGeneration>,
  switchTo: number | null,
): Batch => {
  const puts: [[number, number], Uint8Array<ArrayBuffer>][] = [];
  const sizes: [number, number][] = [];
  const removals: IDBKeyRange[] = [];
  for (const [generation, open] of openByGeneration) {
    for (const index of open.touched) {
      const block = open.file.block(index);
      if (block !== null) puts.push([[generation, index], block.slice()]);
    }
    open.touched.clear();
    const size = open.files.database.size();
    if (size < open.savedSize) {
      const blocks = Math.ceil(size / BLOCK_BYTES);
      removals.push(blocksOf(generation, blocks));
    }
    if (size !== open.savedSize) sizes.push([generation, size]);
    open.savedSize = size;
  }
  return { puts, sizes, removals, switchTo };
};

const writeBatch = async (opened: Connection, batch: Batch): Promise<void> => {
  if (opened.connection.lost)
    throw new MeshError("ERR_STORAGE_LOST", "the browser closed IndexedDB");
  const transaction = opened.database.transaction(["blocks", "meta"], "readwrite", {
    durability: "strict",
  });
  // Plain requests: of a transaction that aborts, only `done` is to reject.
  const blocks = unwrap(transaction.objectStore("blocks"));
  const meta = unwrap(transaction.objectStore("meta"));
  let isFenced = false;
  const fence = meta.get("epoch");
  fence.addEventListener("success", () => {
    if (fence.result === opened.epoch) return;
    isFenced = true;
    unwrap(transaction).abort();
  });
  for (const range of batch.removals) blocks.delete(range);
  if (batch.switchTo !== null) {
    for (const range of blocksOfOthers(batch.switchTo)) blocks.delete(range);
    for (const range of sizesOfOthers(batch.switchTo)) meta.delete(range);
  }
  for (const [key, block] of batch.puts) blocks.put(block, key);
  for (const [generation, size] of batch.sizes) meta.put(size, generation);
  if (batch.switchTo !== null) meta.put(batch.switchTo, "generation");
  try {
    await transaction.done;
  } catch (error) {
    if (isFenced) throw new MeshError("ERR_STORAGE_LOCKED", "another tab took the database over");
    throw error;
  }
};

const blocksOf = (generation: number, first: number): IDBKeyRange =>
  IDBKeyRange.bound([generation, first], [generation, Infinity]);

const blocksOfOthers = (generation: number): IDBKeyRange[] => [
  IDBKeyRange.upperBound([generation, 0], true),
  IDBKeyRange.lowerBound([generation, Infinity], true),
];

/** Numbers only: IndexedDB sorts the keys that are text behind them. */
const sizesOfOthers = (generation: number): IDBKeyRange[] => [
  IDBKeyRange.upperBound(generation, true),
  IDBKeyRange.bound(generation, Infinity, true),
];

const asStorageError = (error: unknown): MeshError => {
  if (error instanceof MeshError) return error;
  const isFull = error instanceof DOMException && error.name === "QuotaExceededError";
  const message = error instanceof Error ? error.message : "IndexedDB failed";
  return new MeshError(isFull ? "ERR_STORAGE_FULL" : "ERR_STORAGE_LOST", message, { cause: error });
};
