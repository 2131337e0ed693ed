/**
 * Storage in the Origin Private File System, for a dedicated worker of a secure page: a directory
 * per database with `<generation>.db`, `<generation>.journal` and `current`, which names the
 * generation that counts. All access handles stay open; the one on `current` is the lock, since a
 * browser gives out one handle per file and takes it back when the worker dies.
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";
import { assertNotCurrent, type FileDevice, type Storage, type StorageFiles } from "./storage.ts";

/** A page that was just reloaded may still hold the lock for a moment. */
const LOCK_ATTEMPTS = 10;
const LOCK_RETRY_MS = 100;

const GENERATION_FILE = /^(\d+)\.(?:db|journal)$/;
const POINTER_FILE = "current";
/** `current` holds two slots, written in turn, so that a torn write leaves the other. */
const SLOT_BYTES = 16;
const SLOT_STRIDE = 4_096;

/** https://fs.spec.whatwg.org/#api-filesystemsyncaccesshandle; lib "DOM" lacks it, workers only. */
interface SyncAccessHandle {
  readonly read: (into: Uint8Array, options: { readonly at: number }) => number;
  readonly write: (from: Uint8Array, options: { readonly at: number }) => number;
  readonly truncate: (size: number) => void;
  readonly getSize: () => number;
  readonly flush: () => void;
  readonly close: () => void;
}

interface SyncFileHandle extends FileSystemFileHandle {
  readonly createSyncAccessHandle?: () => Promise<SyncAccessHandle>;
}

/** @throws ERR_STORAGE_UNAVAILABLE, ERR_STORAGE_LOCKED, ERR_STORAGE_FULL, ERR_STORAGE_LOST */
export const openOpfsStorage = async (name: string): Promise<Storage> => {
  const directoryName = `rowmesh-${name}`;
  const root = await opfsRoot();
  const directory = await attempt(async () =>
    root.getDirectoryHandle(directoryName, { create: true }),
  );
  const pointer = await lockPointer(directory, directoryName);
  try {
    const slot = attemptNow(() => readSlots(pointer));
    await attempt(async () => removeGenerations(directory, slot.generation));
    return createOpfsStorage({ root, directory, directoryName, pointer }, slot);
  } catch (error) {
    pointer.close();
    throw error;
  }
};

const opfsRoot = async (): Promise<FileSystemDirectoryHandle> => {
  // The type says it is always there; an insecure context knows better.
  const storage = navigator.storage as StorageManager | undefined;
  try {
    if (storage?.getDirectory !== undefined) return await storage.getDirectory();
  } catch (error) {
    throw new MeshError("ERR_STORAGE_UNAVAILABLE", "OPFS does not open", { cause: error });
  }
  throw new MeshError("ERR_STORAGE_UNAVAILABLE", "no OPFS here (plain http, or an old browser)");
};

const lockPointer = async (
  directory: FileSystemDirectoryHandle,
  name: string,
): Promise<SyncAccessHandle> => {
  for (let attempts = 1; ; attempts += 1) {
    try {
      return await openHandle(directory, POINTER_FILE);
    } catch (error) {
      if (!isNamed(error, "NoModificationAllowedError")) throw asStorageError(error);
      if (attempts === LOCK_ATTEMPTS) {
        throw new MeshError("ERR_STORAGE_LOCKED", `another tab has ${name} open`, { cause: error });
      }
    }
    await new Promise((resolve) => setTimeout(resolve, LOCK_RETRY_MS));
  }
};

interface Opened {
  readonly root: FileSystemDirectoryHandle;
  readonly directory: FileSystemDirectoryHandle;
  readonly directoryName: string;
  readonly pointer: SyncAccessHandle;
}

interface Slot {
  readonly sequence: number;
  readonly generation: number;
}

