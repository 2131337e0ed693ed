/**
 * Whose versions received bytes claim to hold, by their first fields: enough to tell whether they
 * were asked for. All else in them is opaque here.
 *
 * @module
 */

import { ByteReader, notCanonical } from "../protocol/bytes.ts";
import { decodeHeader } from "../protocol/changeset.ts";
import { HASH_BYTES, PUBLIC_KEY_BYTES } from "../protocol/ids.ts";
import {
  DEPENDENCY_HASH_BYTES,
  HEADER_BYTES_MAX,
  RUN_CHANGESETS_MAX,
  VERSION_MAX,
} from "../protocol/limits.ts";
import { type ChangesetRange, readStream } from "../protocol/version-vector.ts";

/** @throws MeshError */
export function rangeOfRun(bytes: Uint8Array): ChangesetRange {
  const reader = new ByteReader(bytes);
  const chain = readStream(reader);
  reader.raw(PUBLIC_KEY_BYTES);
  const first = reader.varint(VERSION_MAX);
  reader.raw(HASH_BYTES);
  const count = reader.varint(RUN_CHANGESETS_MAX);
  const { site } = decodeHeader(reader.sized(HEADER_BYTES_MAX));
  if (first === 0 || count === 0) throw notCanonical("empty run");
  return { site, ...chain, first, last: first + count - 1 };
}

/** One version. @throws MeshError */
export function rangeOfOutline(bytes: Uint8Array): ChangesetRange {
  const reader = new ByteReader(bytes);
  const chain = readStream(reader);
  reader.raw(PUBLIC_KEY_BYTES);
  reader.raw(HASH_BYTES);
  const { site, version } = decodeHeader(reader.sized(HEADER_BYTES_MAX));
  return { site, ...chain, first: version, last: version };
}

/** Of one that decodes as far as {@link rangeOfOutline} reads. */
export function payloadBytesOfOutline(bytes: Uint8Array): number {
  const reader = new ByteReader(bytes);
  readStream(reader);
  reader.raw(PUBLIC_KEY_BYTES);
  reader.raw(HASH_BYTES);
  return decodeHeader(reader.sized(HEADER_BYTES_MAX)).payloadBytes;
}

/** One version. @throws MeshError */
export function rangeOfBroadcast(bytes: Uint8Array): ChangesetRange {
  const reader = new ByteReader(bytes);
  reader.raw(DEPENDENCY_HASH_BYTES);
  const { site, stream, version } = decodeHeader(reader.sized(HEADER_BYTES_MAX));
  return { site, stream, first: version, last: version };
}
