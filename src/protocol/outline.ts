/**
 * Outline: a changeset above one chunk without its payload, but with the hashes of its chunks. The
 * signature covers them, so that each chunk is verified when it arrives, whoever brings it
 * (PROTOCOL §4).
 * ```
 * u8 stream │ [16 branch] │ 32 public key │ 32 previous hash │ sized header │ 64 signature
 * │ n × 32 chunk hash, n by the payload's size in the header
 * ```
 *
 * @module
 */

import { ByteReader, ByteWriter, notCanonical } from "./bytes.ts";
import { type ChangesetHeader, decodeHeader, type Stream } from "./changeset.ts";
import {
  fromHex,
  HASH_BYTES,
  type HeaderHash,
  headerHash,
  PUBLIC_KEY_BYTES,
  type PublicKey,
  publicKey,
  SIGNATURE_BYTES,
  ZERO_HASH,
} from "./ids.ts";
import { CHUNK_BYTES, HEADER_BYTES_MAX } from "./limits.ts";
import { readStream, type VersionRange, writeStream } from "./version-vector.ts";

export interface ChangesetOutline {
  readonly stream: Stream;
  /** As the want that it answers names it; not covered by the signature. */
  readonly branch?: string;
  readonly author: PublicKey;
  readonly previousHash: HeaderHash;
  readonly header: ChangesetHeader;
  readonly headerBytes: Uint8Array;
  readonly signature: Uint8Array;
  /** 32 bytes each, in order. */
  readonly chunkHashes: Uint8Array;
}

/** Chunks of a payload of that size, the last one shorter. */
export const chunkCount = (payloadBytes: number): number => Math.ceil(payloadBytes / CHUNK_BYTES);

/** Bytes of one of its chunks. */
export const chunkBytes = (payloadBytes: number, index: number): number =>
  Math.min(CHUNK_BYTES, payloadBytes - index * CHUNK_BYTES);

/** Bytes of its chunks in these ranges of indexes. */
export const bytesOfChunks = (payloadBytes: number, ranges: readonly VersionRange[]): number =>
  ranges.reduce(
    (sum, { first, last }) => sum + (last - first) * CHUNK_BYTES + chunkBytes(payloadBytes, last),
    0,
  );

export function encodeOutline(outline: ChangesetOutline): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(outline.chunkHashes.length + 512);
  writeStream(writer, outline);
  return writer
    .raw(fromHex(outline.author))
    .raw(fromHex(outline.previousHash))
    .sized(outline.headerBytes)
    .raw(outline.signature)
    .raw(outline.chunkHashes)
    .finish();
}

/** Views into `bytes`, not copies. @throws MeshError ERR_NOT_CANONICAL, ERR_LIMIT, ERR_UNKNOWN_FORMAT */
export function decodeOutline(bytes: Uint8Array): ChangesetOutline {
  const reader = new ByteReader(bytes);
  const chain = readStream(reader);
  const author = publicKey(reader.raw(PUBLIC_KEY_BYTES));
  const previousHash = headerHash(reader.raw(HASH_BYTES));
  const headerBytes = reader.sized(HEADER_BYTES_MAX);
  const header = decodeHeader(headerBytes);
  const signature = reader.raw(SIGNATURE_BYTES);
  const keyMatches = header.publicKey === null || header.publicKey === author;
  if (!keyMatches || header.stream !== chain.stream)
    throw notCanonical("outline of another author");
  if ((header.version === 1) !== (previousHash === ZERO_HASH)) throw notCanonical("previous hash");
  if (header.payloadBytes <= CHUNK_BYTES) throw notCanonical("outline of one chunk");
  const chunkHashes = reader.raw(HASH_BYTES * chunkCount(header.payloadBytes));
  reader.end();
  return { ...chain, author, previousHash, header, headerBytes, signature, chunkHashes };
}
