/**
 * Back-off: who did not yield what it claims is left alone for a while, longer each time (rule AE8).
 *
 * @module
 */

import { NEW_AUTHORS_CLAIMED_MAX } from "../protocol/limits.ts";
import type { LeaseKey } from "./leases.ts";

const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 60_000;
/** Chains of one peer whose failures are remembered: as many as it may claim that we do not know. */
const BACKOFFS_MAX = NEW_AUTHORS_CLAIMED_MAX;

export interface Backoff {
  readonly failures: number;
  readonly untilMs: number;
}

export const NO_BACKOFF: Backoff = { failures: 0, untilMs: 0 };

export function longer(before: Backoff, nowMs: number): Backoff {
  const failures = before.failures + 1;
  const delayMs = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(failures - 1, 10));
  return { failures, untilMs: nowMs + delayMs };
}

/** What one peer failed to yield. */
export interface Backoffs {
  readonly fail: (key: LeaseKey, nowMs: number) => void;
  readonly isOff: (key: LeaseKey, nowMs: number) => boolean;
  /** The last time it was asked for this it had nothing to give. */
  readonly hasFailed: (key: LeaseKey) => boolean;
  readonly forgive: (key: LeaseKey) => void;
}

export function createBackoffs(): Backoffs {
  const backoffByKey = new Map<LeaseKey, Backoff>();
  return {
    fail: (key, nowMs) => {
      const backoff = longer(backoffByKey.get(key) ?? NO_BACKOFF, nowMs);
      backoffByKey.delete(key);
      backoffByKey.set(key, backoff);
      const [oldest] = backoffByKey.keys();
      // A peer may claim other authors each time.
      if (backoffByKey.size > BACKOFFS_MAX && oldest !== undefined) backoffByKey.delete(oldest);
    },
    isOff: (key, nowMs) => (backoffByKey.get(key)?.untilMs ?? 0) > nowMs,
    hasFailed: (key) => backoffByKey.has(key),
    forgive: (key) => void backoffByKey.delete(key),
  };
}
