/**
 * A disk that can lose power and run full, as one more Storage. What was not flushed when the power
 * went is there in any mixture: per write, per 512-byte sector.
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";
import { createMemoryDevice } from "../db/storage-memory.ts";
import type { FileDevice, Storage, StorageFiles } from "../db/storage.ts";

const SECTOR_BYTES = 512;

export interface SimulatedDisk {
  readonly storage: Storage;
  /** The power goes and comes back: what was flushed is there, of the rest a part. */
  readonly losePower: () => void;
  /** The power goes during this many more writes, truncates or flushes from now; null: not. */
  readonly losePowerAfter: (operations: number | null) => void;
  readonly hasLostPower: () => boolean;
  /** Room for this many more bytes; null: plenty. */
  readonly setFree: (bytes: number | null) => void;
  readonly flushes: () => number;
}

type Operation =
  | { readonly type: "write"; readonly from: Uint8Array; readonly offset: number }
  | { readonly type: "truncate"; readonly size: number };

/** @param below a uniform integer in [0, bound) */
export const createSimulatedDisk = (below: (bound: number) => number): SimulatedDisk => {
  const devices: { readonly crash: () => void; readonly device: FileDevice }[] = [];
  let operationsLeft: number | null = null;
  let lost = false;
  let free: number | null = null;
  let flushes = 0;

  const spend = (): void => {
    if (lost) throw new MeshError("ERR_STORAGE_LOST", "no power");
    if (operationsLeft === null) return;
    operationsLeft -= 1;
    if (operationsLeft >= 0) return;
    lost = true;
    throw new MeshError("ERR_STORAGE_LOST", "the power went");
  };
  const createDevice = (): FileDevice => {
    const platter = createMemoryDevice();
    let seen = createMemoryDevice();
    let pending: Operation[] = [];
    const apply = (device: FileDevice, operation: Operation): void => {
      if (operation.type === "write") device.write(operation.from, operation.offset);
      else device.truncate(operation.size);
    };
    const note = (operation: Operation): void => {
      pending.push(operation);
      apply(seen, operation);
    };
    const crash = (): void => {
      // From "half of it" to "nearly all": the worst is a commit that looks whole and is not.
      const lostIn = [2, 8, 32][below(3)] as number;
      for (const operation of pending) {
        for (const part of sectors(operation)) if (below(lostIn) > 0) apply(platter, part);
      }
      pending = [];
      seen = createMemoryDevice();
      const whole = new Uint8Array(platter.size());
      platter.read(whole, 0);
      seen.write(whole, 0);
    };
    const device: FileDevice = {
      size: () => seen.size(),
      read: (into, offset) => seen.read(into, offset),
      write: (from, offset) => {
        const grows = Math.max(0, offset + from.length - seen.size());
        if (free !== null && grows > free) throw new MeshError("ERR_STORAGE_FULL", "disk full");
        if (free !== null) free -= grows;
        note({ type: "write", from: from.slice(), offset });
        spend();
      },
      truncate: (size) => {
        note({ type: "truncate", size });
        spend();
      },
      flush: () => {
        spend();
        flushes += 1;
        for (const operation of pending) apply(platter, operation);
        pending = [];
      },
      close: () => {},
    };
    devices.push({ crash, device });
    return device;
  };
  const files: StorageFiles = { database: createDevice(), journal: createDevice() };
  const losePower = (): void => {
    for (const { crash } of devices) crash();
    lost = false;
    operationsLeft = null;
  };
  return {
    storage: {
      kind: "memory",
      durable: true,
      atomicity: "file",
      generation: () => 0,
      openFiles: async () => files,
      commit: async () => {},
      discard: async () => {},
      switchTo: async () => {},
      destroy: async () => {},
      close: async () => {},
    },
    losePower,
    losePowerAfter: (operations) => {
      operationsLeft = operations;
    },
    hasLostPower: () => lost,
    setFree: (bytes) => {
      free = bytes;
    },
    flushes: () => flushes,
  };
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
