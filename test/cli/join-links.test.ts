/** Which addresses a hub tells of, and in which order. */
import type { NetworkInterfaceInfo } from "node:os";
import { encode } from "uqr";
import { expect, test } from "vitest";
import { joinLink, joinLinks, qrCode } from "../../src/cli/join-links.ts";
import { urlHosts } from "../../src/cli/lan-addresses.ts";
import { encodeGenesisBody, type Invite, parseInviteLink } from "../../src/protocol/genesis.ts";
import { publicKey } from "../../src/protocol/ids.ts";

const info = (address: string, internal = false): NetworkInterfaceInfo => {
  const fixed = { address, internal, netmask: "", mac: "", cidr: null };
  return address.includes(":")
    ? { ...fixed, family: "IPv6", scopeid: 0 }
    : { ...fixed, family: "IPv4" };
};

const INTERFACES = {
  lo: [info("127.0.0.1", true), info("::1", true)],
  docker0: [info("172.17.0.1")],
  wlan0: [info("fe80::1"), info("2001:db8::5"), info("10.1.2.3")],
  eth0: [info("192.168.1.5"), info("169.254.7.7")],
  ppp0: [info("203.0.113.9")],
};

test("all addresses: the LAN's first, containers' after, loopback last, no IPv6 unless asked", () => {
  const lan = ["192.168.1.5", "10.1.2.3", "203.0.113.9", "169.254.7.7", "172.17.0.1"];
  expect(urlHosts("0.0.0.0", INTERFACES)).toEqual([...lan, "127.0.0.1"]);
  const both = [...lan.slice(0, 4), "[2001:db8::5]", "172.17.0.1", "127.0.0.1"];
  expect(urlHosts("::", INTERFACES)).toEqual(both);
});

test("one address is that one alone", () => {
  expect(urlHosts("10.1.2.3", INTERFACES)).toEqual(["10.1.2.3"]);
  expect(urlHosts("::1", INTERFACES)).toEqual(["[::1]"]);
});

const PEER = "12D3KooWNwyM8XGRL4Qa8s1WbNqPrKB3gNVeTXbHNPKzPgCgkBhV";
const CERTHASH = "uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8A";
const addressesOf = (ip: string): string[] => [
  `/ip4/${ip}/udp/4380/webrtc-direct/certhash/${CERTHASH}/p2p/${PEER}`,
  `/ip4/${ip}/tcp/4381/ws/p2p/${PEER}`,
  `/ip4/${ip}/tcp/4382/p2p/${PEER}`,
];

const inviteOf = (name: string, ips: readonly string[]): Invite => ({
  genesis: {
    bodyBytes: encodeGenesisBody({
      policy: "open",
      founder: publicKey("ab".repeat(32)),
      random: new Uint8Array(16),
      name,
    }),
    signature: new Uint8Array(64),
  },
  hubs: ips.flatMap(addressesOf),
});

const hubsOf = (url: string) => parseInviteLink(url).hubs.map((hub) => hub.split("/")[2]);
const thrice = (ip: string) => [ip, ip, ip];

test("each link leads with the addresses of its own host; loopback stays on this machine", () => {
  const invite = inviteOf("field", ["127.0.0.1", "192.168.1.5", "10.1.2.3"]);
  const links = joinLinks(invite, ["http://10.1.2.3:4380", "http://127.0.0.1:4380"]);
  expect(links.map(({ url }) => url.replace(/join=.*/, ""))).toEqual([
    "http://10.1.2.3:4380/#",
    "http://127.0.0.1:4380/#",
  ]);
  expect(hubsOf(links[0]?.url ?? "")).toEqual([...thrice("10.1.2.3"), ...thrice("192.168.1.5")]);
  expect(hubsOf(links[1]?.url ?? "").slice(0, 3)).toEqual(thrice("127.0.0.1"));
  expect(hubsOf(joinLink(invite, "http://localhost:4380").url)[0]).toBe("127.0.0.1");
});

test("more addresses than an invite may hold are cut", () => {
  const invite = inviteOf("field", ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]);
  const cut = { ...invite, hubs: [...invite.hubs, ...addressesOf("10.0.0.6")] };
  const { hubs } = parseInviteLink(joinLink(cut, "http://10.0.0.6:4380").url);
  expect([hubs.length, hubs[0]?.split("/")[2]]).toEqual([16, "10.0.0.6"]);
});

test("the QR code fits 80 columns, whatever the mesh's name", () => {
  for (const name of ["field", "long ".repeat(25)]) {
    const invite = inviteOf(name, ["192.168.100.205", "10.1.2.3"]);
    const lines = qrCode(invite, joinLink(invite, "http://192.168.100.205:4380")).split("\n");
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
  }
});

test("the QR code holds a whole join link when that fits", () => {
  const invite = inviteOf("field", ["192.168.100.205"]);
  const { origin } = joinLink(invite, "http://192.168.100.205:4380");
  const columns = Math.max(
    ...qrCode(invite, { origin, url: "" })
      .split("\n")
      .map((line) => line.length),
  );
  expect(columns).toBeGreaterThan(2 * encode(`${origin}/`).size);
});
