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
  const keysByBucket = new Map<string, Set<AuthorStream>>();
  /** Of buckets that did not change; null where a bucket claims nothing. */
  const hashByBucket = new Map<string, Uint8Array | null>();
  let digest: string | null = null;

  function set(key: AuthorStream, entry: VectorEntry): void {
    const bucket = key.slice(0, BUCKET_DIGITS);
    const keys = keysByBucket.get(bucket) ?? new Set();
    keysByBucket.set(bucket, keys.add(key));
    hashByBucket.delete(bucket);
    entries.set(key, entry);
    if (entry.branch !== undefined) {
      const main = mainOf(key);
      branches.set(main, (branches.get(main) ?? new Set()).add(key));
    }
    digest = null;
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
    set,
    replace: (replacement) => {
      const all = [...replacement];
      entries.clear();
      branches.clear();
      keysByBucket.clear();
      hashByBucket.clear();
      digest = null;
      for (const [key, entry] of all) set(key, entry);
    },
    digest: () => (digest ??= compute()),
  };
}

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
