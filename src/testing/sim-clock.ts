/**
 * A device's clocks over the world's time: they may be wrong, and jump.
 *
 * @module
 */

import type { Clock } from "../seams.ts";

export interface SimClock extends Clock {
  /** The monotonic clock leaps ahead, as after a sleep; it never goes back. */
  readonly leap: (ms: number) => void;
  /** The wall clock is off by so much from now on. May be negative, and years. */
  readonly setWallOffset: (ms: number) => void;
}

export function createSimClock(world: Clock): SimClock {
  let leaptMs = 0;
  let wallOffsetMs = 0;
  return {
    nowMs: () => world.nowMs() + leaptMs,
    wallClockMs: () => world.wallClockMs() + wallOffsetMs,
    leap: (ms) => {
      leaptMs += Math.max(0, ms);
    },
    setWallOffset: (ms) => {
      wallOffsetMs = ms;
    },
  };
}
