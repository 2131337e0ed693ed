/**
 * A LAN made of Linux network namespaces: hosts on a switch, each with its own address, and a
 * gateway that leads nowhere and remembers what was sent to it. Needs root.
 *
 * Names begin with `rml<process id>-`, so that runs side by side do not meet, and what a killed run
 * left behind is removed by the next. Network devices lie inside the namespaces: the machine's own
 * network is not touched.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";

const PREFIX = "rml";
const NET = "10.77.0";

const GATEWAY_ADDRESS = `${NET}.254`;
/** Of nobody (RFC 5737): contacted to see that this is noticed. */
export const PROBE_ADDRESS = "198.51.100.7";
export const SITE_ADDRESS = "203.0.113.10";
const SITE_GATEWAY_ADDRESS = "203.0.113.1";
const SWITCHES = ["sw0", "sw1"] as const;

export interface LanHost {
  readonly name: string;
  readonly address: () => string;
  /** The command line that runs another one on this host. */
  readonly command: (...argv: readonly string[]) => readonly [string, ...string[]];
  /** Of all processes on this host. */
  readonly pids: () => readonly number[];
  readonly signal: (signal: NodeJS.Signals) => void;
  /** "noticed": the cable is out, the device knows. "silent": the switch no longer forwards. */
  readonly cut: (how: "noticed" | "silent") => void;
  readonly mend: () => void;
  /** Which of the LAN's two switches; they are not connected. */
  readonly plugInto: (which: 0 | 1) => void;
  /** As DHCP does: the new address takes the old one's place. */
  readonly moveTo: (lastByte: number) => void;
  /** In both directions; null: as fast as the machine goes. */
  readonly limit: (kbitPerSecond: number | null) => void;
  /** Drops what these two send each other. */
  readonly block: (other: LanHost) => void;
  readonly unblock: (other: LanHost) => void;
}

interface Outside {
  /** Packets that were sent to no address of the LAN. */
  readonly packets: number;
  readonly destinations: readonly string[];
}

/** Behind the gateway, with an address of the internet (RFC 5737). */
export type SiteHost = Pick<LanHost, "name" | "address" | "command">;

export interface Lan {
  /** The first host has the address .1. */
  readonly addHost: (name: string) => LanHost;
  /** What is sent to it counts as outside. One a LAN. */
  readonly addSite: (name: string) => SiteHost;
  /** As many access points do. */
  readonly blockMulticast: () => void;
  /** What has reached the gateway so far. It was dropped. */
  readonly outside: () => Outside;
  /** Kills every process on the LAN. Idempotent. */
  readonly close: () => void;
}

/** Why there can be no LAN here; null: there can. */
export function whyNoLan(): string | null {
  if (process.platform !== "linux") return "network namespaces exist on Linux only";
  if (process.getuid?.() !== 0) return "network namespaces need root";
  const probe = `${PREFIX}${process.pid}-probe`;
  try {
    ip("netns", "add", probe);
  } catch {
    return "`ip netns add` failed (is iproute2 installed?)";
  }
  try {
    for (const device of ["bridge", "veth"]) {
      ip("-n", probe, "link", "add", `new-${device}`, "type", device);
    }
    return null;
  } catch {
    return "this kernel has no bridge or no veth devices";
  } finally {
    ip("netns", "del", probe);
  }
}

let lastLan = 0;

export function openLan(): Lan {
  sweep();
  const prefix = `${PREFIX}${process.pid}-${(lastLan += 1)}-`;
  const hosts: LanHost[] = [];
  const lan = `${prefix}lan`;
  const gateway = `${prefix}gw`;
  const close = (): void => {
    process.off("exit", close);
    removeAll((name) => name.startsWith(prefix));
  };
  process.once("exit", close);

  addNamespace(lan);
  for (const name of SWITCHES) {
    ip("-n", lan, "link", "add", name, "type", "bridge", "mcast_snooping", "0");
    ip("-n", lan, "link", "set", name, "up");
  }
  plugNew(lan, gateway, GATEWAY_ADDRESS);
  makeRecordingGateway(gateway);

  return {
    addHost: (name) => {
      const lastByte = hosts.length === 0 ? 1 : 10 + hosts.length;
      const host = addHost(lan, `${prefix}${name}`, `${NET}.${lastByte}`);
      hosts.push(host);
      return host;
    },
    addSite: (name) => addSite(gateway, `${prefix}${name}`),
    blockMulticast: () => {
      for (const { name } of hosts) {
        inside(lan, "bridge", "link", "set", "dev", portOf(name), "mcast_flood", "off");
      }
    },
    outside: () => outsideOf(gateway),
    close,
  };
}

function addHost(lan: string, name: string, firstAddress: string): LanHost {
  let address = firstAddress;
  const port = portOf(name);
  const pids = (): readonly number[] => pidsOf(name);
  const plug = (which: 0 | 1): void => {
    ip("-n", lan, "link", "set", port, "master", SWITCHES[which]);
  };
  let plugged: 0 | 1 = 0;
  plugNew(lan, name, address);
  return {
    name,
    address: () => address,
    command: commandOn(name),
    pids,
    signal: (signal) => {
      for (const pid of pids()) kill(pid, signal);
    },
    cut: (how) => {
      if (how === "noticed") ip("-n", lan, "link", "set", port, "down");
      else ip("-n", lan, "link", "set", port, "nomaster");
    },
    mend: () => {
      plug(plugged);
      ip("-n", lan, "link", "set", port, "up");
    },
    plugInto: (which) => {
      plugged = which;
      plug(which);
    },
    moveTo: (lastByte) => {
      ip("-n", name, "addr", "del", `${address}/24`, "dev", "eth0");
      address = `${NET}.${lastByte}`;
      addAddress(name, address);
    },
    limit: (rate) => {
      for (const [namespace, device] of [
        [lan, port],
        [name, "eth0"],
      ] as const) {
        inside(namespace, "tc", "qdisc", "del", "dev", device, "root", { mayFail: true });
        if (rate === null) continue;
        const shape = ["tbf", "rate", `${rate}kbit`, "burst", "16kb", "latency", "200ms"];
        inside(namespace, "tc", "qdisc", "add", "dev", device, "root", ...shape);
      }
    },
    block: (other) => {
      ip("-n", name, "route", "add", "blackhole", other.address());
      ip("-n", other.name, "route", "add", "blackhole", address);
    },
    unblock: (other) => {
      ip("-n", name, "route", "del", "blackhole", other.address());
      ip("-n", other.name, "route", "del", "blackhole", address);
    },
  };
}

