/**
 * Where a hub says that it can be dialled, as far as others are told of it. A hub tells everyone who
 * connects (libp2p's identify), and whoever makes an invite passes it on, so that a device that joins
 * at one hub knows the others.
 *
 * @module
 */

import type { IdentifyResult } from "@libp2p/interface";
import { isPrivate } from "@libp2p/utils";
import { ADDRESS_BYTES_MAX, HUB_ADDRESSES_MAX } from "../protocol/limits.ts";
import { isLoopback } from "./link-kind.ts";

/** Best for browsers first; what goes through a third peer is no address of a hub. */
const TRANSPORTS = [
  /^ip[46]\/udp\/webrtc-direct\/certhash(\/certhash)?(\/p2p)?$/,
  /^ip[46]\/tcp\/wss?(\/p2p)?$/,
  /^ip[46]\/tcp(\/p2p)?$/,
];

/** Each ends in `/p2p/…`. Loopback leads somewhere only for who is on the same machine. */
export function lanAddressesOf({
  peerId,
  listenAddrs,
  connection,
}: Pick<IdentifyResult, "peerId" | "listenAddrs" | "connection">): readonly string[] {
  const isHere = isLoopback(connection.remoteAddr.toString());
  const addresses = listenAddrs.filter(isPrivate).map((address) => ({
    names: address
      .getComponents()
      .map(({ name }) => name)
      .join("/"),
    text: `${address.toString().replace(/\/p2p\/[^/]+$/, "")}/p2p/${peerId.toString()}`,
  }));
  return TRANSPORTS.flatMap((transport) => addresses.filter(({ names }) => transport.test(names)))
    .map(({ text }) => text)
    .filter((text) => text.length <= ADDRESS_BYTES_MAX && isLoopback(text) === isHere)
    .slice(0, HUB_ADDRESSES_MAX);
}
