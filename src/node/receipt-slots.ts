/**
 * The receipts a tab may have in the file at a time: one per call under way. A slot is used again
 * when it is known what became of the call before, so no receipt is ever lost to a later one.
 *
 * @module
 */

import type { Receipt } from "../db/receipts.ts";
import { MeshError } from "../protocol/errors.ts";

/** The worker does one call after another: more under way would only wait there instead of here. */
const SLOTS = 32;

export interface ReceiptSlot {
  readonly receipt: Receipt;
  readonly free: () => void;
}

export interface ReceiptSlots {
  /** Null: all are in use. */
  readonly takeNow: () => ReceiptSlot | null;
  /** First come, first served. @throws ERR_ABORTED */
  readonly take: (signal: AbortSignal | undefined) => Promise<ReceiptSlot>;
}

export function createReceiptSlots(tab: string): ReceiptSlots {
  const turns = Array.from({ length: SLOTS }, () => 0);
  const idle = [...turns.keys()];
  const waiters = new Set<(slot: ReceiptSlot) => void>();

  const use = (slot: number): ReceiptSlot => {
    const turn = turns[slot] ?? 0;
    turns[slot] = turn + 1;
    return { receipt: { tab, slot, turn }, free: () => free(slot) };
  };
  const free = (slot: number): void => {
    const [first] = waiters;
    if (first === undefined) idle.push(slot);
    else {
      waiters.delete(first);
      first(use(slot));
    }
  };
  const takeNow = (): ReceiptSlot | null => {
    const slot = idle.pop();
    return slot === undefined ? null : use(slot);
  };
  return {
    takeNow,
    take: (signal) =>
      new Promise((resolve, reject) => {
        const aborted = (): void => {
          waiters.delete(waiter);
          reject(new MeshError("ERR_ABORTED", "while waiting for its turn"));
        };
        const waiter = (slot: ReceiptSlot): void => {
          signal?.removeEventListener("abort", aborted);
          resolve(slot);
        };
        if (signal?.aborted === true) return aborted();
        const slot = takeNow();
        if (slot !== null) return resolve(slot);
        signal?.addEventListener("abort", aborted, { once: true });
        waiters.add(waiter);
      }),
  };
}
