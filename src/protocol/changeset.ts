/**
 * Changeset: one local transaction, the unit of everything. Header, the bytes a signature covers,
 * and the type that only `src/signing` can make. The payload is in `payload.ts`.
 *
 * Header (PROTOCOL §2):
 * ```
 * u8 format │ u8 flags │ 16 site │ varint version │ [32 public key, iff version 1] │ varint payload size
 * │ varint count │ count × (16 site │ varint version │ 8 header hash prefix), ascending
 * ```
 * flags: bits 0–1 kind (0 data, 1 membership, 2 checkpoint), bit 2 stream (0 data, 1 membership),
 * bits 3–4 encoding (0 plain, 1 deflated, 2 sealed), the rest 0. Sealed is followed by 8 bytes of
 * key id. A checkpoint will carry, in its payload, what it replaces.
 *
 * @module
 */

import { ByteReader, ByteWriter, compareBytes, notCanonical } from "./bytes.ts";
import { MeshError } from "./errors.ts";
import {
  fromHex,
  type HeaderHash,
  type MeshId,
  PUBLIC_KEY_BYTES,
  type PublicKey,
  publicKey,
  SITE_ID_BYTES,
  type SiteId,
  siteId,
} from "./ids.ts";
import {
  DEPENDENCIES_MAX,
  DEPENDENCY_HASH_BYTES,
  FORMAT_VERSION,
  PAYLOAD_BYTES_MAX,
  VERSION_MAX,
} from "./limits.ts";

/** Each author has two chains of its own. */
export type Stream = "data" | "membership";
export type ChangesetKind = "data" | "membership" | "checkpoint";
export type Encoding =
  | { readonly type: "plain" }
  | { readonly type: "deflated" }
  | { readonly type: "sealed"; readonly keyId: Uint8Array };

/** A changeset that was settled at the author when its transaction began. */
export interface Dependency {
  readonly site: SiteId;
  readonly version: number;
  /** The first 8 bytes of its header hash: exact even when a key forks. */
  readonly hashPrefix: Uint8Array;
}

export interface ChangesetHeader {
  readonly kind: ChangesetKind;
  readonly stream: Stream;
  readonly encoding: Encoding;
  readonly site: SiteId;
  /** 1, 2, 3 … per author and stream. */
  readonly version: number;
  /** Present exactly when version is 1. */
  readonly publicKey: PublicKey | null;
  readonly payloadBytes: number;
  /**
   * Ascending by site, then version, then hash prefix. The predecessor is implied; the author itself
   * is named only where its key forked.
   */
  readonly dependencies: readonly Dependency[];
}

/** What is signed beside a payload. `headerBytes` is `encodeHeader(header)`. */
interface UnsignedHeader {
  readonly header: ChangesetHeader;
  readonly headerBytes: Uint8Array;
  /** Of the author's previous changeset in this stream; `ZERO_HASH` for version 1. */
  readonly previousHash: HeaderHash;
}

/** What `sign` takes. */
export interface UnsignedChangeset extends UnsignedHeader {
  readonly payload: Uint8Array;
}

/** A changeset with a payload above one chunk, which is elsewhere: what `signOutline` takes. */
export interface UnsignedOutline extends UnsignedHeader {
  /** 32 bytes for each chunk, in order. */
  readonly chunkHashes: Uint8Array;
}

/** As it arrived: header bytes untouched, nothing checked but their form. */
export interface SignedChangeset {
  readonly header: ChangesetHeader;
  readonly headerBytes: Uint8Array;
  readonly signature: Uint8Array;
  readonly payload: Uint8Array;
}

/** What is verified of a changeset whose payload may not be here. */
interface VerifiedHeader extends UnsignedHeader {
  readonly signature: Uint8Array;
  readonly author: PublicKey;
  readonly mesh: MeshId;
  readonly headerHash: HeaderHash;
  readonly __verified: true;
}

/**
 * Its author's key signed exactly these bytes for exactly this mesh, after exactly this
 * predecessor. Only `src/signing` makes one: the type is the receipt.
 */
export interface VerifiedChangeset extends VerifiedHeader, SignedChangeset {
  /** Of its chunks, 32 bytes each, in order; null up to one chunk. */
  readonly chunkHashes: Uint8Array | null;
}

