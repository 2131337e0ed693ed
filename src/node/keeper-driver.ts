/**
 * Carries out what `connection-keeper.ts` decides, and tells it what happened in libp2p.
 *
 * @module
 */

import type { Connection, Libp2p } from "@libp2p/interface";
import { isPrivate } from "@libp2p/utils";
import { type Multiaddr, multiaddr } from "@multiformats/multiaddr";
import type { PeerId } from "../protocol/ids.ts";
import { FOUND_ADDRESSES_MAX } from "../protocol/limits.ts";
import type { Clock } from "../seams.ts";
import type { ConnectionKeeper, KeeperEffect, KeeperEvent } from "./connection-keeper.ts";
import { isDirect, isLoopback, relayOf } from "./link-kind.ts";
import type { MulticastDiscovery } from "./multicast-discovery.ts";

/** One try of one address. A WebRTC dial over a relay takes 0.2 s on a LAN, 2 s on a busy page. */
export const DIAL_TIMEOUT_MS = 6_000;
/** TCP sends its first packet again after 1, 3 and 7 s: waiting for the last is slower than to dial anew. */
const DIAL_TIMEOUT_TCP_MS = 4_000;

export interface KeeperDriverOptions {
  readonly libp2p: Libp2p;
  readonly keeper: ConnectionKeeper;
  readonly clock: Clock;
  readonly discovery: MulticastDiscovery | null;
  /** Filled with the peers being dialled: the connection gater lets no other dial pass. */
  readonly allowedDials: Set<PeerId>;
}

export interface KeeperDriver {
  readonly handle: (event: KeeperEvent) => void;
  /** Ends the dials under way; events have no effect afterwards. */
  readonly stop: () => void;
}

/** Listens at once; call before libp2p starts. */
export function driveKeeper(options: KeeperDriverOptions): KeeperDriver {
  const { libp2p, keeper, clock, discovery, allowedDials } = options;
  const stopping = new AbortController();
  let wakeTimer: ReturnType<typeof setTimeout> | undefined;
  let network = new AbortController();

  function handle(event: KeeperEvent): void {
    if (stopping.signal.aborted) return;
    if (event.type === "networkChanged") {
      // Dials begun on the network before lead nowhere, and would take their time to say so.
      network.abort();
      network = new AbortController();
    }
    for (const effect of keeper.handle(event, clock.nowMs())) carryOut(effect);
  }

  function carryOut(effect: KeeperEffect): void {
    switch (effect.type) {
      case "dial":
        void dial(effect.peer, effect.addresses);
        return;
      case "close":
        void closeConnection(libp2p, effect.connection);
        return;
      case "wake":
        clearTimeout(wakeTimer);
        wakeTimer = setTimeout(() => handle({ type: "woken" }), Math.max(0, effect.delayMs));
    }
  }

  async function dial(peer: PeerId, addresses: readonly string[]): Promise<void> {
    allowedDials.add(peer);
    const ending = AbortSignal.any([stopping.signal, network.signal]);
    const isOpened = await dialFirst(libp2p, addresses, ending);
    allowedDials.delete(peer);
    handle({ type: "dialled", peer, outcome: isOpened ? "opened" : "failed" });
  }

  const opened = ({ detail }: CustomEvent<Connection>): void => handle(openedEvent(detail));
  const closed = ({ detail }: CustomEvent<Connection>): void =>
    handle({ type: "closed", connection: detail.id });
  libp2p.addEventListener("connection:open", opened);
  libp2p.addEventListener("connection:close", closed);
  const stopFinding = discovery?.onFound(({ id, multiaddrs }) => {
    const peer = id.toString();
    handle({ type: "found", peer, addresses: foundAddresses(multiaddrs, peer) });
  });

  return {
    handle,
    stop: () => {
      stopping.abort();
      clearTimeout(wakeTimer);
      libp2p.removeEventListener("connection:open", opened);
      libp2p.removeEventListener("connection:close", closed);
      stopFinding?.();
    },
  };
}

const openedEvent = (connection: Connection): KeeperEvent => ({
  type: "opened",
  connection: {
    id: connection.id,
    peer: connection.remotePeer.toString(),
    path: isDirect(connection) ? "direct" : "relayed",
    openedBy: connection.direction === "outbound" ? "us" : "them",
    relay: relayOf(connection),
  },
});

/**
 * Whoever answers by multicast says any address: only those of a LAN are dialled, over TCP, which
 * every Node peer that listens has. Those of the asker's own machine come last.
 */
export function foundAddresses(multiaddrs: readonly Multiaddr[], peer: PeerId): readonly string[] {
  const plain = multiaddrs.filter((address) => {
    const names = address.getComponents().map(({ name }) => name);
    return PLAIN_TCP.test(names.join("/")) && isPrivate(address);
  });
  const addresses = plain.map((address) => `${hostAndPort(address)}/p2p/${peer}`);
  const elsewhere = addresses.filter((address) => !isLoopback(address));
  const here = addresses.filter(isLoopback);
  return [...new Set([...elsewhere, ...here])].slice(0, FOUND_ADDRESSES_MAX);
}

const PLAIN_TCP = /^ip[46]\/tcp(\/p2p)?$/;

const hostAndPort = (address: Multiaddr): string => address.toString().replace(/\/p2p\/.*$/, "");

/** One after the other: side by side they would end in several connections. */
async function dialFirst(
  libp2p: Libp2p,
  addresses: readonly string[],
  ending: AbortSignal,
): Promise<boolean> {
  for (const address of addresses) {
    if (ending.aborted) return false;
    const timeoutMs = /\/tcp\//.test(address) ? DIAL_TIMEOUT_TCP_MS : DIAL_TIMEOUT_MS;
    const signal = AbortSignal.any([ending, AbortSignal.timeout(timeoutMs)]);
    try {
      await libp2p.dial(multiaddr(address), { signal });
      return true;
    } catch {
      // Not there, or not reachable this way: the keeper decides when to try again.
    }
  }
  return false;
}

async function closeConnection(libp2p: Libp2p, id: string): Promise<void> {
  const connection = libp2p.getConnections().find((each) => each.id === id);
  await connection?.close().catch((error: Error) => connection.abort(error));
}
