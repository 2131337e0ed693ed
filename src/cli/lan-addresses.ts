/**
 * The addresses under which other devices of the LAN can reach this one, most promising first.
 *
 * @module
 */

import type { NetworkInterfaceInfo } from "node:os";

/** As `os.networkInterfaces()` gives them. */
export type NetworkInterfaces = Readonly<
  Record<string, readonly NetworkInterfaceInfo[] | undefined>
>;

export const LOOPBACK_HOST = "127.0.0.1";

/** Networks between this machine and its own containers and guests: no phone is in there. */
const VIRTUAL_INTERFACE = /^(docker|br-|veth|virbr|vmnet|vboxnet|cni|lxc|podman|utun|zt|tailscale)/;

/**
 * Hosts as they stand in a URL (IPv6 in brackets) for a server bound to `host`. Bound to one
 * address it is that one alone; bound to all it is every address of the LAN, IPv4 first, loopback
 * last.
 */
export function urlHosts(host: string, interfaces: NetworkInterfaces): readonly string[] {
  if (host !== "0.0.0.0" && host !== "::") return [host.includes(":") ? `[${host}]` : host];
  const families = host === "::" ? ["IPv4", "IPv6"] : ["IPv4"];
  const candidates: { readonly host: string; readonly rank: number }[] = [];
  for (const [name, infos] of Object.entries(interfaces)) {
    for (const { address, family, internal } of infos ?? []) {
      // Link-local IPv6 needs a zone, which URLs cannot carry.
      if (internal || !families.includes(family) || address.startsWith("fe80:")) continue;
      const rank = (VIRTUAL_INTERFACE.test(name) ? 100 : 0) + addressRank(address);
      candidates.push({ host: family === "IPv6" ? `[${address}]` : address, rank });
    }
  }
  const ranked = candidates.sort((a, b) => a.rank - b.rank).map((candidate) => candidate.host);
  return [...new Set(ranked), LOOPBACK_HOST];
}

/** Home and office networks before the rest; what DHCP failed to give last. */
function addressRank(address: string): number {
  if (address.includes(":")) return 10;
  if (address.startsWith("192.168.")) return 0;
  if (address.startsWith("10.")) return 1;
  if (/^172\.(1[6-9]|2\d|3[01])\./.test(address)) return 2;
  if (address.startsWith("169.254.")) return 9;
  return 3;
}
