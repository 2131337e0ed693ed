/**
 * Chunk order: in which order a replica fetches the chunks of a large changeset. Each has an order of
 * its own, which follows from its site id and the changeset alone: so neighbours that fetch the same
 * one over slow lines get different chunks, and know without a word which of them the other has
 * probably got first (rule AE22).
 *
 * @module
 */

import type { HeaderHash, SiteId } from "../protocol/ids.ts";
import type { VersionRange } from "../protocol/version-vector.ts";

const SEED_DIGITS = 8;

/** The first `count` of these chunks, ascending, in the order of this site. */
export function firstChunks(
  site: SiteId,
  of: HeaderHash,
  chunks: readonly VersionRange[],
  count: number,
): readonly VersionRange[] {
  const seed = seedOf(site) ^ seedOf(of);
  const ranked: { readonly index: number; readonly rank: number }[] = [];
  for (const { first, last } of chunks) {
    for (let index = first; index <= last; index++)
      ranked.push({ index, rank: mixed(seed ^ index) });
  }
  ranked.sort((a, b) => a.rank - b.rank || a.index - b.index);
  const indexes = ranked.slice(0, count).map(({ index }) => index);
  const ranges: VersionRange[] = [];
  for (const index of indexes.sort((a, b) => a - b)) {
    const before = ranges.at(-1);
    if (before?.last !== index - 1) ranges.push({ first: index, last: index });
    else ranges[ranges.length - 1] = { first: before.first, last: index };
  }
  return ranges;
}

const seedOf = (hex: string): number => Number.parseInt(hex.slice(0, SEED_DIGITS), 16) | 0;

/** A permutation of 32-bit integers (C. Wellons, "Prospecting for hash functions", lowbias32). */
function mixed(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b);
  return (hash ^ (hash >>> 16)) >>> 0;
}
