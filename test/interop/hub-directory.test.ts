/** Hubs tell of each other: what a device learns from them, and what it makes of lies. */
import type { Stream } from "@libp2p/interface";
import { type Multiaddr, multiaddr } from "@multiformats/multiaddr";
import { afterEach, expect, test } from "vitest";
import { lanAddressesOf } from "../../src/node/hub-addresses.ts";
import {
  ANSWER_BYTES_MAX,
  decodeAddresses,
  encodeAddresses,
} from "../../src/node/hub-directory.ts";
import { foundAddresses } from "../../src/node/keeper-driver.ts";
import type { Libp2pNetwork } from "../../src/node/libp2p-network.ts";
import {
  FOUND_ADDRESSES_MAX,
  HUB_ADDRESSES_MAX,
  INVITE_ADDRESSES_MAX,
} from "../../src/protocol/limits.ts";
import { eventually, record } from "../contracts/network.ts";
import { openHostilePeer } from "./hostile-peer.ts";
import { openListening, openNode } from "./libp2p-nodes.ts";

const PEER = "12D3KooWNwyM8XGRL4Qa8s1WbNqPrKB3gNVeTXbHNPKzPgCgkBhV";
const CERTHASH = "uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8A";

let ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(ends.map((end) => end()));
  ends = [];
});

async function started(network: Libp2pNetwork) {
  ends.push(() => network.stop());
  return record(network);
}

test("a device that knows one hub learns of the other, and keeps it when the first one dies", async () => {
  const first = await openListening("tcp", { role: "hub" });
  const second = await openListening("tcp", { role: "hub", hubs: [first.address] });
  const [atFirst, atSecond] = [await started(first.network), await started(second.network)];
  await eventually(() => expect(atFirst.peers.has(second.network.self)).toBe(true));
  await eventually(() => expect(first.network.hubAddresses()).toEqual([second.address]));

  const device = await openNode({ hubs: [first.address] });
  const atDevice = await started(device);
  await eventually(() => expect(atDevice.peers.has(second.network.self)).toBe(true));
  await first.network.stop();
  await eventually(() => expect(atDevice.peers.has(first.network.self)).toBe(false));
  await eventually(() => expect(device.hubAddresses()).toEqual([second.address]));
  await atSecond.network.send(device.self, Uint8Array.of(1));
  await eventually(() => expect(atDevice.frames.length).toBe(1));
}, 60_000);

test("who says to be a hub and is none of the mesh is passed on to nobody, and not asked", async () => {
  const members = new Set<string>();
  const judged = new Set<string>();
  const { network, address } = await openListening("tcp", { role: "hub" });
  ends.push(() => network.stop());
  await network.start({
    peerUp: () => undefined,
    peerDown: () => undefined,
    frame: async () => undefined,
    isHub: (peer) => {
      judged.add(peer);
      return members.has(peer);
    },
    broadcast: async () => "ignore",
  });
  const stranger = await openListening("tcp", { role: "hub", hubs: [address] });
  await started(stranger.network);
  const { self } = stranger.network;
  await eventually(() => {
    expect(network.hubAddresses()).toEqual([]);
    expect(judged).toEqual(new Set([self]));
  });
  members.add(self);
  expect(network.hubAddresses()).toEqual([stranger.address]);
}, 60_000);

test("an endless answer is cut off, and nothing that it said is believed", async () => {
  const { network, address } = await openListening("tcp", { role: "hub" });
  await started(network);
  let sent = 0;
  const cut = new Promise<void>((resolve) => {
    const tellsHubs = (stream: Stream): void => {
      stream.addEventListener("close", () => resolve());
      const more = (): void => {
        while (stream.status === "open" && stream.send(new Uint8Array(1_024).fill(120))) {
          sent += 1_024;
        }
      };
      stream.addEventListener("drain", more);
      more();
    };
    void openHostilePeer({ address, topic: "none", tellsHubs }).then(async (hostile) => {
      ends.push(() => hostile.stop());
      await hostile.open();
      return undefined;
    });
  });
  await cut;
  expect(sent).toBeGreaterThan(ANSWER_BYTES_MAX);
  // Its own buffer takes 4 MiB; the timeout alone would let tens pass.
  expect(sent).toBeLessThan(8 * 1_024 * 1_024);
  expect(network.links()).toHaveLength(1);
}, 60_000);