const commandOn =
  (name: string): LanHost["command"] =>
  (...argv) => ["ip", "netns", "exec", name, ...argv];

const portOf = (host: string): string => `v-${host.slice(host.indexOf("-") + 1)}`;

function addNamespace(name: string): void {
  ip("netns", "add", name);
  ip("-n", name, "link", "set", "lo", "up");
}

function plugNew(lan: string, name: string, address: string): void {
  addNamespace(name);
  ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", portOf(name));
  ip("-n", name, "link", "set", portOf(name), "netns", lan);
  ip("-n", lan, "link", "set", portOf(name), "master", SWITCHES[0]);
  ip("-n", lan, "link", "set", portOf(name), "up");
  ip("-n", name, "link", "set", "eth0", "up", "multicast", "on");
  addAddress(name, address);
}

/** Chromium offers no WebRTC candidates to a host without a default route. */
function addAddress(name: string, address: string): void {
  ip("-n", name, "addr", "add", `${address}/24`, "dev", "eth0", "broadcast", `${NET}.255`);
  if (address === GATEWAY_ADDRESS) return;
  ip("-n", name, "route", "replace", "224.0.0.0/4", "dev", "eth0");
  ip("-n", name, "route", "replace", "default", "via", GATEWAY_ADDRESS);
}

/**
 * It forwards onto a wire at whose end nobody answers, and asks there for each destination by ARP:
 * its neighbour table lists the destinations, its counter the packets.
 */
function makeRecordingGateway(name: string): void {
  ip("-n", name, "link", "add", "out", "type", "veth", "peer", "name", "nobody");
  for (const device of ["out", "nobody"]) ip("-n", name, "link", "set", device, "up");
  ip("-n", name, "addr", "add", "192.0.2.1/32", "dev", "out");
  ip("-n", name, "route", "add", "default", "dev", "out");
  inside(name, "sysctl", "-qw", "net.ipv4.ip_forward=1");
}

function addSite(gateway: string, name: string): SiteHost {
  addNamespace(name);
  ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "site");
  ip("-n", name, "link", "set", "site", "netns", gateway);
  ip("-n", gateway, "addr", "add", `${SITE_GATEWAY_ADDRESS}/24`, "dev", "site");
  ip("-n", name, "addr", "add", `${SITE_ADDRESS}/24`, "dev", "eth0");
  ip("-n", gateway, "link", "set", "site", "up");
  ip("-n", name, "link", "set", "eth0", "up");
  ip("-n", name, "route", "add", "default", "via", SITE_GATEWAY_ADDRESS);
  return { name, address: () => SITE_ADDRESS, command: commandOn(name) };
}

function outsideOf(gateway: string): Outside {
  const [names, values] = inside(gateway, "cat", "/proc/net/snmp")
    .split("\n")
    .filter((line) => line.startsWith("Ip:"))
    .map((line) => line.split(" "));
  const packets = Number(values?.[names?.indexOf("ForwDatagrams") ?? -1]);
  if (!Number.isSafeInteger(packets)) throw new RangeError("no counter of forwarded packets");
  const neighbours = ip("-n", gateway, "-4", "neigh", "show", "dev", "out", "nud", "all");
  const destinations = neighbours
    .split("\n")
    .map((line) => line.split(" ")[0] ?? "")
    .filter((address) => address !== "" && !address.startsWith("224."));
  return { packets, destinations: destinations.sort() };
}

/** What earlier runs left that ended without cleaning up. */
function sweep(): void {
  removeAll((name) => {
    const owner = Number(new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1]);
    return Number.isSafeInteger(owner) && !existsSync(`/proc/${owner}`);
  });
}

function removeAll(isMeant: (name: string) => boolean): void {
  const names = ip("netns", "list")
    .split("\n")
    .map((line) => line.split(" ")[0] ?? "")
    .filter(isMeant);
  for (const name of names) {
    for (const pid of pidsOf(name)) kill(pid, "SIGKILL");
    ip("netns", "del", name);
  }
}

const pidsOf = (name: string): readonly number[] =>
  ip("netns", "pids", name)
    .split("\n")
    .filter((line) => line !== "")
    .map(Number);

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended by itself.
  }
}

interface RunOptions {
  readonly mayFail: boolean;
}

const ip = (...args: readonly string[]): string => run("ip", args, { mayFail: false });

function inside(namespace: string, ...rest: readonly (string | RunOptions)[]): string {
  const args = rest.filter((arg) => typeof arg === "string");
  const options = rest.find((arg) => typeof arg === "object") ?? { mayFail: false };
  return run("ip", ["netns", "exec", namespace, ...args], options);
}

function run(command: string, args: readonly string[], { mayFail }: RunOptions): string {
  try {
    return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    if (mayFail) return "";
    throw error;
  }
}
