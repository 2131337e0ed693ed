/**
 * What a libp2p address says about the connection made over it.
 *
 * @module
 */

import type { Connection } from "@libp2p/interface";
import type { PeerId } from "../protocol/ids.ts";
import type { LinkKind } from "../seams.ts";

export type AddressLike = { readonly getComponents: () => readonly { readonly name: string }[] };

/**
 * `/webrtc` before `/p2p-circuit` before the rest: a WebRTC connection names the relay that
 * signalled for it, and a relayed one names the relay's own transport.
 */
export function linkKindOf(address: AddressLike): LinkKind {
  const names = new Set(address.getComponents().map(({ name }) => name));
  if (names.has("webrtc")) return "webrtc";
  if (names.has("p2p-circuit")) return "relayed";
  if (names.has("webrtc-direct")) return "webrtc-direct";
  if (names.has("ws") || names.has("wss")) return "websocket";
  if (names.has("tcp")) return "tcp";
  return names.has("memory") ? "memory" : "none";
}

/** Frames and gossip go over these only; relayed ones carry signalling. */
export const isDirect = (connection: Connection): boolean =>
  connection.limits === undefined && linkKindOf(connection.remoteAddr) !== "relayed";

/** Of a multiaddr that names this machine itself. */
export const isLoopback = (address: string): boolean => /^\/ip4\/127\.|^\/ip6\/::1\//.test(address);

/** The relay that a relayed connection goes through, if its address tells. */
export function relayOf(connection: Connection): PeerId | null {
  const components = connection.remoteAddr.getComponents();
  const circuit = components.findIndex(({ name }) => name === "p2p-circuit");
  const relay = components.slice(0, Math.max(circuit, 0)).findLast(({ name }) => name === "p2p");
  return relay?.value ?? null;
}
