/**
 * Dials a hub under its name as well as under its address.
 *
 * A `webrtc-direct` address names an IP address, which DHCP may give to another device tomorrow. The
 * description that libp2p makes of the hub from it has one candidate; here it gets a second one, the
 * hub's name on the LAN (`hub-name.ts`), which browsers look up by multicast DNS. ICE takes what
 * answers; whoever answers must hold the certificate of the address.
 *
 * libp2p offers no way to add candidates, so `setRemoteDescription` is wrapped for as long as a
 * network runs.
 *
 * @module
 */

import { fromHex } from "../protocol/ids.ts";
import { hubName } from "./hub-name.ts";
import { wrapMethod } from "./wrapped-method.ts";

/** The part of `RTCPeerConnection` that is needed here. */
export interface RemoteDescriber {
  setRemoteDescription: (description: RTCSessionDescriptionInit) => Promise<void>;
}

/** `prototype`: `RTCPeerConnection.prototype`. @returns the undo, see {@link wrapMethod} */
export const installHubCandidate = (prototype: RemoteDescriber): (() => void) =>
  wrapMethod(
    prototype,
    "setRemoteDescription",
    (original) =>
      function setRemoteDescription(this: RemoteDescriber, description) {
        const { type, sdp } = description;
        if (type !== "answer" || sdp === undefined) return original.call(this, description);
        return original.call(this, { type, sdp: withHubName(sdp) });
      },
  );

const FINGERPRINT = /^a=fingerprint:sha-256 ((?:[0-9A-F]{2}:){31}[0-9A-F]{2})\r?$/im;
const CANDIDATE = /^a=candidate:\d+ 1 udp \d+ \S+ (\d+) typ host\r?\n/im;

/** Only hubs describe themselves as ice-lite; anything else stays as it is. */
export function withHubName(sdp: string): string {
  const fingerprint = FINGERPRINT.exec(sdp)?.[1];
  const candidate = CANDIDATE.exec(sdp);
  if (!/^a=ice-lite\r?$/m.test(sdp) || fingerprint === undefined || candidate === null) return sdp;
  const name = hubName(fromHex(fingerprint.replaceAll(":", "").toLowerCase()));
  const end = candidate.index + candidate[0].length;
  // Of lower priority than the address (RFC 8839 §5.1).
  const named = `a=candidate:2 1 UDP 1 ${name} ${candidate[1]} typ host\n`;
  return `${sdp.slice(0, end)}${named}${sdp.slice(end)}`;
}
