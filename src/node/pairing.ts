/**
 * Pairing: two devices link by two codes that people hand over, with no other machine. Whose device
 * it is stands in the code; that it is the one, WebRTC (by the code's certificate), a signature and
 * libp2p's Noise check in turn, before it is told anything. Steps: docs/PAIRING.md.
 *
 * @module
 */

import { isMeshError, MeshError } from "../protocol/errors.ts";
import type { PeerId } from "../protocol/ids.ts";
import { PAIRING_HANDSHAKE_MS, PAIRING_MS, PAIRINGS_MAX } from "../protocol/limits.ts";
import type { Ed25519 } from "../signing/ed25519.ts";
import type { KeyPair } from "../signing/keys.ts";
import type { Mesh, Pairing, PairingPeer } from "./api.ts";
import type { AdoptConnection } from "./paired-connection.ts";
import type { OpenPairingChannel, PairingChannel } from "./pairing-channel.ts";
import {
  decodePairingCode,
  encodePairingCode,
  keyFingerprint,
  meshTagOf,
  pairingBytes,
  type PairingCode,
  pairingText,
} from "./pairing-code.ts";
import { agree, otherIsReady, type PairingMesh, sayReady } from "./pairing-handshake.ts";
import { peerIdOfPublicKey } from "./peer-identity.ts";

export interface PairingsOptions {
  readonly ed25519: Ed25519;
  readonly openPairingChannel: OpenPairingChannel | null;
  readonly keys: () => KeyPair;
  readonly mesh: PairingMesh;
  readonly goOnline: () => Promise<void>;
  readonly adopt: AdoptConnection;
  readonly nameOf: (peer: PeerId) => string | null;
}

export interface Pairings {
  readonly open: Mesh["pair"];
  /** Gives up all that are open, for good. */
  readonly close: () => void;
}

export function createPairings(options: PairingsOptions): Pairings {
  /** What ends each of them. */
  const open = new Set<AbortController>();
  let closed = false;

  return {
    open: async ({ signal } = {}) => {
      if (closed) throw new MeshError("ERR_CLOSED", "the mesh is closed");
      if (signal?.aborted === true) throw aborted();
      if (options.openPairingChannel === null) {
        throw new MeshError("ERR_NOT_SUPPORTED", "pairing needs the WebRTC of a browser");
      }
      if (open.size >= PAIRINGS_MAX) {
        throw new MeshError("ERR_PAIRING_FAILED", `${PAIRINGS_MAX} pairings are open: close one`);
      }
      const ending = new AbortController();
      open.add(ending);
      const expiry = setTimeout(() => ending.abort(failed("nobody came in time")), PAIRING_MS);
      const giveUp = (): void => ending.abort(aborted());
      signal?.addEventListener("abort", giveUp, { once: true });
      const settle = (): void => {
        open.delete(ending);
        clearTimeout(expiry);
        signal?.removeEventListener("abort", giveUp);
      };
      ending.signal.addEventListener("abort", settle, { once: true });
      try {
        const channel = await options.openPairingChannel();
        if (ending.signal.aborted) channel.close();
        ending.signal.throwIfAborted();
        return createPairing(options, channel, ending, settle);
      } catch (error) {
        settle();
        throw error;
      }
    },
    close: () => {
      closed = true;
      for (const each of open) each.abort(new MeshError("ERR_CLOSED", "the mesh is closed"));
    },
  };
}