const createOpfsStorage = (opened: Opened, slotAtOpen: Slot): Storage => {
  const { root, directory, directoryName, pointer } = opened;
  const openByGeneration = new Map<number, StorageFiles>();
  let slot = slotAtOpen;

  const closeGeneration = (generation: number): void => {
    const files = openByGeneration.get(generation);
    openByGeneration.delete(generation);
    files?.database.close();
    files?.journal.close();
  };
  const closeAll = (): void => {
    for (const generation of openByGeneration.keys()) closeGeneration(generation);
    pointer.close();
  };
  return {
    kind: "opfs",
    durable: true,
    atomicity: "file",
    generation: () => slot.generation,
    openFiles: async (generation) => {
      closeGeneration(generation);
      const files = await attempt(async () => ({
        database: createDevice(await openHandle(directory, `${generation}.db`)),
        journal: createDevice(await openHandle(directory, `${generation}.journal`)),
      }));
      openByGeneration.set(generation, files);
      return files;
    },
    commit: async () => {},
    discard: async (generation) => {
      assertNotCurrent(generation, slot.generation);
      closeGeneration(generation);
      await attempt(async () => removeGenerations(directory, slot.generation));
    },
    switchTo: async (generation) => {
      const next = { sequence: slot.sequence + 1, generation };
      attemptNow(() => writeSlot(pointer, next));
      slot = next;
      for (const other of openByGeneration.keys()) {
        if (other !== generation) closeGeneration(other);
      }
      await attempt(async () => removeGenerations(directory, generation));
    },
    destroy: async () => {
      closeAll();
      await attempt(async () => root.removeEntry(directoryName, { recursive: true }));
    },
    close: async () => closeAll(),
  };
};

const openHandle = async (
  directory: FileSystemDirectoryHandle,
  name: string,
): Promise<SyncAccessHandle> => {
  const file: SyncFileHandle = await directory.getFileHandle(name, { create: true });
  if (file.createSyncAccessHandle === undefined) {
    const why = "no OPFS access handles here (an old browser, or not a dedicated worker)";
    throw new MeshError("ERR_STORAGE_UNAVAILABLE", why);
  }
  try {
    return await file.createSyncAccessHandle();
  } catch (error) {
    // WebKitGTK has the method on some systems, and nothing behind it.
    if (!isNamed(error, "NotSupportedError")) throw error;
    throw new MeshError("ERR_STORAGE_UNAVAILABLE", "OPFS without access handles", { cause: error });
  }
};

const createDevice = (handle: SyncAccessHandle): FileDevice => {
  let fileSize = attemptNow(() => handle.getSize());
  return {
    size: () => fileSize,
    read: (into, offset) => attemptNow(() => handle.read(into, { at: offset })),
    write: (from, offset) =>
      attemptNow(() => {
        const written = handle.write(from, { at: offset });
        fileSize = Math.max(fileSize, offset + written);
        if (written < from.length) throw new MeshError("ERR_STORAGE_FULL", "OPFS took only a part");
      }),
    truncate: (size) =>
      attemptNow(() => {
        handle.truncate(size);
        fileSize = size;
      }),
    flush: () => attemptNow(() => handle.flush()),
    close: () => handle.close(),
  };
};

/** The newest whole slot; a new storage has none. */
const readSlots = (pointer: SyncAccessHandle): Slot => {
  let newest: Slot = { sequence: 0, generation: 0 };
  for (const at of [0, SLOT_STRIDE]) {
    const words = new Uint32Array(SLOT_BYTES / 4);
    pointer.read(new Uint8Array(words.buffer), { at });
    const [sequence = 0, generation = 0, notSequence = 0, notGeneration = 0] = words;
    const isWhole = (sequence ^ notSequence) === -1 && (generation ^ notGeneration) === -1;
    if (isWhole && sequence > newest.sequence) newest = { sequence, generation };
  }
  return newest;
};

const writeSlot = (pointer: SyncAccessHandle, { sequence, generation }: Slot): void => {
  const words = Uint32Array.of(sequence, generation, ~sequence, ~generation);
  pointer.write(new Uint8Array(words.buffer), { at: (sequence % 2) * SLOT_STRIDE });
  pointer.flush();
};

/** Leftovers of an unfinished or a superseded generation. */
const removeGenerations = async (
  directory: FileSystemDirectoryHandle,
  except: number,
): Promise<void> => {
  const stale: string[] = [];
  for await (const name of directory.keys()) {
    const match = GENERATION_FILE.exec(name);
    if (match !== null && Number(match[1]) !== except) stale.push(name);
  }
  for (const name of stale) await directory.removeEntry(name);
};

const attempt = async <T>(run: () => Promise<T>): Promise<T> => {
  try {
    return await run();
  } catch (error) {
    throw asStorageError(error);
  }
};

const attemptNow = <T>(run: () => T): T => {
  try {
    return run();
  } catch (error) {
    throw asStorageError(error);
  }
};

const isNamed = (error: unknown, name: string): boolean =>
  error instanceof DOMException && error.name === name;

const asStorageError = (error: unknown): MeshError => {
  if (error instanceof MeshError) return error;
  const message = error instanceof Error ? error.message : "OPFS failed";
  const isFull = isNamed(error, "QuotaExceededError");
  return new MeshError(isFull ? "ERR_STORAGE_FULL" : "ERR_STORAGE_LOST", message, { cause: error });
};
