/**
 * What two devices say to each other once their codes have connected them, before libp2p takes the
 * connection over: each proves the key of its code, then they agree on one mesh. docs/PAIRING.md.
 * ```
 * proof:  u8 1 │ 64 signature over "rowmesh pairing 1" │ SHA-256(own code) │ SHA-256(other's code)
 * mesh:   u8 2 │ 32 SHA-256("rowmesh pairing mesh 1" │ mesh id), or nothing
 * invite: u8 3 │ invite, to a device without a mesh
 * ready:  u8 4
 * ```
 * The codes name the DTLS certificates, so a proof holds for this connection alone.
 *
 * @module
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { ByteWriter, encodeText, equalBytes } from "../protocol/bytes.ts";
import { MeshError } from "../protocol/errors.ts";
import { decodeInvite, type Invite } from "../protocol/genesis.ts";
import {
  fromHex,
  HASH_BYTES,
  type MeshId,
  type PublicKey,
  SIGNATURE_BYTES,
} from "../protocol/ids.ts";
import type { Ed25519 } from "../signing/ed25519.ts";
import type { PairingMessages } from "./pairing-channel.ts";

/** The device's own mesh, as far as a pairing may touch it. */
export interface PairingMesh {
  readonly id: () => MeshId | null;
  /** For the other device. @throws ERR_NO_MESH */
  readonly invite: () => Uint8Array;
  /** @throws ERR_MESH_DIFFERENT */
  readonly join: (invite: Invite) => Promise<void>;
  /** Does nothing when there is a mesh. */
  readonly found: () => Promise<void>;
}

export interface PairingHandshake {
  readonly ed25519: Ed25519;
  readonly messages: PairingMessages;
  readonly mesh: PairingMesh;
  readonly secretKey: Uint8Array;
  /** The codes as bytes. */
  readonly ownCode: Uint8Array;
  readonly otherCode: Uint8Array;
  readonly otherKey: PublicKey;
  /** Exactly one of the two founds a mesh when neither has one. */
  readonly founds: boolean;
}

const TYPES = { proof: 1, mesh: 2, invite: 3, ready: 4 } as const;
const DOMAIN = encodeText("rowmesh pairing 1");
const MESH_DOMAIN = encodeText("rowmesh pairing mesh 1");

/**
 * Resolves when both proved their keys and are in one mesh.
 * @throws ERR_PAIRING_FAILED, ERR_MESH_DIFFERENT; what joining throws
 */
export async function agree(handshake: PairingHandshake): Promise<void> {
  await proveKeys(handshake);
  await agreeOnMesh(handshake);
}

/** Resolves when the other side can take libp2p's bytes. */
export async function otherIsReady(messages: PairingMessages): Promise<void> {
  const body = await receive(messages, "ready");
  if (body.length !== 0) throw failed("not a rowmesh device");
}

export const sayReady = (messages: PairingMessages): void =>
  send(messages, "ready", new Uint8Array(0));

async function proveKeys(handshake: PairingHandshake): Promise<void> {
  const { ed25519, messages, secretKey, ownCode, otherCode, otherKey } = handshake;
  send(messages, "proof", await ed25519.sign(signed(ownCode, otherCode), secretKey));
  const signature = await receive(messages, "proof");
  const isProven =
    signature.length === SIGNATURE_BYTES &&
    (await ed25519.verify(signature, signed(otherCode, ownCode), fromHex(otherKey)));
  if (!isProven) throw failed("the other device has not the key of its code");
}

const signed = (own: Uint8Array, other: Uint8Array): Uint8Array<ArrayBuffer> =>
  new ByteWriter(DOMAIN.length + 2 * HASH_BYTES)
    .raw(DOMAIN)
    .raw(sha256(own))
    .raw(sha256(other))
    .finish();

/** Two devices of different meshes learn that, and nothing of the other's mesh. */
async function agreeOnMesh({ messages, mesh, founds }: PairingHandshake): Promise<void> {
  const own = meshHash(mesh.id());
  send(messages, "mesh", own);
  const theirs = await receive(messages, "mesh");
  if (theirs.length > 0 && own.length > 0) {
    if (equalBytes(own, theirs)) return;
    throw new MeshError("ERR_MESH_DIFFERENT", "the other device's mesh");
  }
  if (theirs.length > 0 || (own.length === 0 && !founds)) {
    return mesh.join(await receiveInvite(messages));
  }
  await mesh.found();
  send(messages, "invite", mesh.invite());
}

const meshHash = (id: MeshId | null): Uint8Array =>
  id === null
    ? new Uint8Array(0)
    : sha256.create().update(MESH_DOMAIN).update(fromHex(id)).digest();

async function receiveInvite(messages: PairingMessages): Promise<Invite> {
  const bytes = await receive(messages, "invite");
  try {
    return decodeInvite(bytes);
  } catch (cause) {
    throw new MeshError("ERR_PAIRING_FAILED", "not an invite", { cause });
  }
}

function send(messages: PairingMessages, type: keyof typeof TYPES, body: Uint8Array): void {
  messages.send(new ByteWriter(1 + body.length).u8(TYPES[type]).raw(body).finish());
}

async function receive(messages: PairingMessages, type: keyof typeof TYPES): Promise<Uint8Array> {
  const message = await messages.receive();
  if (message[0] !== TYPES[type]) throw failed(`expected ${type}`);
  return message.subarray(1);
}

const failed = (why: string): MeshError => new MeshError("ERR_PAIRING_FAILED", why);
