/**
 * Which transports a platform has, and their settings; `loadTransportPlan` chooses at run time.
 *
 * Everywhere: no STUN or TURN server (the defaults contact Google, Cloudflare and others).
 *
 * @module
 */

import type { Libp2p } from "@libp2p/interface";
import type { Libp2pOptions } from "libp2p";
import type { MeshId } from "../protocol/ids.ts";
import type { LanAddresses } from "./lan-candidates.ts";
import type { MulticastDiscovery } from "./multicast-discovery.ts";
import type { WebrtcCertificate } from "./webrtc-certificate.ts";

export interface TransportPlanOptions {
  /** Kept by hubs, so that their `webrtc-direct` address stays. `null`: libp2p makes one. */
  readonly certificate: WebrtcCertificate | null;
  readonly listen: readonly string[];
  readonly meshId: MeshId;
  /** "mdns" finds peers on the LAN by multicast (Node only). */
  readonly discovery: "mdns" | "off";
}

export interface TransportPlan {
  readonly transports: NonNullable<Libp2pOptions["transports"]>;
  /** Null: nobody is asked. */
  readonly discovery: MulticastDiscovery | null;
  /** Listened on besides what the caller asks for. */
  readonly listen: readonly string[];
  /** Whether peers can be dialled with WebRTC, signalled over a common peer. */
  readonly signalling: "relays" | "none";
  /** Installs what the platform needs while a network runs; returns the undo. */
  readonly prepare: (lanAddresses: LanAddresses) => () => void;
  /** Around the start and the end of libp2p; awaited. */
  readonly beforeStart: () => Promise<void>;
  readonly afterStart: (libp2p: Libp2p) => void;
  readonly beforeStop: (libp2p: Libp2p) => Promise<void>;
  /** Calls back when the device changes networks; returns the undo. */
  readonly onNetworkChange: (listener: () => void) => () => void;
  /** Calls back when people look at the page again; returns the undo. */
  readonly onVisible: (listener: () => void) => () => void;
}

/** No server of any kind: candidates of the LAN only. */
export const RTC_CONFIGURATION: RTCConfiguration = { iceServers: [] };

/** Some browsers are built without it, and people switch it off. */
export const hasWebrtc = (): boolean => typeof RTCPeerConnection !== "undefined";

export async function loadTransportPlan(options: TransportPlanOptions): Promise<TransportPlan> {
  // Imported on demand: Node's native WebRTC and the browser's never load side by side.
  if (typeof window === "undefined") {
    const { nodeTransportPlan } = await import("./transports-node.ts");
    return nodeTransportPlan(options);
  }
  const { browserTransportPlan } = await import("./transports-browser.ts");
  return browserTransportPlan();
}
