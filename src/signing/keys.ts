/**
 * Keys and the identities that follow from them. A site id proves its key, a mesh id its genesis:
 * both are hashes.
 *
 * @module
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { ByteWriter, encodeText } from "../protocol/bytes.ts";
import {
  fromHex,
  type MeshId,
  meshId,
  type PublicKey,
  publicKey,
  SITE_ID_BYTES,
  type SiteId,
  siteId,
} from "../protocol/ids.ts";
import { type Ed25519, SECRET_KEY_BYTES } from "./ed25519.ts";

export interface KeyPair {
  /** 32 bytes. Whoever has them is this author. */
  readonly secretKey: Uint8Array;
  readonly publicKey: PublicKey;
  readonly siteId: SiteId;
}

const SITE_DOMAIN = encodeText("rowmesh site 1");
const MESH_DOMAIN = encodeText("rowmesh mesh 1");

/** The key pair of 32 strong random bytes, which are copied. @throws RangeError on another length. */
export async function createKeyPair(ed25519: Ed25519, random: Uint8Array): Promise<KeyPair> {
  if (random.length !== SECRET_KEY_BYTES) throw new RangeError("a secret key is 32 bytes");
  const secretKey = random.slice();
  const author = publicKey(await ed25519.publicKeyOf(secretKey));
  return { secretKey, publicKey: author, siteId: siteIdOf(author) };
}

/** The first 16 bytes of SHA-256("rowmesh site 1" ‖ public key). */
export const siteIdOf = (author: PublicKey): SiteId =>
  siteId(hashOf(SITE_DOMAIN, fromHex(author)).subarray(0, SITE_ID_BYTES));

/** SHA-256("rowmesh mesh 1" ‖ genesis body), the signature excluded. */
export const meshIdOf = (genesisBody: Uint8Array): MeshId =>
  meshId(hashOf(MESH_DOMAIN, genesisBody));

const hashOf = (domain: Uint8Array, bytes: Uint8Array): Uint8Array =>
  sha256(new ByteWriter(domain.length + bytes.length).raw(domain).raw(bytes).finish());
