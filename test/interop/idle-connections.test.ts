/** Peers that take a place and do nothing with it. The clock runs ten times as fast as timers do. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { gossipTopic } from "../../src/node/gossip-broadcast.ts";
import type { Libp2pNetwork } from "../../src/node/libp2p-network.ts";
import { meshId, siteId } from "../../src/protocol/ids.ts";
import {
  FRAME_TIMEOUT_MS,
  IDLE_CONNECTION_MS,
  WEBSOCKET_MESSAGE_BYTES_MAX,
  WEBSOCKET_REQUEST_MS,
} from "../../src/protocol/limits.ts";
import type { Clock, NetworkHandlers } from "../../src/seams.ts";
import { helloTo, type HostilePeer, openHostilePeer } from "./hostile-peer.ts";
import { eventually, record } from "../contracts/network.ts";
import { openListening, openNode } from "./libp2p-nodes.ts";

const fast: Clock = { nowMs: () => 10 * performance.now(), wallClockMs: () => Date.now() };
const MESH = meshId("cd".repeat(32));
const ended: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const end of ended.splice(0)) await end();
});

async function openVictim(): Promise<{
  network: Libp2pNetwork;
  address: string;
  links: Set<string>;
}> {
  const { network, address } = await openListening("tcp", {
    clock: fast,
    meshId: MESH,
    gossip: "off",
  });
  const links = new Set<string>();
  const handlers: NetworkHandlers = {
    peerUp: ({ id }) => void links.add(id),
    peerDown: (id) => void links.delete(id),
    frame: async () => {},
    broadcast: async () => "ignore",
  };
  await network.start(handlers);
  ended.push(network.stop);
  return { network, address, links };
}

async function hostile(address: string): Promise<HostilePeer> {
  const peer = await openHostilePeer({ address, topic: gossipTopic(MESH) });
  ended.push(peer.stop);
  return peer;
}

test(`connections without a stream are closed after ${IDLE_CONNECTION_MS} ms, those with one stay`, async () => {
  const { network, address, links } = await openVictim();
  const busy = await hostile(address);
  const stream = await busy.open();
  stream.say(helloTo(MESH, siteId("ee".repeat(16))));
  await expect.poll(() => links.size, { timeout: 10_000 }).toBe(1);
  const idle = await Promise.all(Array.from({ length: 5 }, () => hostile(address)));
  const alive = setInterval(() => stream.bytes(Uint8Array.of(0, 0)), 500);
  const open = () => idle.filter(({ connection }) => connection.status === "open").length;
  await expect.poll(open, { timeout: 20_000 }).toBe(0);
  clearInterval(alive);
  expect(network.connectionCount()).toBe(1);
  expect([...links]).toEqual([busy.id]);
}, 60_000);

test(`a frame that trickles byte by byte loses its stream after ${FRAME_TIMEOUT_MS} ms, and holds one frame`, async () => {
  const { network, address, links } = await openVictim();
  const peers = await Promise.all(Array.from({ length: 3 }, () => hostile(address)));
  const streams = await Promise.all(peers.map((peer) => peer.open()));
  // A frame of 256 KiB begins, and goes on with a byte at a time.
  for (const stream of streams) stream.bytes(Uint8Array.of(0x80, 0x80, 0x10));
  const trickle = setInterval(() => {
    for (const stream of streams) stream.bytes(Uint8Array.of(7));
  }, 100);
  await expect.poll(() => links.size, { timeout: 10_000 }).toBe(3);
  expect(peers.map(({ id }) => network.bufferedBytes(id).unhandled)).toEqual([0, 0, 0]);
  await expect.poll(() => links.size, { timeout: 20_000 }).toBe(0);
  clearInterval(trickle);
  const open = () => streams.filter(({ stream }) => stream.status === "open").length;
  await expect.poll(open, { timeout: 5_000 }).toBe(0);
}, 60_000);

test(`who asks for no WebSocket at its port is gone after ${WEBSOCKET_REQUEST_MS} ms, others stay`, async () => {
  const { network, address } = await openListening("ws");
  ended.push(network.stop);
  const { peers } = await record(network);
  const guest = await openNode({ hubs: [address] });
  ended.push(guest.stop);
  await record(guest);
  await eventually(() => expect(peers.size).toBe(1));
  const port = Number(address.split("/")[4]);
  const said = ["", "G", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ", "POST / HTTP/1.1\r\n"];
  const sockets = [...said, ...said].map((text) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    return socket.on("error", () => undefined);
  });
  ended.push(async () => sockets.forEach((socket) => socket.destroy()));
  const open = () => sockets.filter(({ destroyed }) => !destroyed).length;
  await eventually(() => expect(sockets.every(({ connecting }) => !connecting)).toBe(true));
  expect(open()).toBe(sockets.length);
  for (const socket of sockets) socket.resume();
  await expect.poll(open, { timeout: 2 * WEBSOCKET_REQUEST_MS }).toBe(0);
  expect([...peers.keys()]).toEqual([guest.self]);
}, 60_000);

const LARGE = (length: number): Buffer => {
  const head = Buffer.alloc(14);
  head.set([0x82, 0xff]);
  head.writeBigUInt64BE(BigInt(length), 2);
  return head;
};

/** Binary, masked, of that length, and the message itself does not come; and no frames at all. */
test.each([
  { what: "a large message", bytes: LARGE(WEBSOCKET_MESSAGE_BYTES_MAX + 1), code: 1_009 },
  { what: "a larger one", bytes: LARGE(2 ** 40), code: 1_009 },
  { what: "an unknown kind of frame", bytes: Buffer.from([0x8f, 0x80, 1, 2, 3, 4]), code: 1_002 },
  { what: "a frame without a mask", bytes: Buffer.from([0x82, 1, 1]), code: 1_002 },
])("a stranger's WebSocket with $what is closed at once, and nothing else", async (attack) => {
  const { network, address } = await openListening("ws");
  ended.push(network.stop);
  const { peers } = await record(network);
  const socket = connect(Number(address.split("/")[4]), "127.0.0.1");
  ended.push(async () => void socket.destroy());
  socket.on("error", () => undefined);
  const key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
  const upgrade = "Connection: Upgrade\r\nUpgrade: websocket";
  socket.write(`GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n${upgrade}\r\n${key}\r\n\r\n`);
  await once(socket, "data");
  socket.write(attack.bytes);
  const [frame] = (await once(socket, "data")) as [Buffer];
  // RFC 6455 §5.5.1 and §7.4.1
  expect([frame[0], frame.readUInt16BE(2)]).toEqual([0x88, attack.code]);
  const guest = await openNode({ hubs: [address] });
  ended.push(guest.stop);
  await record(guest);
  await eventually(() => expect(peers.size).toBe(1));
});

