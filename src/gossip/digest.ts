/**
 * Digest: one hash for a whole version vector. Equal digests mean equal logs, so that two peers
 * settle "nothing to do" in one round trip. Why a hash of the sorted list and not a sum of hashes:
 * docs/decisions/0004-digest.md.
 *
 * @module
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { ByteWriter, encodeText } from "../protocol/bytes.ts";
import { toHex } from "../protocol/ids.ts";
import {
  type AuthorStream,
  type VectorEntry,
  type VersionVector,
  writeVectorEntry,
} from "../protocol/version-vector.ts";

const DOMAIN = encodeText("rowmesh digest 1");

/** An entry that claims nothing counts as absent. */
const isEmpty = (entry: VectorEntry): boolean =>
  entry.head === 0 && entry.floor === 0 && entry.beyond.length === 0;

/** SHA-256 of the entries as they go over the wire, ascending by site, then stream; in hex. */
export function digestOf(vector: VersionVector): string {
  const hash = sha256.create().update(DOMAIN);
  for (const key of [...vector.keys()].sort()) {
    const entry = vector.get(key) as VectorEntry;
    if (isEmpty(entry)) continue;
    const writer = new ByteWriter(64);
    writeVectorEntry(writer, entry);
    hash.update(writer.finish());
  }
  return toHex(hash.digest());
}

/** A vector with its digest, computed when asked for and kept until the vector changes. */
export interface DigestedVector {
  readonly entries: VersionVector;
  readonly set: (key: AuthorStream, entry: VectorEntry) => void;
  readonly replace: (entries: Iterable<readonly [AuthorStream, VectorEntry]>) => void;
  readonly digest: () => string;
}

export function createDigestedVector(): DigestedVector {
  const entries = new Map<AuthorStream, VectorEntry>();
  let digest: string | null = null;
  return {
    entries,
    set: (key, entry) => {
      entries.set(key, entry);
      digest = null;
    },
    replace: (replacement) => {
      entries.clear();
      for (const [key, entry] of replacement) entries.set(key, entry);
      digest = null;
    },
    digest: () => (digest ??= digestOf(entries)),
  };
}
