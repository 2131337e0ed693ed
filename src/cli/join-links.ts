/**
 * The hub's join links: one for each address under which its page can be opened, and the one that
 * goes into the QR code.
 *
 * @module
 */

import { encode, renderUnicodeCompact } from "uqr";
import { type Invite, inviteLink } from "../protocol/genesis.ts";
import { INVITE_ADDRESSES_MAX } from "../protocol/limits.ts";
import { LOOPBACK_HOST } from "./lan-addresses.ts";
import { isPrivateAddress } from "./lan-host.ts";

export interface JoinLink {
  /** Of the page, `http://192.168.1.5:4380`. */
  readonly origin: string;
  readonly url: string;
}

/** Best first for browsers: WebRTC needs no certificate authority, TCP is for other programs. */
const PROTOCOLS = [/\/webrtc-direct\//, /\/ws\//, /\/tcp\/\d+\/p2p\//];

/** The same invite with its hub addresses in the order in which they should be tried. */
export const bestFirst = (invite: Invite): Invite => ({
  ...invite,
  hubs: PROTOCOLS.flatMap((protocol) => invite.hubs.filter((address) => protocol.test(address))),
});

export const joinLinks = (invite: Invite, origins: readonly string[]): readonly JoinLink[] =>
  origins.map((origin) => joinLink(invite, origin));

/**
 * Whoever opened the page under some address can reach the hub under it: that one comes first.
 * Loopback addresses lead other devices nowhere.
 */
export function joinLink(invite: Invite, origin: string): JoinLink {
  const { hostname } = new URL(origin);
  const isLoopback = hostname === LOOPBACK_HOST || hostname === "localhost";
  const here = isLoopback ? LOOPBACK_HOST : hostname.replace(/^\[|\]$/g, "");
  const first = invite.hubs.filter((address) => hostOf(address) === here);
  const rest = invite.hubs.filter(
    (address) => hostOf(address) !== here && hostOf(address) !== LOOPBACK_HOST,
  );
  const hubs = [...first, ...rest].slice(0, INVITE_ADDRESSES_MAX);
  return { origin, url: inviteLink({ ...invite, hubs }, `${origin}/`) };
}

/**
 * For pages over https: the WebSocket at these addresses, which is the hub's own, over TLS instead,
 * on the port of the https page.
 */
export const overTls = (invite: Invite, own: readonly string[], port: number): Invite => ({
  ...invite,
  hubs: invite.hubs.map((address) => {
    const isSecured = own.includes(address) && isPrivateAddress(hostOf(address) ?? "");
    return isSecured ? address.replace(/\/tcp\/\d+\/ws\//, `/tcp/${port}/tls/ws/`) : address;
  }),
});

/**
 * What a QR code holds that fits a terminal of 80 columns: the link with the addresses of its own
 * host, or with the best of them, or the page alone, which fetches the link from `/rowmesh.json`.
 */
export function qrCode(invite: Invite, { origin }: JoinLink): string {
  const { hostname } = new URL(origin);
  const here = hostname.replace(/^\[|\]$/g, "");
  const hubs = invite.hubs.filter(
    (address) => hostOf(address) === here && /\/(webrtc-direct|ws)\//.test(address),
  );
  const links = [hubs, hubs.slice(0, 1)].map((some) =>
    inviteLink({ ...invite, hubs: some }, `${origin}/`),
  );
  const text = links.find((link) => encode(link, QR_OPTIONS).size <= QR_COLUMNS_MAX);
  return renderUnicodeCompact(text ?? `${origin}/`, QR_OPTIONS);
}

/** Phones read large codes from screens well: redundancy would only make them larger. */
const QR_OPTIONS = { ecc: "L", border: 1 } as const;
const QR_COLUMNS_MAX = 80;

/** `/ip4/192.168.1.5/udp/4380/webrtc-direct/…` → `192.168.1.5` */
const hostOf = (address: string): string | undefined => address.split("/")[2];
