/**
 * Peers of one mesh find each other by multicast DNS (libp2p's, in Node). What anybody on the LAN
 * answers goes to who dials, each time, and is not kept here: libp2p's own way keeps every peer that
 * was ever named, and tells of each once. One forged answer then hid a hub until the process ended,
 * and so did a real one, when the hub got another address.
 *
 * @module
 */

import type { PeerDiscovery, PeerInfo, Startable } from "@libp2p/interface";
import type { MulticastDNSComponents } from "@libp2p/mdns";

export interface MulticastDiscovery {
  /** For libp2p, which starts and ends it. */
  readonly service: (components: MulticastDNSComponents) => Startable;
  /** Whoever answers says any peer and any address. @returns the undo. */
  readonly onFound: (listener: (peer: PeerInfo) => void) => () => void;
}

/** `mdns`: libp2p's, with its settings. */
export function createMulticastDiscovery(
  mdns: (components: MulticastDNSComponents) => PeerDiscovery & Partial<Startable>,
): MulticastDiscovery {
  const listeners = new Set<(peer: PeerInfo) => void>();
  return {
    service: (components) => {
      const discovery = mdns(components);
      discovery.addEventListener("peer", ({ detail }) => {
        for (const listener of listeners) listener(detail);
      });
      // No more than this is libp2p told, or it listens too.
      return { start: () => discovery.start?.(), stop: () => discovery.stop?.() };
    },
    onFound: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