/** `connected` is called when there is nothing left to end. */
function createPairing(
  options: PairingsOptions,
  channel: PairingChannel,
  ending: AbortController,
  connected: () => void,
): Pairing {
  const { mesh, nameOf } = options;
  const keys = options.keys();
  const ownCode = encodePairingCode({
    publicKey: keys.publicKey,
    meshTag: tagOf(mesh),
    route: channel.route,
  });
  let state: "open" | "connecting" | "connected" = "open";
  ending.signal.addEventListener("abort", () => {
    if (state !== "connected") channel.close();
  });

  const peerOf = (code: PairingCode): PairingPeer => pairingPeerOf(code, nameOf);

  /** What can be told without asking the other device. */
  function assertMeetable({ publicKey, meshTag }: PairingCode): void {
    if (publicKey === keys.publicKey) {
      throw new MeshError("ERR_PAIRING_INVALID", "this device's own code: read the other's");
    }
    const ownTag = tagOf(mesh);
    if (meshTag !== null && ownTag !== null && meshTag !== ownTag) {
      throw new MeshError("ERR_MESH_DIFFERENT", "the other device's mesh");
    }
    ending.signal.throwIfAborted();
    if (state !== "open") throw failed("each code is for one connection: make a new one");
    if (options.keys().publicKey !== keys.publicKey) throw failed("this device took a new key");
  }

  async function meet({ code, bytes }: ReadCode, stop: AbortController): Promise<void> {
    const { peerId: peer } = peerOf(code);
    const isFirst = peerIdOfPublicKey(keys.publicKey) < peer;
    await channel.connect(code.route, isFirst ? "passive" : "active");
    const { messages, connection, data } = channel;
    const limit = setTimeout(() => stop.abort(failed("too slow")), PAIRING_HANDSHAKE_MS);
    try {
      await agree({
        ed25519: options.ed25519,
        messages,
        mesh,
        secretKey: keys.secretKey,
        ownCode,
        otherCode: bytes,
        otherKey: code.publicKey,
        founds: isFirst,
      });
      stop.signal.throwIfAborted();
      await options.goOnline();
      const openedBy = isFirst ? "us" : "them";
      if (openedBy === "us") await otherIsReady(messages);
      const adopted = options.adopt({ connection, data, peer, openedBy }, stop.signal);
      if (openedBy === "them") sayReady(messages);
      await adopted;
    } finally {
      clearTimeout(limit);
    }
  }

  return {
    code: pairingText(ownCode),
    fingerprint: keyFingerprint(keys.publicKey),
    read: (text) => peerOf(readCode(text).code),
    connect: async (text, { signal } = {}) => {
      const parsed = readCode(text);
      assertMeetable(parsed.code);
      if (signal?.aborted === true) throw aborted();
      state = "connecting";
      const giveUp = (): void => ending.abort(aborted());
      signal?.addEventListener("abort", giveUp, { once: true });
      try {
        await unlessAborted(meet(parsed, ending), ending.signal);
        state = "connected";
        connected();
        return peerOf(parsed.code);
      } catch (cause) {
        const error = isOwn(cause) ? cause : failed("could not connect", cause);
        ending.abort(error);
        throw error;
      } finally {
        signal?.removeEventListener("abort", giveUp);
      }
    },
    close: async () => ending.abort(aborted()),
  };
}

/** Whose code it is. @throws ERR_PAIRING_INVALID */
export const readPairingPeer = (text: string, nameOf: PairingsOptions["nameOf"]): PairingPeer =>
  pairingPeerOf(readCode(text).code, nameOf);

function pairingPeerOf({ publicKey }: PairingCode, nameOf: PairingsOptions["nameOf"]): PairingPeer {
  const peerId = peerIdOfPublicKey(publicKey);
  return { peerId, fingerprint: keyFingerprint(publicKey), name: nameOf(peerId) };
}

interface ReadCode {
  readonly code: PairingCode;
  readonly bytes: Uint8Array;
}

function readCode(text: string): ReadCode {
  const bytes = pairingBytes(text);
  return { bytes, code: decodePairingCode(bytes) };
}

function tagOf(mesh: PairingMesh): string | null {
  const id = mesh.id();
  return id === null ? null : meshTagOf(id);
}

const aborted = (): MeshError => new MeshError("ERR_ABORTED", "the pairing was given up");
const failed = (why: string, cause?: unknown): MeshError =>
  new MeshError("ERR_PAIRING_FAILED", why, { cause });

/** What says more than that it failed; the other device's faults do not. */
const OWN_CODES =
  /^ERR_(PAIRING_(FAILED|INVALID)|MESH_DIFFERENT|ABORTED|CLOSED|STORAGE_(FULL|LOST))$/;

const isOwn = (error: unknown): error is MeshError =>
  isMeshError(error) && OWN_CODES.test(error.code);

/** Rejects with the signal's reason. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason as MeshError);
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    promise.then(resolve, reject);
  });
}
