/**
 * Allowance: something that may be had at once up to a burst, and then at a rate. What was taken is
 * known only afterwards, so it may be overdrawn; then nothing is left until that has come back.
 *
 * @module
 */

/** Debts are small: whoever made one, it is soon over. */
const DEBT_SHARE = 64;

export interface AllowanceOptions {
  readonly burst: number;
  readonly perSecond: number;
}

export interface Allowance {
  /** Whole units left; below 1 when it is used up. */
  readonly left: (nowMs: number) => number;
  readonly take: (units: number, nowMs: number) => void;
}

export function createAllowance({ burst, perSecond }: AllowanceOptions): Allowance {
  let units = burst;
  let sinceMs: number | null = null;

  function refill(nowMs: number): void {
    units = Math.min(burst, units + ((nowMs - (sinceMs ?? nowMs)) * perSecond) / 1_000);
    sinceMs = nowMs;
  }

  return {
    left: (nowMs) => {
      refill(nowMs);
      return Math.floor(units);
    },
    take: (taken, nowMs) => {
      refill(nowMs);
      units = Math.max(-burst / DEBT_SHARE, units - taken);
    },
  };
}
