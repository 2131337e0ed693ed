/**
 * Dials addresses to see whether somebody answers there, under a throwaway identity that belongs to
 * no mesh and says nothing. For `rowmesh doctor`.
 *
 * @module
 */

import { identify } from "@libp2p/identify";
import { noise } from "@libp2p/noise";
import { ping } from "@libp2p/ping";
import { tcp } from "@libp2p/tcp";
import { webRTCDirect } from "@libp2p/webrtc";
import { webSockets } from "@libp2p/websockets";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";
import { MeshError } from "../protocol/errors.ts";
import { RTC_CONFIGURATION } from "./transports.ts";
import { yamuxThatEndsQuietly } from "./yamux-window-update.ts";

const PROBE_TIMEOUT_MS = 8_000;

export interface Prober {
  /**
   * Connects, proves that the peer of the address answers, and hangs up. One at a time.
   * @returns a round trip, in milliseconds. @throws MeshError ERR_NETWORK
   */
  readonly probe: (address: string) => Promise<number>;
  readonly close: () => Promise<void>;
}

export async function openProber(): Promise<Prober> {
  const libp2p = await createLibp2p({
    addresses: { listen: [] },
    transports: [tcp(), webSockets(), webRTCDirect({ rtcConfiguration: RTC_CONFIGURATION })],
    connectionEncrypters: [noise()],
    streamMuxers: [yamuxThatEndsQuietly()],
    connectionGater: { denyDialMultiaddr: () => false },
    connectionManager: { reconnectRetries: 0, resolvers: {} },
    services: { identify: identify(), ping: ping() },
  });
  const pinging = libp2p.services.ping;
  return {
    probe: async (address) => {
      const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS);
      try {
        const connection = await libp2p.dial(multiaddr(address), { signal });
        try {
          return await pinging.ping(connection.remotePeer, { signal });
        } finally {
          await connection.close({ signal }).catch((error: Error) => connection.abort(error));
        }
      } catch (cause) {
        throw new MeshError("ERR_NETWORK", reasonOf(cause), { cause });
      }
    },
    close: async () => libp2p.stop(),
  };
}

/** libp2p collects the failures of all tries. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join(", ");
  if (!(error instanceof Error)) return String(error);
  return error.name === "TimeoutError" || error.name === "AbortError" ? "no answer" : error.message;
}
