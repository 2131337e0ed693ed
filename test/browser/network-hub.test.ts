/** What becomes of browsers when their hub dies, comes back, or was never the only one to help. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { PeerId } from "../../src/protocol/ids.ts";
import { LINK_QUEUE_BYTES_MAX, LINK_WINDOW_BYTES } from "../../src/protocol/limits.ts";
import { eventually, record, type Recorded } from "../contracts/network.ts";
import { type HubProcess, type HubProcesses, prepareHubs } from "../interop/hub-process.ts";
import { openPages, type PageNetwork, type Pages } from "./network/pages.ts";

let pages: Pages;
let hubs: HubProcesses;
beforeAll(async () => {
  hubs = await prepareHubs();
  pages = await openPages();
}, 60_000);
afterAll(async () => {
  await pages?.close();
  await hubs?.close();
});

let opened: PageNetwork[] = [];
afterEach(async () => {
  await Promise.all(opened.map((page) => page.close()));
  opened = [];
});

const silent = {
  peerUp: () => undefined,
  peerDown: () => undefined,
  frame: () => Promise.resolve(),
  broadcast: () => Promise.resolve("accept" as const),
};

async function openPage(hub: HubProcess): Promise<Recorded> {
  const page = await pages.open([hub.address]);
  opened.push(page);
  return record(page);
}

const suggest = (to: Recorded, via: PeerId, other: Recorded): void =>
  to.network.suggestPeers(via, [other.network.self]);

async function introduce(a: Recorded, b: Recorded, via: PeerId): Promise<void> {
  suggest(a, via, b);
  suggest(b, via, a);
  await eventually(() => {
    expect(a.peers.get(b.network.self)?.link).toBe("webrtc");
    expect(b.peers.get(a.network.self)?.link).toBe("webrtc");
  });
}

test("a killed hub takes no link with it, and a new pair meets through a browser", async () => {
  const hub = await hubs.open("webrtc-direct");
  await hub.network.start(silent);
  const hubId = hub.network.self;
  const [a, b, c] = [await openPage(hub), await openPage(hub), await openPage(hub)];
  for (const each of [a, b, c]) await eventually(() => expect(each.peers.has(hubId)).toBe(true));
  await introduce(a, b, hubId);
  await introduce(b, c, hubId);
  // Reservations on a neighbour follow its connection; nothing tells a test that they are made.
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  await hub.kill("SIGKILL");
  await a.network.send(b.network.self, Uint8Array.of(1));
  await eventually(() => expect(b.frames.length).toBe(1));

  await introduce(a, c, b.network.self);
  await a.network.send(c.network.self, Uint8Array.of(2));
  await eventually(() => expect(c.frames.length).toBe(1));

  // Noticed although the hub said no word of farewell.
  for (const each of [a, b, c]) await eventually(() => expect(each.peers.has(hubId)).toBe(false));
  const devices = [a, b, c].map(({ network }) => network.self);
  for (const { events } of [a, b, c]) {
    const lost = events.filter((event) => devices.some((id) => event === `down ${id}`));
    expect(lost).toEqual([]);
  }
}, 90_000);

test("a hub that comes back with its key, certificate and port has its address and its peers back", async () => {
  const first = await hubs.open("webrtc-direct");
  await first.network.start(silent);
  expect(await first.addresses()).toEqual([first.address]);
  const a = await openPage(first);
  await eventually(() => expect(a.peers.has(first.network.self)).toBe(true));
  await first.kill("SIGKILL");
  const again = await hubs.open("webrtc-direct", first.options);
  const atHub = await record(again.network);
  expect(await again.addresses()).toEqual([first.address]);
  await eventually(() => expect(atHub.peers.has(a.network.self)).toBe(true));
  await again.network.send(a.network.self, Uint8Array.of(3));
  await eventually(() => expect(a.frames.length).toBe(1));
  expect(a.events).toEqual(["up", "down", "up"].map((event) => `${event} ${again.network.self}`));
  await again.kill("SIGTERM");
}, 90_000);

test("a hub that falls silent without closing is noticed, and found again", async () => {
  const hub = await hubs.open("ws");
  await hub.network.start(silent);
  const a = await openPage(hub);
  await eventually(() => expect(a.peers.has(hub.network.self)).toBe(true));
  hub.signal("SIGSTOP");
  await eventually(() => expect(a.peers.has(hub.network.self)).toBe(false));
  hub.signal("SIGCONT");
  await eventually(() => expect(a.peers.has(hub.network.self)).toBe(true));
  await hub.kill("SIGKILL");
}, 60_000);

test("a device goes off the network and on again, leaving nothing behind", async () => {
  const hub = await hubs.open("webrtc-direct");
  await hub.network.start(silent);
  const a = await openPage(hub);
  const b = await openPage(hub);
  for (const { peers } of [a, b]) await eventually(() => expect(peers.size).toBe(1));
  await introduce(a, b, hub.network.self);
  const [page] = opened as [PageNetwork];
  await page.stop();
  await eventually(() => expect(b.peers.has(page.self)).toBe(false));
  const leftover = await page.page.evaluate(() =>
    RTCPeerConnection.prototype.createDataChannel.toString().includes("[native code]"),
  );
  expect(leftover).toBe(true);
  await page.renew();
  await page.start(silent);
  await eventually(() => expect(a.peers.size).toBe(1));
  await introduce(a, b, hub.network.self);
  await hub.kill("SIGKILL");
}, 60_000);

test("bulk between browsers arrives whole and never piles up at the sender", async () => {
  const hub = await hubs.open("webrtc-direct");
  await hub.network.start(silent);
  const a = await openPage(hub);
  const b = await openPage(hub);
  for (const { peers } of [a, b]) await eventually(() => expect(peers.size).toBe(1));
  await introduce(a, b, hub.network.self);
  const [from, to] = opened as [PageNetwork, PageNetwork];
  await to.page.evaluate(() => globalThis.page.sink());
  const { unsentMax } = await from.page.evaluate(
    (peer) => globalThis.page.sendBulk(peer, 256, 65_536),
    to.self,
  );
  await eventually(async () => {
    expect(await to.page.evaluate(() => globalThis.page.sunkBytes())).toBe(256 * 65_536);
  });
  expect(unsentMax).toBeLessThanOrEqual(LINK_WINDOW_BYTES + LINK_QUEUE_BYTES_MAX + 2 * 65_536);
  await hub.kill("SIGKILL");
}, 60_000);

test("a hub that stops while browsers redial it says goodbye, and lives to close its files", async () => {
  const hub = await hubs.open("webrtc-direct");
  await hub.network.start(silent);
  const all = [await openPage(hub), await openPage(hub)];
  for (const { peers } of all) await eventually(() => expect(peers.size).toBe(1));
  await hub.network.stop();
  for (const { peers } of all) await eventually(() => expect(peers.size).toBe(0));
  // Redials come after 0.5, 1 and 2 s; one of them used to end the process.
  await new Promise((resolve) => setTimeout(resolve, 4_000));
  expect(await hub.addresses()).toEqual([]);
  await hub.kill("SIGTERM");
}, 60_000);
