/**
 * Transports of a browser window (not of a worker: WebRTC does not exist there). A browser without
 * WebRTC reaches hubs only, by WebSocket.
 *
 * @module
 */

import { webRTC, webRTCDirect } from "@libp2p/webrtc";
import { webSockets } from "@libp2p/websockets";
import { installHubCandidate } from "./hub-candidate.ts";
import { installLanCandidates } from "./lan-candidates.ts";
import { relayTransport } from "./relay-transport.ts";
import { hasWebrtc, RTC_CONFIGURATION, type TransportPlan } from "./transports.ts";
import { installWebrtcInitRace } from "./webrtc-init-race.ts";

/**
 * Peers on which we keep a relay reservation, hubs and browsers alike: any of them can signal for
 * us, so that new pairs meet after the hub has died.
 */
const RELAY_RESERVATIONS = 6;

export function browserTransportPlan(): TransportPlan {
  return {
    ...(hasWebrtc() ? webrtcPlan() : WEBSOCKETS_ONLY),
    discovery: null,
    beforeStart: () => Promise.resolve(),
    afterStart: () => undefined,
    beforeStop: () => Promise.resolve(),
    onNetworkChange: (listener) => {
      // A page that was frozen, or lay in the back-forward cache, may wake up anywhere.
      addEventListener("online", listener);
      addEventListener("pageshow", listener);
      document.addEventListener("resume", listener);
      return () => {
        removeEventListener("online", listener);
        removeEventListener("pageshow", listener);
        document.removeEventListener("resume", listener);
      };
    },
    onVisible: (listener) => {
      const changed = (): void => {
        if (document.visibilityState === "visible") listener();
      };
      document.addEventListener("visibilitychange", changed);
      return () => document.removeEventListener("visibilitychange", changed);
    },
  };
}

type TransportChoice = Pick<TransportPlan, "transports" | "listen" | "signalling" | "prepare">;

const webrtcPlan = (): TransportChoice => ({
  transports: [
    webRTCDirect({ rtcConfiguration: RTC_CONFIGURATION }),
    webSockets(),
    webRTC({ rtcConfiguration: RTC_CONFIGURATION }),
    relayTransport({ reservationConcurrency: 2 }),
  ],
  listen: [...Array.from({ length: RELAY_RESERVATIONS }, () => "/p2p-circuit"), "/webrtc"],
  signalling: "relays",
  prepare: (lanAddresses) => {
    const undo = [
      installWebrtcInitRace(RTCPeerConnection.prototype),
      installHubCandidate(RTCPeerConnection.prototype),
      installLanCandidates(RTCPeerConnection.prototype, lanAddresses),
    ];
    return () => undo.forEach((each) => each());
  },
});

/** To hubs, as far as the page's origin may open `ws://` at all. */
const WEBSOCKETS_ONLY: TransportChoice = {
  transports: [webSockets()],
  listen: [],
  signalling: "none",
  prepare: () => () => undefined,
};
