/**
 * Where hubs can be dialled, as far as others are told of it: they say so to everyone who connects
 * (libp2p's identify), and pass it on to who asks for other hubs (`hub-directory.ts`) or is invited.
 * Only addresses of a LAN count, and only a few of each hub.
 *
 * @module
 */

import { isPrivate } from "@libp2p/utils";
import type { Multiaddr } from "@multiformats/multiaddr";
import type { PeerId } from "../protocol/ids.ts";
import { ADDRESS_BYTES_MAX, HUB_ADDRESSES_MAX } from "../protocol/limits.ts";
import { isLoopback } from "./link-kind.ts";

/** Best for browsers first; what goes through a third peer is no address of a hub. */
const TRANSPORTS = [
  /^ip[46]\/udp\/webrtc-direct\/certhash(\/certhash)?(\/p2p)?$/,
  /^ip[46]\/tcp\/(tls\/)?wss?(\/p2p)?$/,
  /^ip[46]\/tcp(\/p2p)?$/,
];

/**
 * Each ends in `/p2p/<peer>`. Loopback leads somewhere only for who is on the teller's machine:
 * `heardOver` is the address of the connection to it.
 */
export function lanAddressesOf(
  peer: PeerId,
  multiaddrs: readonly Multiaddr[],
  heardOver: Multiaddr,
): readonly string[] {
  const isHere = isLoopback(heardOver.toString());
  const addresses = multiaddrs.filter(isPrivate).map((address) => ({
    names: address
      .getComponents()
      .map(({ name }) => name)
      .join("/"),
    text: `${address.toString().replace(/\/p2p\/[^/]+$/, "")}/p2p/${peer}`,
  }));
  return TRANSPORTS.flatMap((transport) => addresses.filter(({ names }) => transport.test(names)))
    .map(({ text }) => text)
    .filter((text) => text.length <= ADDRESS_BYTES_MAX && isLoopback(text) === isHere)
    .slice(0, HUB_ADDRESSES_MAX);
}
