/**
 * One life of a simulated device, from switching on to the end of its power. Everything the device
 * does to the outside passes a step: a write, truncate or flush of its disk, a signature, a frame
 * sent or taken, a timer, an answer of its replica. Steps are counted, so that "dead after step
 * 137" reaches any point at which code waits, and the middle of a commit.
 *
 * What is dead does nothing more: its synchronous steps throw, its asynchronous ones never resolve.
 *
 * @module
 */

import { setMaxListeners } from "node:events";
import { MeshError } from "../protocol/errors.ts";

export interface Life {
  readonly isOver: () => boolean;
  readonly steps: () => number;
  /** A synchronous step. @throws ERR_STORAGE_LOST once the life is over */
  readonly step: () => void;
  /** An asynchronous one: a step before the work, and one before its result is known. */
  readonly through: <T>(work: () => Promise<T>) => Promise<T>;
  /** A callback that the dead do not hear. */
  readonly heard: (run: () => void) => void;
  /** Ends it at this many steps from now. */
  readonly endAfter: (steps: number) => void;
  readonly end: () => void;
  /** Resolves when it is over. */
  readonly over: Promise<void>;
  /** Fires when it is over. */
  readonly signal: AbortSignal;
}

/** @param onEnd called once, in the step that ends it */
export function createLife(onEnd: () => void): Life {
  const ending = new AbortController();
  setMaxListeners(0, ending.signal);
  const over = new Promise<void>((resolve) => {
    ending.signal.addEventListener("abort", () => resolve());
  });
  let steps = 0;
  let lastStep = Number.POSITIVE_INFINITY;
  let isOver = false;

  function end(): void {
    if (isOver) return;
    isOver = true;
    onEnd();
    ending.abort();
  }

  /** @returns whether it still lives */
  function count(): boolean {
    if (isOver) return false;
    steps += 1;
    if (steps >= lastStep) end();
    return !isOver;
  }

  return {
    isOver: () => isOver,
    steps: () => steps,
    step: () => {
      if (!count()) throw new MeshError("ERR_STORAGE_LOST", "the device has no power");
    },
    through: async <T>(work: () => Promise<T>): Promise<T> => {
      if (!count()) return new Promise<T>(() => {});
      try {
        const result = await work();
        return count() ? result : await new Promise<T>(() => {});
      } catch (error) {
        if (isOver) return new Promise<T>(() => {});
        throw error;
      }
    },
    heard: (run) => {
      if (count()) run();
    },
    endAfter: (more) => {
      lastStep = steps + more;
    },
    end,
    over,
    signal: ending.signal,
  };
}
