/**
 * Digest: one hash for a whole version vector. Equal digests mean equal logs, so that two peers
 * settle "nothing to do" in one round trip. Two levels, by the first byte of the site id, so that a
 * change costs the same with ten authors and with ten thousand. Why hashes of sorted lists and not
 * a sum of hashes: docs/decisions/0004-digest.md.
 *
 * @module
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { ByteWriter, encodeText } from "../protocol/bytes.ts";
import { fromHex, toHex } from "../protocol/ids.ts";
import {
  type AuthorStream,
  mainOf,
  mainStream,
  type VectorEntry,
  type VersionVector,
  writeVectorEntry,
} from "../protocol/version-vector.ts";

const DOMAIN = encodeText("rowmesh digest 1");
/** Hex digits of the site id that name a bucket: 256 buckets. */
const BUCKET_DIGITS = 2;

/** A vector with its digest, computed when asked for, and only where something changed. */
export interface DigestedVector {
  readonly entries: VersionVector;
  /** Keys of branches, by the key of the main chain they leave. */
  readonly branches: ReadonlyMap<AuthorStream, ReadonlySet<AuthorStream>>;
  /**
   * Whether one of the author's chains has this head: who has it has all that leads to it, on
   * whichever chains. Of authors with branches.
   */
  readonly holdsHead: (entry: VectorEntry) => boolean;
  readonly set: (key: AuthorStream, entry: VectorEntry) => void;
  readonly replace: (entries: Iterable<readonly [AuthorStream, VectorEntry]>) => void;
  /**
   * SHA-256(domain ‖ for each bucket that claims something, ascending: its byte ‖ SHA-256 of its
   * entries as they go over the wire, ascending by site, then stream), in hex.
   */
  readonly digest: () => string;
}

export function createDigestedVector(): DigestedVector {
  const entries = new Map<AuthorStream, VectorEntry>();
  const branches = new Map<AuthorStream, Set<AuthorStream>>();
  /** Of authors with branches: how many of their chains have a head. */
  const heads = new Map<AuthorStream, Map<string, number>>();
  const keysByBucket = new Map<string, Set<AuthorStream>>();
  /** Of buckets that did not change; null where a bucket claims nothing. */
  const hashByBucket = new Map<string, Uint8Array | null>();
  let digest: string | null = null;

  function set(key: AuthorStream, entry: VectorEntry): void {
    const bucket = key.slice(0, BUCKET_DIGITS);
    const keys = keysByBucket.get(bucket) ?? new Set();
    keysByBucket.set(bucket, keys.add(key));
    hashByBucket.delete(bucket);
    const before = entries.get(key);
    entries.set(key, entry);
    digest = null;
    const main = mainOf(key);
    if (entry.branch !== undefined) {
      branches.set(main, (branches.get(main) ?? new Set()).add(key));
    }
    if (branches.has(main)) countHead(main, before, entry);
  }

  function countHead(
    main: AuthorStream,
    before: VectorEntry | undefined,
    after: VectorEntry,
  ): void {
    const counted = heads.get(main);
    const counts = counted ?? new Map<string, number>();
    heads.set(main, counts);
    const count = (entry: VectorEntry | undefined, by: 1 | -1): void => {
      if (entry === undefined) return;
      const head = headOf(entry);
      const sum = (counts.get(head) ?? 0) + by;
      if (sum === 0) counts.delete(head);
      else counts.set(head, sum);
    };
    if (counted === undefined) count(entries.get(main), 1);
    else count(before, -1);
    count(after, 1);
  }

  function hashOf(bucket: string): Uint8Array | null {
    const known = hashByBucket.get(bucket);
    if (known !== undefined) return known;
    const writer = new ByteWriter();
    for (const key of [...(keysByBucket.get(bucket) ?? [])].sort()) {
      const entry = entries.get(key) as VectorEntry;
      if (!isEmpty(entry)) writeVectorEntry(writer, entry);
    }
    const hash = writer.length === 0 ? null : sha256(writer.finish());
    hashByBucket.set(bucket, hash);
    return hash;
  }

  function compute(): string {
    const writer = new ByteWriter().raw(DOMAIN);
    for (const bucket of [...keysByBucket.keys()].sort()) {
      const hash = hashOf(bucket);
      if (hash !== null) writer.raw(fromHex(bucket)).raw(hash);
    }
    return toHex(sha256(writer.finish()));
  }

  return {
    entries,
    branches,
    holdsHead: (entry) => {
      const main = mainStream(entry);
      const counts = heads.get(main);
      if (counts !== undefined) return counts.has(headOf(entry));
      const only = entries.get(main);
      return only !== undefined && headOf(only) === headOf(entry);
    },
    set,
    replace: (replacement) => {
      const all = [...replacement];
      entries.clear();
      branches.clear();
      heads.clear();
      keysByBucket.clear();
      hashByBucket.clear();
      digest = null;
      for (const [key, entry] of all) set(key, entry);
    },
    digest: () => (digest ??= compute()),
  };
}

const headOf = ({ head, headHash }: VectorEntry): string => `${head}/${headHash}`;

/** Keys of all chains of the author, the main one first. */
export const chainsOf = (vector: DigestedVector, key: AuthorStream): readonly AuthorStream[] => {
  const main = mainOf(key);
  return [main, ...(vector.branches.get(main) ?? [])];
};

/** An entry that claims nothing counts as absent. */
const isEmpty = (entry: VectorEntry): boolean =>
  entry.head === 0 && entry.floor === 0 && entry.beyond.length === 0;

/** The digest of a vector in one go: what a `DigestedVector` keeps current. */
export function digestOf(vector: VersionVector): string {
  const digested = createDigestedVector();
  digested.replace(vector);
  return digested.digest();
}
