/**
 * The identities of rowmesh. Three never mix: a {@link PeerId} is a connection, a {@link SiteId} is
 * a replica, a {@link PublicKey} is an author. Byte identities are lower-case hex strings in memory
 * (usable as map keys), raw bytes on the wire.
 *
 * @module
 */

import { MeshError } from "./errors.ts";

/** 32 hex digits: the first 16 bytes of SHA-256("rowmesh site 1" ‖ public key). */
export type SiteId = string & { readonly __siteId: true };
/** 64 hex digits: an Ed25519 public key. */
export type PublicKey = string & { readonly __publicKey: true };
/** 64 hex digits: SHA-256(domain ‖ genesis body). */
export type MeshId = string & { readonly __meshId: true };
/** 64 hex digits: SHA-256 of a changeset's signed message. The key of the log. */
export type HeaderHash = string & { readonly __headerHash: true };
/** A libp2p peer id, or any name a network gives a connected peer. */
export type PeerId = string;

export const SITE_ID_BYTES = 16;
export const PUBLIC_KEY_BYTES = 32;
export const HASH_BYTES = 32;
export const SIGNATURE_BYTES = 64;

/** The previous hash of an author's first changeset, and the mesh of drafts. */
export const ZERO_HASH = "00".repeat(HASH_BYTES) as HeaderHash;
/** Drafts are signed for this mesh until a real one is bound. Never released. */
export const DRAFT_MESH = "00".repeat(HASH_BYTES) as MeshId;

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

export function toHex(bytes: Uint8Array): string {
  let hex = "";
  for (const byte of bytes) hex += HEX[byte];
  return hex;
}

/** @throws MeshError ERR_NOT_CANONICAL unless `hex` is an even number of lower-case hex digits. */
export function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  if (hex.length % 2 !== 0 || /[^0-9a-f]/.test(hex)) {
    throw new MeshError("ERR_NOT_CANONICAL", "not lower-case hex");
  }
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

const sized =
  <Id extends string>(name: string, length: number) =>
  (value: Uint8Array | string): Id => {
    const hex = typeof value === "string" ? value : toHex(value);
    if (hex.length !== 2 * length || /[^0-9a-f]/.test(hex)) {
      throw new MeshError("ERR_NOT_CANONICAL", `${name} must be ${length} bytes`);
    }
    return hex as Id;
  };

/** Each takes bytes or hex. @throws MeshError ERR_NOT_CANONICAL on another length or alphabet. */
export const siteId: (value: Uint8Array | string) => SiteId = sized("site id", SITE_ID_BYTES);
export const publicKey: (value: Uint8Array | string) => PublicKey = sized(
  "public key",
  PUBLIC_KEY_BYTES,
);
export const meshId: (value: Uint8Array | string) => MeshId = sized("mesh id", HASH_BYTES);
export const headerHash: (value: Uint8Array | string) => HeaderHash = sized(
  "header hash",
  HASH_BYTES,
);
