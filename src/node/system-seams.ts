/**
 * The real clock and randomness, in browsers, workers and Node alike.
 *
 * @module
 */

import type { Clock, Random } from "../seams.ts";

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallClockMs: () => Date.now(),
};

const RANGE = 2 ** 32;

export const systemRandom: Random = {
  below: (bound) => {
    // Rejection keeps it uniform: the last, incomplete multiple of `bound` is drawn again.
    const limit = RANGE - (RANGE % bound);
    for (;;) {
      const value = crypto.getRandomValues(new Uint32Array(1))[0] as number;
      if (value < limit) return value % bound;
    }
  },
  bytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
};
