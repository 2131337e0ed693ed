/**
 * A disk that can lose power, run full and fail, as one more {@link Storage}. What was not flushed
 * when the power went is there in any mixture: per write, per 512-byte sector. Or one that behaves as
 * IndexedDB does: what was written is there with the next commit, all of it, or not at all.
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";
import { createMemoryDevice } from "../db/storage-memory.ts";
import { assertNotCurrent, type FileDevice, type Storage } from "../db/storage.ts";
import type { Life } from "./life.ts";

const SECTOR_BYTES = 512;

export interface SimulatedDisk {
  /** Used by one process that never dies by itself; see {@link SimulatedDisk.losePowerAfter}. */
  readonly storage: Storage;
  /** Used by a device for one life: every write, truncate, flush and call is a step of it. */
  readonly attach: (life: Life) => Storage;
  /** The power goes and comes back: what was flushed is there, of the rest a part. */
  readonly losePower: () => void;
  /** The power goes during this many more writes, truncates or flushes from now; null: not. */
  readonly losePowerAfter: (operations: number | null) => void;
  readonly hasLostPower: () => boolean;
  /** Room for this many more bytes; null: plenty. */
  readonly setFree: (bytes: number | null) => void;
  /** So many percent of writes and flushes fail with ERR_STORAGE_LOST, and do nothing. */
  readonly setFailing: (percent: number) => void;
  readonly flushes: () => number;
  /** All its files as they are seen now: a backup. */
  readonly copy: () => DiskImage;
  /** Replaces everything: a backup put back, a profile copied. Only while nothing uses the disk. */
  readonly restore: (image: DiskImage) => void;
}

/** The bytes of every file, by generation. */
export interface DiskImage {
  readonly generation: number;
  readonly files: ReadonlyMap<number, readonly [database: Uint8Array, journal: Uint8Array]>;
}

type Operation =
  | { readonly type: "write"; readonly from: Uint8Array; readonly offset: number }
  | { readonly type: "truncate"; readonly size: number };

interface Conditions {
  readonly below: (bound: number) => number;
  free: number | null;
  failingPercent: number;
  flushes: number;
}

/**
 * @param below a uniform integer in [0, bound)
 * @param atomicity as of a {@link Storage}
 */
export function createSimulatedDisk(
  below: (bound: number) => number,
  atomicity: Storage["atomicity"] = "file",
): SimulatedDisk {
  const conditions: Conditions = { below, free: null, failingPercent: 0, flushes: 0 };
  const generations = new Map<number, readonly [DiskFile, DiskFile]>();
  let current = 0;
  let operationsLeft: number | null = null;
  let fault: unknown = null;
  let lost = false;

  const spend = (): void => {
    if (lost) throw new MeshError("ERR_STORAGE_LOST", "no power");
    if (operationsLeft === null) return;
    operationsLeft -= 1;
    if (operationsLeft >= 0) return;
    lost = true;
    throw new MeshError("ERR_STORAGE_LOST", "the power went");
  };
  const filesOf = (generation: number): readonly [DiskFile, DiskFile] => {
    const files = generations.get(generation) ?? [
      createDiskFile(conditions, atomicity),
      createDiskFile(conditions, atomicity),
    ];
    generations.set(generation, files);
    return files;
  };
  const all = (): readonly DiskFile[] => [...generations.values()].flat();
  /** What is pending in all databases, at once. After one that failed none, before files are opened. */
  const commit = (): void => {
    if (atomicity === "file") return;
    if (fault !== null) throw fault;
    const databases = [...generations.values()].map(([database]) => database);
    try {
      for (const database of databases) database.assertWritable();
    } catch (error) {
      fault = error;
      throw error;
    }
    for (const database of databases) database.settle();
  };
  /** What is durable, for one life; where only commits are, the journal is never needed after one. */
  const openFiles = (generation: number): readonly [DiskFile, DiskFile] => {
    const files = filesOf(generation);
    if (atomicity === "file") return files;
    fault = null;
    const [database] = files;
    database.forget();
    const fresh = [database, createDiskFile(conditions, atomicity)] as const;
    generations.set(generation, fresh);
    return fresh;
  };
  const attach = (
    step: () => void,
    through: <T>(work: () => Promise<T>) => Promise<T>,
  ): Storage => ({
    kind: "memory",
    durable: true,
    atomicity,
    generation: () => current,
    openFiles: (generation) =>
      through(async () => {
        const [database, journal] = openFiles(generation);
        return { database: database.attach(step), journal: journal.attach(step) };
      }),
    commit: () => through(async () => commit()),
    discard: (generation) =>
      through(async () => {
        assertNotCurrent(generation, current);
        generations.delete(generation);
      }),
    switchTo: (generation) =>
      through(async () => {
        commit();
        current = generation;
        for (const other of generations.keys()) if (other !== generation) generations.delete(other);
      }),
    destroy: () =>
      through(async () => {
        generations.clear();
        current = 0;
      }),
    close: async () => {},
  });

  return {
    storage: attach(spend, (work) => work()),
    attach: (life) => attach(life.step, life.through),
    losePower: () => {
      for (const file of all()) file.losePower();
      lost = false;
      operationsLeft = null;
    },
    losePowerAfter: (operations) => {
      operationsLeft = operations;
    },
    hasLostPower: () => lost,
    setFree: (bytes) => {
      conditions.free = bytes;
    },
    setFailing: (percent) => {
      conditions.failingPercent = percent;
    },
    flushes: () => conditions.flushes,
    copy: () => ({
      generation: current,
      files: new Map(
        [...generations].map(([generation, [database, journal]]) => [
          generation,
          [database.whole(), journal.whole()],
        ]),
      ),
    }),
    restore: (image) => {
      generations.clear();
      current = image.generation;
      for (const [generation, [database, journal]] of image.files) {
        const files = filesOf(generation);
        files[0].fill(database);
        files[1].fill(journal);
      }
    },
  };
}

