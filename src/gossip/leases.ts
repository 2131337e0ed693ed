/**
 * Leases: which versions, and which chunks of large ones, are on their way to us, so that nobody else
 * is asked for them. Whoever brings them (a want, a run, a chunk or a broadcast being ingested) holds
 * the lease under a number of its own, until it lets go.
 *
 * @module
 */

import type { HeaderHash } from "../protocol/ids.ts";
import {
  type AuthorStream,
  subtractRanges,
  type VersionRange,
} from "../protocol/version-vector.ts";

/** Versions of a chain, or chunks of a changeset. */
export type LeaseKey = AuthorStream | HeaderHash;

/** What was ingested is not asked for again before our vector had this long to say so. */
const SETTLING_MS = 1_000;

export interface Leases {
  readonly take: (holder: number, key: LeaseKey, range: VersionRange) => void;
  readonly release: (holder: number) => void;
  /** Releases it a little later: the store took it, our vector does not show it yet. */
  readonly settle: (holder: number, nowMs: number) => void;
  /** Of these ranges, ascending, what nobody brings. */
  readonly free: (key: LeaseKey, ranges: readonly VersionRange[]) => readonly VersionRange[];
  readonly lapse: (nowMs: number) => void;
  readonly size: () => number;
}

export function createLeases(): Leases {
  const leasesByHolder = new Map<
    number,
    { readonly key: LeaseKey; readonly range: VersionRange }[]
  >();
  const holdersByKey = new Map<LeaseKey, Set<number>>();
  /** Ascending by time, since every one settles equally long. */
  const settlingUntilMs = new Map<number, number>();

  function release(holder: number): void {
    for (const { key } of leasesByHolder.get(holder) ?? []) {
      const holders = holdersByKey.get(key);
      holders?.delete(holder);
      if (holders?.size === 0) holdersByKey.delete(key);
    }
    leasesByHolder.delete(holder);
    settlingUntilMs.delete(holder);
  }

  function take(holder: number, key: LeaseKey, range: VersionRange): void {
    const leases = leasesByHolder.get(holder) ?? [];
    const holders = holdersByKey.get(key) ?? new Set();
    leases.push({ key, range });
    holders.add(holder);
    leasesByHolder.set(holder, leases);
    holdersByKey.set(key, holders);
  }

  function free(key: LeaseKey, ranges: readonly VersionRange[]): readonly VersionRange[] {
    let rest = ranges;
    for (const holder of holdersByKey.get(key) ?? []) {
      for (const lease of leasesByHolder.get(holder) ?? []) {
        if (lease.key === key) rest = subtractRanges(rest, [lease.range]);
      }
    }
    return rest;
  }

  return {
    take,
    release,
    settle: (holder, nowMs) => {
      if (leasesByHolder.has(holder)) settlingUntilMs.set(holder, nowMs + SETTLING_MS);
    },
    free,
    lapse: (nowMs) => {
      for (const [holder, untilMs] of settlingUntilMs) {
        if (untilMs > nowMs) return;
        release(holder);
      }
    },
    size: () => leasesByHolder.size,
  };
}
