/**
 * Names and addresses that lead to a machine of the LAN, whoever says them: the hub answers to no
 * other names and asks no others, and its local authority vouches for no others.
 *
 * @module
 */

import { BlockList, isIP } from "node:net";
import { hostname } from "node:os";

/** Domains that no public name server hands out (RFC 6762, RFC 8375, ICANN's `.internal`, habit). */
export const LAN_DOMAINS: readonly string[] = ["local", "lan", "internal", "home.arpa"];

interface Network {
  readonly address: string;
  readonly bits: number;
}

/** RFC 1918, RFC 6598 (overlay networks use it), link-local, loopback; RFC 4193 and RFC 4291. */
export const PRIVATE_NETWORKS: readonly Network[] = [
  { address: "10.0.0.0", bits: 8 },
  { address: "172.16.0.0", bits: 12 },
  { address: "192.168.0.0", bits: 16 },
  { address: "100.64.0.0", bits: 10 },
  { address: "169.254.0.0", bits: 16 },
  { address: "127.0.0.0", bits: 8 },
  { address: "fc00::", bits: 7 },
  { address: "fe80::", bits: 10 },
  { address: "::1", bits: 128 },
];

const privateNetworks = new BlockList();
for (const { address, bits } of PRIVATE_NETWORKS) {
  privateNetworks.addSubnet(address, bits, address.includes(":") ? "ipv6" : "ipv4");
}

/** `address` without brackets. */
export const isPrivateAddress = (address: string): boolean => {
  const family = isIP(address);
  return family !== 0 && privateNetworks.check(address, family === 6 ? "ipv6" : "ipv4");
};

/** Whether the name is in one of the domains, or is one; both in lower case. */
export const isInDomain = (name: string, domain: string): boolean =>
  name === domain || name.endsWith(`.${domain}`);

/** A host as it stands in a URL → without the brackets of IPv6. */
export const withoutBrackets = (host: string): string => host.replace(/^\[|\]$/g, "");

/** `name`: of a URL. A literal address, this machine's name, or a name that only a LAN gives out. */
export function isLanHost(name: string): boolean {
  const bare = withoutBrackets(name);
  if (isIP(bare) !== 0 || bare === hostname().toLowerCase() || !bare.includes(".")) return true;
  return LAN_DOMAINS.some((domain) => isInDomain(bare, domain));
}
