/**
 * A hub's name on the LAN, `<uuid>.local`: made from its WebRTC certificate, so that whoever has an
 * invite knows it, whatever address the hub has today. The hub answers to it by multicast DNS
 * (`hub-name-server.ts`). Browsers ask for it while they dial the address they know
 * (`hub-candidate.ts`), so that a hub with a new address is found again.
 *
 * @module
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { encodeText } from "../protocol/bytes.ts";
import { toHex } from "../protocol/ids.ts";

/**
 * `fingerprint`: SHA-256 of the certificate. Hashed once more, since the name is called out to the
 * whole LAN. A UUID, for browsers look up no other names for WebRTC (mdns-ice-candidates §3.1.1).
 */
export function hubName(fingerprint: Uint8Array): string {
  const hex = toHex(sha256(encodeText(`rowmesh hub 1 ${toHex(fingerprint)}`)));
  const uuid = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20)];
  return `${[...uuid, hex.slice(20, 32)].join("-")}.local`;
}

/** Multibase base64url ("u"), multihash SHA-256 (0x12, 32 bytes). */
const CERTHASH_PREFIX_BYTES = 2;

/** The fingerprint in `/certhash/…`, as this package makes them. */
export function fingerprintOfCerthash(certhash: string): Uint8Array {
  const base64 = certhash.slice(1).replaceAll("-", "+").replaceAll("_", "/");
  return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)).subarray(
    CERTHASH_PREFIX_BYTES,
  );
}
