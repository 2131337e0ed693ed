/**
 * Runs and broadcasts: how changesets travel and how they are kept apart.
 *
 * A *run* holds consecutive changesets of one author and stream, and with the author's key and the
 * previous header hash in full everything needed to verify them in order (PROTOCOL §4):
 * ```
 * u8 stream │ [16 branch] │ 32 public key │ varint first version │ 32 previous hash
 * │ varint count │ count × (sized header │ 64 signature │ payload, its size in the header)
 * ```
 * A *broadcast* is one changeset for those who probably hold its predecessor (PROTOCOL §5):
 * ```
 * 8 previous hash prefix │ sized header │ 64 signature │ payload
 * ```
 *
 * @module
 */

import { ByteReader, ByteWriter, notCanonical } from "./bytes.ts";
import { decodeHeader, type SignedChangeset, type Stream } from "./changeset.ts";
import { MeshError } from "./errors.ts";
import {
  fromHex,
  HASH_BYTES,
  type HeaderHash,
  headerHash,
  PUBLIC_KEY_BYTES,
  type PublicKey,
  publicKey,
  SIGNATURE_BYTES,
  type SiteId,
  ZERO_HASH,
} from "./ids.ts";
import {
  BROADCAST_BYTES_MAX,
  DEPENDENCY_HASH_BYTES,
  HEADER_BYTES_MAX,
  RUN_BYTES_MAX,
  RUN_CHANGESETS_MAX,
  VERSION_MAX,
} from "./limits.ts";
import { readStream, writeStream } from "./version-vector.ts";

export interface ChangesetRun {
  readonly stream: Stream;
  /** As the want that it answers names it; not covered by any signature. */
  readonly branch?: string;
  readonly author: PublicKey;
  /** Of the changeset before the first one; `ZERO_HASH` before version 1. */
  readonly previousHash: HeaderHash;
  /** At least one; consecutive versions of one site and stream. */
  readonly changesets: readonly SignedChangeset[];
}

export interface Broadcast {
  /** The first 8 bytes of the previous header hash: tells whether the receiver can verify at all. */
  readonly previousHashPrefix: Uint8Array;
  readonly changeset: SignedChangeset;
}

export function encodeRun(run: ChangesetRun): Uint8Array<ArrayBuffer> {
  const first = run.changesets[0];
  if (first === undefined) throw new RangeError("empty run");
  const payloads = run.changesets.reduce((sum, { payload }) => sum + payload.length + 256, 256);
  const writer = new ByteWriter(payloads);
  writeStream(writer, run);
  writer
    .raw(fromHex(run.author))
    .varint(first.header.version)
    .raw(fromHex(run.previousHash))
    .varint(run.changesets.length);
  for (const changeset of run.changesets) writeChangeset(writer, changeset);
  return writer.finish();
}

/** Views into `bytes`, not copies. @throws MeshError ERR_NOT_CANONICAL, ERR_LIMIT, ERR_UNKNOWN_FORMAT */
export function decodeRun(bytes: Uint8Array): ChangesetRun {
  if (bytes.length > RUN_BYTES_MAX) throw new MeshError("ERR_LIMIT", "run too large");
  const reader = new ByteReader(bytes);
  const chain = readStream(reader);
  const author = publicKey(reader.raw(PUBLIC_KEY_BYTES));
  const first = reader.varint(VERSION_MAX);
  const previousHash = headerHash(reader.raw(HASH_BYTES));
  if ((first === 1) !== (previousHash === ZERO_HASH)) throw notCanonical("previous hash");
  const count = reader.varint(RUN_CHANGESETS_MAX);
  if (count === 0) throw notCanonical("empty run");
  const changesets: SignedChangeset[] = [];
  let site: SiteId | null = null;
  for (let i = 0; i < count; i++) {
    const changeset = readChangeset(reader);
    const { header } = changeset;
    site ??= header.site;
    const keyMatches = header.publicKey === null || header.publicKey === author;
    if (header.site !== site || header.stream !== chain.stream || header.version !== first + i) {
      throw notCanonical("a run is consecutive changesets of one author");
    }
    if (!keyMatches) throw notCanonical("two keys in one run");
    changesets.push(changeset);
  }
  reader.end();
  return { ...chain, author, previousHash, changesets };
}

export function encodeBroadcast(broadcast: Broadcast): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(broadcast.changeset.payload.length + 256);
  writer.raw(broadcast.previousHashPrefix);
  writeChangeset(writer, broadcast.changeset);
  return writer.finish();
}

/** @throws MeshError ERR_NOT_CANONICAL, ERR_LIMIT, ERR_UNKNOWN_FORMAT */
export function decodeBroadcast(bytes: Uint8Array): Broadcast {
  if (bytes.length > BROADCAST_BYTES_MAX) throw new MeshError("ERR_LIMIT", "broadcast too large");
  const reader = new ByteReader(bytes);
  const previousHashPrefix = reader.raw(DEPENDENCY_HASH_BYTES);
  const changeset = readChangeset(reader);
  reader.end();
  if (changeset.header.version === 1 && previousHashPrefix.some((byte) => byte !== 0)) {
    throw notCanonical("previous hash prefix");
  }
  return { previousHashPrefix, changeset };
}

function writeChangeset(writer: ByteWriter, changeset: SignedChangeset): void {
  writer.sized(changeset.headerBytes).raw(changeset.signature).raw(changeset.payload);
}

function readChangeset(reader: ByteReader): SignedChangeset {
  const headerBytes = reader.sized(HEADER_BYTES_MAX);
  const header = decodeHeader(headerBytes);
  const signature = reader.raw(SIGNATURE_BYTES);
  const payload = reader.raw(header.payloadBytes);
  return { header, headerBytes, signature, payload };
}
