/**
 * The real timers, in browsers, workers and Node alike.
 *
 * @module
 */

import type { Timers } from "../seams.ts";

export const systemTimers: Timers = {
  after: (delayMs, run) => {
    const timer = setTimeout(run, Math.max(0, delayMs));
    return () => clearTimeout(timer);
  },
};
