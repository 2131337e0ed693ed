/**
 * The libp2p identity of a replica: the peer id is made from the author's own Ed25519 key, so that
 * the Noise handshake of every connection proves whose device is at the other end.
 *
 * @module
 */

import { generateKeyPairFromSeed, publicKeyFromRaw } from "@libp2p/crypto/keys";
import type { PrivateKey } from "@libp2p/interface";
import { peerIdFromPublicKey, peerIdFromString } from "@libp2p/peer-id";
import { MeshError } from "../protocol/errors.ts";
import { fromHex, type PeerId, type PublicKey, publicKey } from "../protocol/ids.ts";

/** `secretKey`: the 32-byte Ed25519 seed. */
export const libp2pPrivateKey = (secretKey: Uint8Array): Promise<PrivateKey> =>
  generateKeyPairFromSeed("Ed25519", secretKey);

/** `12D3KooW…` */
export const peerIdOfPublicKey = (key: PublicKey): PeerId =>
  peerIdFromPublicKey(publicKeyFromRaw(fromHex(key))).toString();

/** @throws MeshError ERR_NOT_CANONICAL when `peer` is not the peer id of an Ed25519 key. */
export function publicKeyOfPeerId(peer: PeerId): PublicKey {
  let raw: Uint8Array | undefined;
  try {
    const id = peerIdFromString(peer);
    if (id.type === "Ed25519") raw = id.publicKey.raw;
  } catch (cause) {
    throw new MeshError("ERR_NOT_CANONICAL", `not a peer id: ${peer.slice(0, 64)}`, { cause });
  }
  if (raw === undefined) throw new MeshError("ERR_NOT_CANONICAL", "peer id without Ed25519 key");
  return publicKey(raw);
}
