/**
 * Founding a mesh, and checking the genesis that a join link carries. The founder signs
 * "rowmesh genesis 1" ‖ body; the mesh id leaves the signature out (PROTOCOL §1).
 *
 * @module
 */

import { ByteWriter, encodeText } from "../protocol/bytes.ts";
import { MeshError } from "../protocol/errors.ts";
import {
  decodeGenesisBody,
  encodeGenesisBody,
  type Genesis,
  type GenesisBody,
} from "../protocol/genesis.ts";
import { fromHex, type MeshId } from "../protocol/ids.ts";
import type { Ed25519 } from "./ed25519.ts";
import { type KeyPair, meshIdOf } from "./keys.ts";

export interface VerifiedGenesis {
  readonly mesh: MeshId;
  readonly body: GenesisBody;
}

const DOMAIN = encodeText("rowmesh genesis 1");

const signedGenesis = (bodyBytes: Uint8Array): Uint8Array<ArrayBuffer> =>
  new ByteWriter(DOMAIN.length + bodyBytes.length).raw(DOMAIN).raw(bodyBytes).finish();

/** Signed by its founder. `random` is 16 strong random bytes. */
export async function createGenesis(
  ed25519: Ed25519,
  founder: KeyPair,
  mesh: Omit<GenesisBody, "founder">,
): Promise<Genesis> {
  const bodyBytes = encodeGenesisBody({ ...mesh, founder: founder.publicKey });
  return { bodyBytes, signature: await ed25519.sign(signedGenesis(bodyBytes), founder.secretKey) };
}

/** @throws MeshError ERR_SIGNATURE_INVALID, ERR_NOT_CANONICAL, ERR_LIMIT, ERR_UNKNOWN_FORMAT */
export async function verifyGenesis(ed25519: Ed25519, genesis: Genesis): Promise<VerifiedGenesis> {
  const body = decodeGenesisBody(genesis.bodyBytes);
  const message = signedGenesis(genesis.bodyBytes);
  if (!(await ed25519.verify(genesis.signature, message, fromHex(body.founder)))) {
    throw new MeshError("ERR_SIGNATURE_INVALID", "the genesis is not its founder's");
  }
  return { mesh: meshIdOf(genesis.bodyBytes), body };
}
