/**
 * Version vector: for each author and stream what a replica holds. A claim by whoever sends it; it
 * costs only its sender.
 *
 * Entry on the wire (PROTOCOL §6):
 * ```
 * 16 site │ u8 stream │ [16 branch] │ varint floor │ varint head │ 16 head hash prefix
 * │ varint count │ count × (varint distance from the end of the last range − 2, varint length − 1)
 * ```
 * stream: bit 0 membership, bit 1 a branch follows. A key that forked has one entry per branch: at each
 * fork the changeset with the lowest header hash continues the chain it forks from, every other one
 * begins a branch, named by its hash. So one set of changesets has one vector, however it arrived.
 *
 * @module
 */

import { type ByteReader, type ByteWriter, notCanonical } from "./bytes.ts";
import type { Stream } from "./changeset.ts";
import { fromHex, SITE_ID_BYTES, type SiteId, siteId, toHex } from "./ids.ts";
import { BEYOND_RANGES_MAX, VERSION_MAX } from "./limits.ts";

/** Bytes of the head's header hash in a vector: a fork shows as two hashes for one version. */
export const HEAD_HASH_BYTES = 16;

/** Bytes that name a branch: of the header hash of its first changeset. */
export const BRANCH_BYTES = 16;

/** One chain of an author: its main one, or a branch of a key that forked. */
export interface ChainName {
  readonly site: SiteId;
  readonly stream: Stream;
  /** 32 hex digits; absent on the main chain. */
  readonly branch?: string;
}

export interface VectorEntry extends ChainName {
  /** Versions up to this one are not this entry's: compacted away, or before the fork of a branch. */
  readonly floor: number;
  /** The highest version up to which everything (above the floor) is held; 0 when none. */
  readonly head: number;
  /** 32 hex digits of the head's header hash; zeros when head is 0. */
  readonly headHash: string;
  /** Inclusive ranges held beyond the gap after `head`, ascending, apart by at least one version. */
  readonly beyond: readonly VersionRange[];
}

export interface VersionRange {
  readonly first: number;
  readonly last: number;
}

/** Inclusive range of versions of one chain. */
export interface ChangesetRange extends VersionRange, ChainName {}

/** Key of an author's chain in maps. Sorts as the entries of a digest do. */
export type AuthorStream = string & { readonly __authorStream: true };

export const authorStream = ({ site, stream, branch }: ChainName): AuthorStream =>
  `${site}/${stream === "data" ? 0 : 1}${branch === undefined ? "" : `/${branch}`}` as AuthorStream;

/** Of the main chain of an author, whichever of its chains is named. */
export const mainStream = ({ site, stream }: ChainName): AuthorStream =>
  authorStream({ site, stream });

/** Of the main chain that this one is, or branches from. */
export const mainOf = (key: AuthorStream): AuthorStream =>
  key.slice(0, 2 * SITE_ID_BYTES + 2) as AuthorStream;

/** What an {@link AuthorStream} names. */
export const streamOf = (key: AuthorStream): ChainName => {
  const [site = "", stream, branch] = key.split("/");
  const name = { site: site as SiteId, stream: stream === "0" ? "data" : "membership" } as const;
  return branch === undefined ? name : { ...name, branch };
};

export type VersionVector = ReadonlyMap<AuthorStream, VectorEntry>;

/** The ranges that `theirs` holds and `ours` lacks, ascending. */
export function missingVersions(
  ours: VectorEntry | undefined,
  theirs: VectorEntry,
): readonly VersionRange[] {
  const held: VersionRange[] = [];
  const head = Math.max(ours?.head ?? 0, theirs.floor);
  if (head > 0) held.push({ first: 1, last: head });
  held.push(...(ours?.beyond ?? []));
  const offered: VersionRange[] = theirs.head > 0 ? [{ first: 1, last: theirs.head }] : [];
  offered.push(...theirs.beyond);
  return subtractRanges(offered, held);
}

/** How many versions the ranges hold. */
export const countVersions = (ranges: readonly VersionRange[]): number =>
  ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0);

/** `from` without `without`; both ascending and disjoint, and so is the result. */
export function subtractRanges(
  from: readonly VersionRange[],
  without: readonly VersionRange[],
): readonly VersionRange[] {
  const result: VersionRange[] = [];
  let at = 0;
  for (const range of from) {
    let first = range.first;
    while (at < without.length && (without[at] as VersionRange).last < first) at++;
    for (let i = at; i < without.length; i++) {
      const cut = without[i] as VersionRange;
      if (cut.first > range.last) break;
      if (cut.first > first) result.push({ first, last: cut.first - 1 });
      first = Math.max(first, cut.last + 1);
    }
    if (first <= range.last) result.push({ first, last: range.last });
  }
  return result;
}

export function writeVectorEntry(writer: ByteWriter, entry: VectorEntry): void {
  writer.raw(fromHex(entry.site));
  writeStream(writer, entry);
  writer
    .varint(entry.floor)
    .varint(entry.head)
    .raw(fromHex(entry.headHash))
    .varint(entry.beyond.length);
  let end = entry.head;
  for (const { first, last } of entry.beyond) {
    writer.varint(first - end - 2).varint(last - first);
    end = last;
  }
}

/** @throws MeshError ERR_NOT_CANONICAL, ERR_LIMIT */
export function readVectorEntry(reader: ByteReader): VectorEntry {
  const site = siteId(reader.raw(SITE_ID_BYTES));
  const stream = readStream(reader);
  const floor = reader.varint(VERSION_MAX);
  const head = reader.varint(VERSION_MAX);
  const headHash = toHex(reader.raw(HEAD_HASH_BYTES));
  if (head < floor) throw notCanonical("head below floor");
  if (head === 0 && /[^0]/.test(headHash)) throw notCanonical("hash of nothing");
  const count = reader.varint(BEYOND_RANGES_MAX);
  const beyond: VersionRange[] = [];
  let end = head;
  for (let i = 0; i < count; i++) {
    const first = end + 2 + reader.varint(VERSION_MAX);
    const last = first + reader.varint(VERSION_MAX);
    if (last > VERSION_MAX) throw notCanonical("version out of range");
    beyond.push({ first, last });
    end = last;
  }
  if (stream.branch !== undefined && head === floor) throw notCanonical("empty branch");
  return { site, ...stream, floor, head, headHash, beyond };
}

export function writeStream(
  writer: ByteWriter,
  { stream, branch }: Pick<ChainName, "stream" | "branch">,
): void {
  writer.u8((stream === "data" ? 0 : 1) + (branch === undefined ? 0 : 2));
  if (branch !== undefined) writer.raw(fromHex(branch));
}

/** @throws MeshError ERR_NOT_CANONICAL */
export function readStream(reader: ByteReader): Pick<ChainName, "stream" | "branch"> {
  const byte = reader.u8();
  if (byte > 3) throw notCanonical("stream");
  const stream: Stream = byte % 2 === 0 ? "data" : "membership";
  return byte < 2 ? { stream } : { stream, branch: toHex(reader.raw(BRANCH_BYTES)) };
}