test("the WebSocket of a peer that is dropped is closed, and its place free", async () => {
  const { network, address } = await openListening("ws");
  ended.push(network.stop);
  const { peers } = await record(network);
  const closed = new Set<Socket>();
  /** A hostile one would not say that it hangs up. */
  let guestSays: "all" | "nothing" = "all";
  const between = createServer((socket) => {
    const upstream = connect(Number(address.split("/")[4]), "127.0.0.1");
    upstream.on("close", () => closed.add(upstream)).on("error", () => undefined);
    socket.on("error", () => undefined);
    socket.on("data", (data) => guestSays === "all" && upstream.write(data));
    upstream.on("data", (data) => socket.write(data));
    ended.push(async () => void upstream.destroy());
  });
  await once(between.listen(0, "127.0.0.1"), "listening");
  ended.push(async () => void between.close());
  const { port } = between.address() as AddressInfo;
  const guest = await openNode({ hubs: [address.replace(/tcp\/\d+/, `tcp/${port}`)] });
  ended.push(guest.stop);
  await record(guest);
  await eventually(() => expect(peers.size).toBe(1));
  expect(closed.size).toBe(0);
  guestSays = "nothing";
  network.penalise(guest.self, "ERR_WRONG_MESH");
  await expect.poll(() => closed.size, { timeout: 9_000 }).toBeGreaterThan(0);
}, 60_000);
