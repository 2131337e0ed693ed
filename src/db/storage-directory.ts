/**
 * Storage in a directory, for Node: `rowmesh-<generation>.db`, its `.journal`, and `rowmesh-current`
 * with the number of the generation that counts (absent: 0). One process at a time.
 *
 * @module
 */

import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

import { MeshError } from "../protocol/errors.ts";
import { acquireProcessLock } from "./process-lock.ts";
import { assertNotCurrent, type FileDevice, type Storage, type StorageFiles } from "./storage.ts";

const GENERATION_FILE = /^rowmesh-(\d+)\.(?:db|journal)$/;
const POINTER_FILE = "rowmesh-current";
const POINTER_FILE_NEW = "rowmesh-current.new";

/** @throws ERR_STORAGE_LOCKED, ERR_STORAGE_FULL, ERR_STORAGE_LOST, ERR_DATABASE_CORRUPT */
export const openDirectoryStorage = async (directory: string): Promise<Storage> => {
  attempt(() => mkdirSync(directory, { recursive: true }));
  const root = attempt(() => realpathSync(directory));
  const lock = await acquireProcessLock(root);
  try {
    const current = attempt(() => readPointer(root));
    attempt(() => removeGenerations(root, current));
    return createDirectoryStorage(root, current, lock.release);
  } catch (error) {
    await lock.release();
    throw error;
  }
};

const createDirectoryStorage = (
  root: string,
  currentAtOpen: number,
  releaseLock: () => Promise<void>,
): Storage => {
  let current = currentAtOpen;
  const openByGeneration = new Map<number, StorageFiles>();

  const closeGeneration = (generation: number): void => {
    const files = openByGeneration.get(generation);
    openByGeneration.delete(generation);
    files?.database.close();
    files?.journal.close();
  };
  const closeAll = (): void => {
    for (const generation of openByGeneration.keys()) closeGeneration(generation);
  };
  return {
    kind: "directory",
    durable: true,
    atomicity: "file",
    generation: () => current,
    openFiles: async (generation) => {
      closeGeneration(generation);
      const files = attempt(() => ({
        database: openFileDevice(join(root, `rowmesh-${generation}.db`)),
        journal: openFileDevice(join(root, `rowmesh-${generation}.journal`)),
      }));
      openByGeneration.set(generation, files);
      // The names must survive a loss of power as the contents do.
      attempt(() => syncDirectory(root));
      return files;
    },
    commit: async () => {},
    discard: async (generation) => {
      assertNotCurrent(generation, current);
      closeGeneration(generation);
      for (const ending of ["db", "journal"]) {
        attempt(() => rmSync(join(root, `rowmesh-${generation}.${ending}`), { force: true }));
      }
    },
    switchTo: async (generation) => {
      attempt(() => writePointer(root, generation));
      current = generation;
      for (const other of openByGeneration.keys()) {
        if (other !== generation) closeGeneration(other);
      }
      attempt(() => removeGenerations(root, generation));
    },
    destroy: async () => {
      closeAll();
      attempt(() => {
        removeGenerations(root, null);
        rmSync(join(root, POINTER_FILE), { force: true });
        syncDirectory(root);
      });
      await releaseLock();
    },
    close: async () => {
      closeAll();
      await releaseLock();
    },
  };
};

const readPointer = (root: string): number => {
  let text: string;
  try {
    text = readFileSync(join(root, POINTER_FILE), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return 0;
    throw error;
  }
  if (!/^\d{1,15}\n$/.test(text)) {
    throw new MeshError("ERR_DATABASE_CORRUPT", `${join(root, POINTER_FILE)} holds no number`);
  }
  return Number(text);
};

/** Atomic: the old number or the new one, never half of it. */
const writePointer = (root: string, generation: number): void => {
  const next = join(root, POINTER_FILE_NEW);
  const file = openSync(next, "w");
  try {
    writeFileSync(file, `${generation}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(next, join(root, POINTER_FILE));
  syncDirectory(root);
};

/** Leftovers of an unfinished or a superseded generation. */
const removeGenerations = (root: string, except: number | null): void => {
  for (const name of readdirSync(root)) {
    const match = GENERATION_FILE.exec(name);
    const stale = match !== null && Number(match[1]) !== except;
    if (stale || name === POINTER_FILE_NEW) rmSync(join(root, name));
  }
};

const syncDirectory = (root: string): void => {
  // Windows cannot open a directory; NTFS journals names by itself.
  if (process.platform === "win32") return;
  const file = openSync(root, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
};

const openFileDevice = (path: string): FileDevice => {
  const file = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  let fileSize = fstatSync(file).size;
  let open = true;
  return {
    size: () => fileSize,
    read: (into, offset) =>
      attempt(() => {
        let done = 0;
        while (done < into.length) {
          const read = readSync(file, into, done, into.length - done, offset + done);
          if (read === 0) break;
          done += read;
        }
        return done;
      }),
    write: (from, offset) =>
      attempt(() => {
        for (let done = 0; done < from.length;) {
          done += writeSync(file, from, done, from.length - done, offset + done);
          // Also when the next part fails: what is on disk counts.
          fileSize = Math.max(fileSize, offset + done);
        }
      }),
    truncate: (size) =>
      attempt(() => {
        ftruncateSync(file, size);
        fileSize = size;
      }),
    flush: () =>
      attempt(() => {
        fdatasyncSync(file);
        // Writing to a deleted file succeeds until the process ends, and then all of it is gone.
        if (fstatSync(file).nlink === 0)
          throw new MeshError("ERR_STORAGE_LOST", `${path} was deleted`);
      }),
    close: () => {
      if (open) closeSync(file);
      open = false;
    },
  };
};

const attempt = <T>(run: () => T): T => {
  try {
    return run();
  } catch (error) {
    if (error instanceof MeshError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const isFull = code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG";
    throw new MeshError(isFull ? "ERR_STORAGE_FULL" : "ERR_STORAGE_LOST", message, {
      cause: error,
    });
  }
};
