/**
 * Transports of Node: TCP between Node peers, WebSocket and `webrtc-direct` for browsers.
 *
 * Node neither reserves relays nor dials `/webrtc`: a reservation on a relay that was reached over
 * an inbound WebRTC connection throws an uncaught exception out of circuit-relay-v2 4.2.13, which
 * would end the process. A Node peer is reached through its own listeners.
 *
 * @module
 */

import { mdns } from "@libp2p/mdns";
import { tcp } from "@libp2p/tcp";
import { webRTCDirect } from "@libp2p/webrtc";
import { webSockets } from "@libp2p/websockets";
import { sha256 } from "@noble/hashes/sha2.js";
import { encodeText } from "../protocol/bytes.ts";
import { type MeshId, toHex } from "../protocol/ids.ts";
import { fingerprintOfCerthash, hubName } from "./hub-name.ts";
import { serveHubName } from "./hub-name-server.ts";
import { createMulticastDiscovery } from "./multicast-discovery.ts";
import { RTC_CONFIGURATION, type TransportPlan, type TransportPlanOptions } from "./transports.ts";
import { releaseDirectListeners, retainDirectListeners } from "./webrtc-direct-shutdown.ts";
import { limitWebSocketListeners } from "./websocket-listeners.ts";

export function nodeTransportPlan(options: TransportPlanOptions): TransportPlan {
  const { certificate, discovery, listen, meshId } = options;
  const listensDirectly = listen.some((address) => address.includes("/webrtc-direct"));
  return {
    transports: [
      tcp(),
      webRTCDirect({
        rtcConfiguration: RTC_CONFIGURATION,
        ...(certificate === null ? {} : { certificate }),
      }),
      webSockets(),
    ],
    discovery:
      discovery === "mdns" ? createMulticastDiscovery(mdns({ serviceTag: mdnsTag(meshId) })) : null,
    listen: [],
    signalling: "none",
    prepare: () => {
      // Loopback needs no name.
      if (certificate === null || !listensDirectly || discovery === "off") return () => undefined;
      return serveHubName(hubName(fingerprintOfCerthash(certificate.certhash)));
    },
    beforeStart: listensDirectly ? releaseDirectListeners : () => Promise.resolve(),
    afterStart: limitWebSocketListeners,
    beforeStop: retainDirectListeners,
    onNetworkChange: () => () => undefined,
    onVisible: () => () => undefined,
  };
}

/**
 * Peers of one mesh find each other and leave others alone. A hash, since it is called out to the
 * whole LAN and the mesh id is not for everyone.
 */
const mdnsTag = (mesh: MeshId): string => {
  const tag = toHex(sha256(encodeText(`rowmesh mdns 1 ${mesh}`)).subarray(0, 8));
  return `rowmesh-${tag}.local`;
};
