/**
 * SQLite's view of a {@link StorageFiles}: one database and its journal, nothing else. Exceptions of
 * a device never cross the WebAssembly (its stack would stay unbalanced): they become result codes,
 * and the engine is told of the fault.
 *
 * @module
 */

import { isMeshError } from "../protocol/errors.ts";
import {
  SQLITE_CANTOPEN,
  SQLITE_FULL,
  SQLITE_IOERR,
  SQLITE_NOTFOUND,
  SQLITE_OK,
} from "./sqlite-error.ts";
import type { Pointer, SqliteVfs } from "./sqlite-wasm.ts";
import type { FileDevice, StorageFiles } from "./storage.ts";
import { isWal } from "./wal-recovery.ts";

/** https://sqlite.org/c3ref/c_ioerr_access.html */
const SQLITE_IOERR_SHORT_READ = 522;
const SQLITE_OPEN_MAIN_DB = 0x100;
/**
 * https://sqlite.org/c3ref/c_iocap_atomic.html: a file can only be deleted when it is closed, and a
 * write never harms bytes beside it (devices write byte ranges).
 */
const DEVICE_CHARACTERISTICS = 0x800 | 0x1000;
const SECTOR_BYTES = 4096;

export const DATABASE_NAME = "db";
const JOURNAL_NAME = `${DATABASE_NAME}-journal`;
const WAL_NAME = `${DATABASE_NAME}-wal`;

/** @param onFault what a device threw */
export const createVfs = (
  name: string,
  files: StorageFiles,
  onFault: (fault: unknown) => void,
): SqliteVfs => {
  const attempt = (run: () => number): number => {
    try {
      return run();
    } catch (error) {
      onFault(error);
      return isMeshError(error, "ERR_STORAGE_FULL") ? SQLITE_FULL : SQLITE_IOERR;
    }
  };
  const deviceByFile = new Map<Pointer, FileDevice>();
  return {
    name,
    ...createNameMethods(files, deviceByFile, attempt),
    ...createFileMethods(deviceByFile, attempt),
  };
};

type Attempt = (run: () => number) => number;

const createNameMethods = (
  files: StorageFiles,
  deviceByFile: Map<Pointer, FileDevice>,
  attempt: Attempt,
): Pick<SqliteVfs, "xOpen" | "xDelete" | "xAccess"> => {
  const deviceNamed = (path: string | null): FileDevice | null => {
    if (path === DATABASE_NAME) return files.database;
    // SQLite uses the two names of the journal by turns, never both at once.
    if (path === JOURNAL_NAME || path === WAL_NAME) return files.journal;
    return null;
  };
  return {
    xOpen: (path, file, flags, outFlags) => {
      const device = deviceNamed(path);
      // Temporary files, ATTACH and VACUUM INTO have no place here.
      if (device === null || (path === DATABASE_NAME) !== ((flags & SQLITE_OPEN_MAIN_DB) !== 0)) {
        return SQLITE_CANTOPEN;
      }
      deviceByFile.set(file, device);
      outFlags.setInt32(0, flags, true);
      return SQLITE_OK;
    },
    // Deleting a journal commits. Were it not flushed, writes of the next transaction could reach the
    // disk before it, into a journal that is still the old one.
    xDelete: (path) =>
      attempt(() => {
        const device = deviceNamed(path);
        device?.truncate(0);
        device?.flush();
        return SQLITE_OK;
      }),
    // An emptied file counts as deleted; of the journal's two names only one is true.
    xAccess: (path, _flags, outExists) =>
      attempt(() => {
        const device = deviceNamed(path);
        const exists =
          device !== null && device.size() > 0 && (path === WAL_NAME) === isWal(device);
        outExists.setInt32(0, exists ? 1 : 0, true);
        return SQLITE_OK;
      }),
  };
};

const createFileMethods = (
  deviceByFile: Map<Pointer, FileDevice>,
  attempt: Attempt,
): Omit<SqliteVfs, "name" | "xOpen" | "xDelete" | "xAccess"> => {
  const onDevice = (file: Pointer, run: (device: FileDevice) => number): number => {
    const device = deviceByFile.get(file);
    return device === undefined ? SQLITE_IOERR : attempt(() => run(device));
  };
  return {
    // The storage owns the devices: an engine that trapped must not take them along.
    xClose: (file) => {
      deviceByFile.delete(file);
      return SQLITE_OK;
    },
    xRead: (file, into, offset) =>
      onDevice(file, (device) => {
        const length = device.read(into, offset);
        if (length === into.length) return SQLITE_OK;
        into.fill(0, length);
        return SQLITE_IOERR_SHORT_READ;
      }),
    xWrite: (file, from, offset) =>
      onDevice(file, (device) => {
        device.write(from, offset);
        return SQLITE_OK;
      }),
    xTruncate: (file, size) =>
      onDevice(file, (device) => {
        device.truncate(size);
        return SQLITE_OK;
      }),
    xSync: (file) =>
      onDevice(file, (device) => {
        device.flush();
        return SQLITE_OK;
      }),
    xFileSize: (file, outSize) =>
      onDevice(file, (device) => {
        outSize.setBigInt64(0, BigInt(device.size()), true);
        return SQLITE_OK;
      }),
    // The storage itself is exclusive.
    xLock: () => SQLITE_OK,
    xUnlock: () => SQLITE_OK,
    xCheckReservedLock: (_file, outHeld) => {
      outHeld.setInt32(0, 0, true);
      return SQLITE_OK;
    },
    xFileControl: () => SQLITE_NOTFOUND,
    xSectorSize: () => SECTOR_BYTES,
    xDeviceCharacteristics: () => DEVICE_CHARACTERISTICS,
  };
};
