/**
 * Leases: which versions are on their way to us, so that nobody else is asked for them. Whoever
 * brings them (a want, a run or a broadcast being ingested) holds the lease under a number of its
 * own, until it lets go.
 *
 * @module
 */

import {
  type AuthorStream,
  authorStream,
  type ChangesetRange,
  subtractRanges,
  type VersionRange,
} from "../protocol/version-vector.ts";

/** What was ingested is not asked for again before our vector had this long to say so. */
const SETTLING_MS = 1_000;

export interface Leases {
  readonly take: (holder: number, range: ChangesetRange) => void;
  readonly release: (holder: number) => void;
  /** Releases it a little later: the store took it, our vector does not show it yet. */
  readonly settle: (holder: number, nowMs: number) => void;
  /** Of these ranges, ascending, what nobody brings. */
  readonly free: (key: AuthorStream, ranges: readonly VersionRange[]) => readonly VersionRange[];
  readonly lapse: (nowMs: number) => void;
  readonly size: () => number;
}

export function createLeases(): Leases {
  const rangesByHolder = new Map<number, ChangesetRange[]>();
  const holdersByKey = new Map<AuthorStream, Set<number>>();
  /** Ascending by time, since every one settles equally long. */
  const settlingUntilMs = new Map<number, number>();

  function release(holder: number): void {
    for (const range of rangesByHolder.get(holder) ?? []) {
      const key = authorStream(range);
      const holders = holdersByKey.get(key);
      holders?.delete(holder);
      if (holders?.size === 0) holdersByKey.delete(key);
    }
    rangesByHolder.delete(holder);
    settlingUntilMs.delete(holder);
  }

  function take(holder: number, range: ChangesetRange): void {
    const key = authorStream(range);
    const ranges = rangesByHolder.get(holder) ?? [];
    const holders = holdersByKey.get(key) ?? new Set();
    ranges.push(range);
    holders.add(holder);
    rangesByHolder.set(holder, ranges);
    holdersByKey.set(key, holders);
  }

  function free(key: AuthorStream, ranges: readonly VersionRange[]): readonly VersionRange[] {
    let rest = ranges;
    for (const holder of holdersByKey.get(key) ?? []) {
      for (const range of rangesByHolder.get(holder) ?? []) {
        if (authorStream(range) === key) rest = subtractRanges(rest, [range]);
      }
    }
    return rest;
  }

  return {
    take,
    release,
    settle: (holder, nowMs) => {
      if (rangesByHolder.has(holder)) settlingUntilMs.set(holder, nowMs + SETTLING_MS);
    },
    free,
    lapse: (nowMs) => {
      for (const [holder, untilMs] of settlingUntilMs) {
        if (untilMs > nowMs) return;
        release(holder);
      }
    },
    size: () => rangesByHolder.size,
  };
}
