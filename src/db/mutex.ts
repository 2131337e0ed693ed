/**
 * Turns on the one connection: first come, first served.
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";

export interface Mutex {
  /** Waits for its turn, runs, and lets the next one go. @throws ERR_ABORTED, ERR_CLOSED while waiting */
  readonly run: <T>(task: () => Promise<T>, signal?: AbortSignal) => Promise<T>;
  /** How many wait. */
  readonly waiting: () => number;
  /** Refuses those who wait and all later ones; resolves when the one at work is done. */
  readonly close: () => Promise<void>;
}

interface Waiter {
  readonly start: () => void;
  readonly refuse: (error: MeshError) => void;
}

export function createMutex(): Mutex {
  const queue = new Set<Waiter>();
  let busy = false;
  let closed = false;
  let whenIdle: (() => void) | null = null;

  const next = (): void => {
    const [first] = queue;
    if (first === undefined) {
      busy = false;
      whenIdle?.();
      return;
    }
    queue.delete(first);
    first.start();
  };
  const turn = (signal: AbortSignal | undefined): Promise<void> =>
    new Promise((resolve, reject) => {
      const aborted = (): void => {
        queue.delete(waiter);
        reject(new MeshError("ERR_ABORTED", "while waiting for its turn"));
      };
      const waiter: Waiter = {
        start: () => {
          signal?.removeEventListener("abort", aborted);
          resolve();
        },
        refuse: (error) => {
          signal?.removeEventListener("abort", aborted);
          reject(error);
        },
      };
      signal?.addEventListener("abort", aborted, { once: true });
      queue.add(waiter);
    });

  return {
    run: async (task, signal) => {
      if (closed) throw new MeshError("ERR_CLOSED", "the database is closed");
      if (signal?.aborted === true) throw new MeshError("ERR_ABORTED", "before it began");
      if (busy) await turn(signal);
      busy = true;
      try {
        return await task();
      } finally {
        next();
      }
    },
    waiting: () => queue.size,
    close: async () => {
      closed = true;
      for (const waiter of queue) waiter.refuse(new MeshError("ERR_CLOSED", "the database closed"));
      queue.clear();
      if (busy) await new Promise<void>((resolve) => (whenIdle = resolve));
    },
  };
}
