/**
 * Lease clock: until when one peer is waited for that owes us an answer. It lets go after a time of
 * silence, and when its answers are slower than a floor, however lively it is otherwise (rule AE7).
 *
 * @module
 */

/** A peer that sends nothing for this long lets go of what it was asked for. */
const LEASE_MS = 5_000;
/** And so much longer on a link that is busy in both directions: two chunks take 16 s at 64 kbit/s. */
const ROUND_TRIP_MAX_MS = 20_000;
/** Progress slower than 4 bytes a millisecond (32 kbit/s) counts as none. */
const LEASE_BYTES_PER_MS = 4;

export interface LeaseClock {
  /** The next answer is waited for from now on. */
  readonly begin: (nowMs: number) => void;
  /** So many bytes of an answer came. */
  readonly progress: (bytes: number, nowMs: number) => void;
  /** So many bytes of a frame that is not whole are here, an answer or not. */
  readonly arriving: (bytes: number, nowMs: number) => void;
  readonly isArriving: () => boolean;
  readonly deadlineMs: () => number;
}

/** @param roundTripMs as last measured: a want waits behind what we send */
export function createLeaseClock(roundTripMs: () => number | null): LeaseClock {
  let sinceMs = 0;
  let progressMs = 0;
  let answeredBytes = 0;
  let arrivingBytes = 0;
  return {
    begin: (nowMs) => {
      sinceMs = nowMs;
      progressMs = nowMs;
      answeredBytes = 0;
    },
    progress: (bytes, nowMs) => {
      answeredBytes += bytes;
      progressMs = nowMs;
    },
    arriving: (bytes, nowMs) => {
      if (bytes > arrivingBytes) progressMs = nowMs;
      arrivingBytes = bytes;
    },
    isArriving: () => arrivingBytes > 0,
    deadlineMs: () => {
      const earnedMs = (answeredBytes + arrivingBytes) / LEASE_BYTES_PER_MS;
      const roundMs = Math.min(ROUND_TRIP_MAX_MS, roundTripMs() ?? 0);
      return LEASE_MS + roundMs + Math.min(progressMs, sinceMs + earnedMs);
    },
  };
}