test("what does not decode is refused with a code, whole", () => {
  const good = encodeAddresses([`/ip4/10.0.0.1/tcp/1/p2p/${PEER}`]);
  expect([...decodeAddresses(good).keys()]).toEqual([PEER]);
  expect(decodeAddresses(encodeAddresses([])).size).toBe(0);
  for (let length = 0; length < good.length; length++) {
    expect(() => decodeAddresses(good.subarray(0, length))).toThrow(/^ERR_/);
  }
  for (const bad of ["/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1/p2p/Qm", "nonsense", ""]) {
    expect(() => decodeAddresses(encodeAddresses([bad]))).toThrow(/^ERR_NOT_CANONICAL/);
  }
  const many = Array.from({ length: INVITE_ADDRESSES_MAX + 1 }, () => `/ip4/1.1.1.1/tcp/1`);
  expect(() => decodeAddresses(encodeAddresses(many))).toThrow(/^ERR_/);
});

const of = (...texts: string[]): Multiaddr[] => texts.map((text) => multiaddr(text));

test("only addresses of a LAN are passed on, best for browsers first, a few of each hub", () => {
  const far = multiaddr("/ip4/10.0.0.2/tcp/9");
  const direct = `/ip4/10.0.0.1/udp/4380/webrtc-direct/certhash/${CERTHASH}`;
  const told = of(
    "/ip4/10.0.0.1/tcp/4382",
    "/ip4/10.0.0.1/tcp/4381/ws",
    direct,
    "/ip4/127.0.0.1/tcp/4382",
    "/ip4/8.8.8.8/tcp/4382",
    "/dns4/hub.example/tcp/4382",
    `/ip4/10.0.0.1/tcp/1/p2p/${PEER}/p2p-circuit`,
  );
  expect(lanAddressesOf("P", told, far)).toEqual([
    `${direct}/p2p/P`,
    "/ip4/10.0.0.1/tcp/4381/ws/p2p/P",
    "/ip4/10.0.0.1/tcp/4382/p2p/P",
  ]);
  const here = multiaddr("/ip4/127.0.0.1/tcp/9");
  expect(lanAddressesOf("P", told, here)).toEqual(["/ip4/127.0.0.1/tcp/4382/p2p/P"]);
  const ports = Array.from({ length: 100 }, (_, at) => `/ip4/10.0.0.1/tcp/${at + 1}`);
  expect(lanAddressesOf("P", of(...ports), far)).toHaveLength(HUB_ADDRESSES_MAX);
});

test("found by multicast: plain TCP on the LAN, this machine last, a few", () => {
  const found = of(
    "/ip4/127.0.0.1/tcp/1",
    "/ip4/192.168.1.5/tcp/2",
    `/ip4/192.168.1.5/tcp/2/p2p/${PEER}`,
    "/ip4/192.168.1.5/tcp/3/ws",
    "/ip4/8.8.8.8/tcp/4",
    "/dns4/hub.example/tcp/5",
  );
  expect(foundAddresses(found, PEER)).toEqual([
    `/ip4/192.168.1.5/tcp/2/p2p/${PEER}`,
    `/ip4/127.0.0.1/tcp/1/p2p/${PEER}`,
  ]);
  const ports = Array.from({ length: 100 }, (_, at) => `/ip4/10.0.0.1/tcp/${at + 1}`);
  expect(foundAddresses(of(...ports), PEER)).toHaveLength(FOUND_ADDRESSES_MAX);
});