/** The same of a changeset whose payload is not here: chunks that have these hashes are its own. */
export interface VerifiedOutline extends VerifiedHeader {
  readonly chunkHashes: Uint8Array;
}

const KINDS: readonly ChangesetKind[] = ["data", "membership", "checkpoint"];
const ENCODINGS: readonly Encoding["type"][] = ["plain", "deflated", "sealed"];
const SEALED_KEY_ID_BYTES = 8;

export function encodeHeader(header: ChangesetHeader): Uint8Array<ArrayBuffer> {
  const flags =
    KINDS.indexOf(header.kind) |
    (header.stream === "membership" ? 4 : 0) |
    (ENCODINGS.indexOf(header.encoding.type) << 3);
  const writer = new ByteWriter(128)
    .u8(FORMAT_VERSION)
    .u8(flags)
    .raw(fromHex(header.site))
    .varint(header.version);
  if (header.publicKey !== null) writer.raw(fromHex(header.publicKey));
  writer.varint(header.payloadBytes);
  if (header.encoding.type === "sealed") writer.raw(header.encoding.keyId);
  writer.varint(header.dependencies.length);
  for (const { site, version, hashPrefix } of header.dependencies) {
    writer.raw(fromHex(site)).varint(version).raw(hashPrefix);
  }
  return writer.finish();
}

/** @throws MeshError ERR_NOT_CANONICAL, ERR_LIMIT, ERR_UNKNOWN_FORMAT */
export function decodeHeader(bytes: Uint8Array): ChangesetHeader {
  const reader = new ByteReader(bytes);
  const header = readHeader(reader);
  reader.end();
  return header;
}

function readHeader(reader: ByteReader): ChangesetHeader {
  const format = reader.u8();
  if (format !== FORMAT_VERSION) throw new MeshError("ERR_UNKNOWN_FORMAT", `format ${format}`);
  const flags = reader.u8();
  const kind = KINDS[flags & 3];
  const encodingType = ENCODINGS[(flags >> 3) & 3];
  if (kind === undefined || encodingType === undefined || flags >> 5 !== 0) {
    throw notCanonical(`flags ${flags}`);
  }
  const stream: Stream = (flags & 4) === 0 ? "data" : "membership";
  if ((kind === "membership") !== (stream === "membership")) throw notCanonical("kind and stream");
  const site = siteId(reader.raw(SITE_ID_BYTES));
  const version = readVersion(reader);
  const key = version === 1 ? publicKey(reader.raw(PUBLIC_KEY_BYTES)) : null;
  const payloadBytes = reader.varint(PAYLOAD_BYTES_MAX);
  const encoding: Encoding =
    encodingType === "sealed"
      ? { type: "sealed", keyId: reader.raw(SEALED_KEY_ID_BYTES).slice() }
      : { type: encodingType };
  const dependencies = readDependencies(reader);
  return { kind, stream, encoding, site, version, publicKey: key, payloadBytes, dependencies };
}

function readDependencies(reader: ByteReader): Dependency[] {
  const dependencies: Dependency[] = [];
  const count = reader.varint(DEPENDENCIES_MAX);
  let previous: Dependency | null = null;
  for (let i = 0; i < count; i++) {
    const site = siteId(reader.raw(SITE_ID_BYTES));
    const version = readVersion(reader);
    const dependency = { site, version, hashPrefix: reader.raw(DEPENDENCY_HASH_BYTES).slice() };
    if (previous !== null && compareDependencies(previous, dependency) >= 0) {
      throw notCanonical("dependency order");
    }
    previous = dependency;
    dependencies.push(dependency);
  }
  return dependencies;
}

/** The order in a header. */
export const compareDependencies = (a: Dependency, b: Dependency): number =>
  a.site === b.site
    ? a.version - b.version || compareBytes(a.hashPrefix, b.hashPrefix)
    : a.site < b.site
      ? -1
      : 1;

function readVersion(reader: ByteReader): number {
  const version = reader.varint(VERSION_MAX);
  if (version === 0) throw notCanonical("version 0");
  return version;
}
