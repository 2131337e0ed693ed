/**
 * What `rowmesh doctor` looks at on the network: addresses, multicast, ports.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import type { MulticastDNS } from "multicast-dns";
import { addressFor, lanIpv4Addresses, openMdns, serveHubName } from "../node/hub-name-server.ts";
import { type Check, fail, ok, warn } from "./check.ts";
import type { HubPorts } from "./hub-options.ts";
import type { NetworkInterfaces } from "./lan-addresses.ts";
import { tryPorts, tryTcp } from "./ports.ts";

const VPN_INTERFACE = /^(tun|tap|wg|utun|ppp|tailscale|zt|ipsec)/;
/** Answered within a few milliseconds on a LAN; asked twice, for a packet may be lost. */
const ANSWER_MS = 1_500;
const TRIES = 2;

export function checkAddresses(interfaces: NetworkInterfaces): readonly Check[] {
  const addresses = lanIpv4Addresses(interfaces);
  const routable = addresses.filter((address) => !address.startsWith("169.254."));
  const checks: Check[] = [];
  if (addresses.length === 0) {
    const remedy = "Connect it to the network of the other devices.";
    checks.push(fail("address", "this machine is in no network", remedy));
  } else if (routable.length === 0) {
    const remedy = "The network's DHCP gave none: look at the router, or set one by hand.";
    checks.push(warn("address", `only ${addresses.join(", ")}, which it gave itself`, remedy));
  } else checks.push(ok("address", routable.join(", ")));
  const vpns = Object.entries(interfaces).filter(
    ([name, infos]) => VPN_INTERFACE.test(name) && lanIpv4Addresses({ [name]: infos }).length > 0,
  );
  for (const [name] of vpns) {
    const remedy =
      "If devices do not find each other, turn it off, or let it pass the local network.";
    checks.push(warn("vpn", `${name} is up`, remedy));
  }
  return checks;
}

/** Asks for a name of our own on each network, and waits for our own answer. */
export async function checkMulticast(interfaces: NetworkInterfaces): Promise<readonly Check[]> {
  const name = `${randomUUID()}.local`;
  const stop = serveHubName(name);
  try {
    const networks = lanIpv4Addresses(interfaces).filter(
      (address) => addressFor(address, interfaces) === address,
    );
    return await Promise.all(networks.map((own) => checkNetwork(own, name)));
  } finally {
    stop();
  }
}

async function checkNetwork(own: string, name: string): Promise<Check> {
  if ((await askName(own, name)) !== null) {
    return ok("multicast", `a question goes out and its answer comes back on ${own}`);
  }
  return warn(
    "multicast",
    `no answer came back on ${own}`,
    "Allow UDP port 5353 in the firewall; until then hubs do not find each other, nor devices a hub whose address changed.",
  );
}

/** What answers to a name by multicast, asked from the network of `own`; null: nobody. */
export async function askName(own: string, name: string): Promise<string | null> {
  const mdns = openMdns(own);
  try {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const address = await answerTo(mdns, name);
      if (address !== null) return address;
    }
    return null;
  } finally {
    await new Promise<void>((resolve) => {
      mdns.destroy(resolve);
    });
  }
}

function answerTo(mdns: MulticastDNS, name: string): Promise<string | null> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(null), ANSWER_MS);
    mdns.on("response", ({ answers = [] }) => {
      for (const answer of answers) {
        if (answer.type !== "A" || answer.name.toLowerCase() !== name) continue;
        clearTimeout(timer);
        resolve(answer.data);
      }
    });
    mdns.query(name, "A");
  });
}

/** Of a hub that does not run. */
export async function checkPorts(host: string, ports: HubPorts): Promise<Check> {
  const names = `${ports.http} to ${ports.tcp}`;
  try {
    await tryTcp(host, ports.http);
    await tryPorts(host, ports);
    return ok("ports", `${names} are free`);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
    const remedy = "Stop what uses them (another hub?), or start the hub with another --port.";
    return fail("ports", `${names} cannot be had (${code})`, remedy);
  }
}