/** One file: what is flushed, what is seen, and the operations between the two. */
interface DiskFile {
  readonly attach: (step: () => void) => FileDevice;
  readonly losePower: () => void;
  /** @throws MeshError when what is pending cannot be made durable */
  readonly assertWritable: () => void;
  /** What is pending is durable. */
  readonly settle: () => void;
  /** What is pending never was. */
  readonly forget: () => void;
  readonly whole: () => Uint8Array;
  readonly fill: (bytes: Uint8Array) => void;
}

function createDiskFile(conditions: Conditions, atomicity: Storage["atomicity"]): DiskFile {
  const { below } = conditions;
  let platter = createMemoryDevice();
  let seen = createMemoryDevice();
  let pending: Operation[] = [];

  const note = (operation: Operation): void => {
    pending.push(operation);
    apply(seen, operation);
  };
  const assertWorks = (): void => {
    const { failingPercent } = conditions;
    if (failingPercent > 0 && below(100) < failingPercent) {
      throw new MeshError("ERR_STORAGE_LOST", "the disk failed");
    }
  };
  const assertRoom = (grows: number): void => {
    if (conditions.free === null) return;
    if (grows > conditions.free) throw new MeshError("ERR_STORAGE_FULL", "disk full");
    conditions.free -= grows;
  };
  const settle = (): void => {
    for (const operation of pending) apply(platter, operation);
    pending = [];
  };
  const forget = (): void => {
    pending = [];
    seen = createMemoryDevice();
    seen.write(wholeOf(platter), 0);
  };
  return {
    attach: (step) => ({
      size: () => seen.size(),
      read: (into, offset) => seen.read(into, offset),
      write: (from, offset) => {
        if (atomicity === "file") {
          assertWorks();
          assertRoom(Math.max(0, offset + from.length - seen.size()));
        }
        note({ type: "write", from: from.slice(), offset });
        step();
      },
      truncate: (size) => {
        note({ type: "truncate", size });
        step();
      },
      flush: () => {
        if (atomicity === "commit") return;
        step();
        assertWorks();
        conditions.flushes += 1;
        settle();
      },
      close: () => {},
    }),
    assertWritable: () => {
      if (pending.length === 0) return;
      assertWorks();
      assertRoom(Math.max(0, seen.size() - platter.size()));
    },
    settle,
    forget,
    losePower: () => {
      if (atomicity === "commit") return forget();
      // From "half of it" to "nearly all": the worst is a commit that looks whole and is not.
      const lostIn = [2, 8, 32][below(3)] as number;
      for (const operation of pending) {
        for (const part of sectors(operation)) if (below(lostIn) > 0) apply(platter, part);
      }
      forget();
    },
    whole: () => wholeOf(atomicity === "commit" ? platter : seen),
    fill: (bytes) => {
      pending = [];
      platter = createMemoryDevice();
      seen = createMemoryDevice();
      platter.write(bytes, 0);
      seen.write(bytes, 0);
    },
  };
}

const wholeOf = (device: FileDevice): Uint8Array => {
  const bytes = new Uint8Array(device.size());
  device.read(bytes, 0);
  return bytes;
};

const apply = (device: FileDevice, operation: Operation): void => {
  if (operation.type === "write") device.write(operation.from, operation.offset);
  else device.truncate(operation.size);
};

const sectors = (operation: Operation): Operation[] => {
  if (operation.type === "truncate") return [operation];
  const parts: Operation[] = [];
  const { from, offset } = operation;
  for (let start = 0; start < from.length;) {
    const end = Math.min(from.length, start + SECTOR_BYTES - ((offset + start) % SECTOR_BYTES));
    parts.push({ type: "write", from: from.subarray(start, end), offset: offset + start });
    start = end;
  }
  return parts;
};
