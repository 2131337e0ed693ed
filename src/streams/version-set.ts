/**
 * Sets of versions by author and stream, kept as ranges. By names of chains as they are here.
 *
 * @module
 */

import {
  type AuthorStream,
  authorStream,
  type ChangesetRange,
  HEAD_HASH_BYTES,
  streamOf,
  type VectorEntry,
  type VersionRange,
} from "../protocol/version-vector.ts";
import { BEYOND_RANGES_MAX } from "../protocol/limits.ts";

export interface VersionSet {
  /** Ascending, disjoint, apart by at least one version. */
  readonly get: (key: AuthorStream) => readonly VersionRange[];
  readonly add: (range: ChangesetRange) => void;
  readonly addEntry: (entry: VectorEntry) => void;
  readonly clear: () => void;
  /** Of main chains. Ranges above the most that an entry may hold are left out: they are sent once more. */
  readonly entries: () => readonly VectorEntry[];
}

export const NO_HASH: string = "00".repeat(HEAD_HASH_BYTES);

export function createVersionSet(): VersionSet {
  const rangesByKey = new Map<AuthorStream, readonly VersionRange[]>();
  const get = (key: AuthorStream): readonly VersionRange[] => rangesByKey.get(key) ?? [];
  const add = (key: AuthorStream, ranges: readonly VersionRange[]): void => {
    if (ranges.length > 0) rangesByKey.set(key, uniteRanges(get(key), ranges));
  };
  return {
    get,
    add: (range) => add(authorStream(range), [{ first: range.first, last: range.last }]),
    addEntry: (entry) => add(authorStream(entry), heldRanges(entry)),
    clear: () => rangesByKey.clear(),
    entries: () => [...rangesByKey].map(([key, ranges]) => entryOf(key, ranges)),
  };
}

/** What an entry claims, as ranges. What was compacted away counts as held; a branch begins above its floor. */
export const heldRanges = ({
  branch,
  floor,
  head,
  beyond,
}: VectorEntry): readonly VersionRange[] => {
  const first = branch === undefined ? 1 : floor + 1;
  return first <= head ? [{ first, last: head }, ...beyond] : beyond;
};

/** Both ascending and disjoint; so is the result, and ranges that touch are one. */
export function uniteRanges(
  a: readonly VersionRange[],
  b: readonly VersionRange[],
): readonly VersionRange[] {
  const result: VersionRange[] = [];
  for (const range of [...a, ...b].sort((one, other) => one.first - other.first)) {
    const before = result.at(-1);
    if (before === undefined || before.last + 1 < range.first) result.push(range);
    else if (before.last < range.last) {
      result[result.length - 1] = { first: before.first, last: range.last };
    }
  }
  return result;
}

function entryOf(key: AuthorStream, ranges: readonly VersionRange[]): VectorEntry {
  const startsAtOne = ranges[0]?.first === 1;
  return {
    ...streamOf(key),
    floor: 0,
    head: startsAtOne ? (ranges[0]?.last ?? 0) : 0,
    headHash: NO_HASH,
    beyond: ranges.slice(startsAtOne ? 1 : 0).slice(0, BEYOND_RANGES_MAX),
  };
}
