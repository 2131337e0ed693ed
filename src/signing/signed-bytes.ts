/**
 * Exactly what a changeset's signature covers (PROTOCOL §8):
 * ```
 * "rowmesh changeset 1" │ 32 mesh id │ 32 previous header hash │ 32 payload root │ header, as received
 * ```
 * Every part but the last has a fixed length, so no two changesets share a message. The previous
 * hash and the root are not sent with the changeset: the log knows the one, the payload gives the
 * other. The header names the payload's length.
 *
 * @module
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { ByteWriter, encodeText } from "../protocol/bytes.ts";
import { fromHex, HASH_BYTES, type HeaderHash, headerHash, type MeshId } from "../protocol/ids.ts";
import { CHUNK_BYTES } from "../protocol/limits.ts";

const DOMAIN = encodeText("rowmesh changeset 1");
const WHOLE = Uint8Array.of(0);
const LIST = Uint8Array.of(1);
const CHUNK = Uint8Array.of(2);

/** `root` is the payload's, see {@link payloadRoot}. */
export const signedMessage = (
  mesh: MeshId,
  previousHash: HeaderHash,
  root: Uint8Array,
  headerBytes: Uint8Array,
): Uint8Array<ArrayBuffer> =>
  new ByteWriter(DOMAIN.length + 3 * HASH_BYTES + headerBytes.length)
    .raw(DOMAIN)
    .raw(fromHex(mesh))
    .raw(fromHex(previousHash))
    .raw(root)
    .raw(headerBytes)
    .finish();

/** SHA-256 of the signed message: what the next changeset's message names as its predecessor. */
export const headerHashOf = (message: Uint8Array): HeaderHash => headerHash(sha256(message));

/**
 * SHA-256(0x00 ‖ payload) up to one chunk; above it {@link rootOfChunks}. The first bytes keep a
 * payload, a list of hashes and a chunk from ever standing for one another.
 */
export function payloadRoot(payload: Uint8Array): Uint8Array {
  const hashes = chunkHashes(payload);
  if (hashes !== null) return rootOfChunks(hashes);
  return sha256.create().update(WHOLE).update(payload).digest();
}

/** 32 bytes for each chunk, in order; null for a payload of one chunk, which is hashed as a whole. */
export function chunkHashes(payload: Uint8Array): Uint8Array | null {
  if (payload.length <= CHUNK_BYTES) return null;
  const hashes = new Uint8Array(HASH_BYTES * Math.ceil(payload.length / CHUNK_BYTES));
  for (let index = 0; index * CHUNK_BYTES < payload.length; index++) {
    const chunk = payload.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);
    hashes.set(chunkHash(chunk), index * HASH_BYTES);
  }
  return hashes;
}

/** SHA-256(0x02 ‖ chunk): each chunk of 64 KiB can be verified alone, by whoever has the list. */
export const chunkHash = (chunk: Uint8Array): Uint8Array =>
  sha256.create().update(CHUNK).update(chunk).digest();

/** SHA-256(0x01 ‖ count as u32, big-endian ‖ chunk hashes in order). */
export function rootOfChunks(hashes: Uint8Array): Uint8Array {
  const count = new Uint8Array(4);
  new DataView(count.buffer).setUint32(0, hashes.length / HASH_BYTES);
  return sha256.create().update(LIST).update(count).update(hashes).digest();
}
