/** What libp2p does not do by itself, and what a hostile libp2p peer gets to see. */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { noise } from "@libp2p/noise";
import { tcp } from "@libp2p/tcp";
import { yamux } from "@libp2p/yamux";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p, type Libp2p } from "libp2p";
import { afterEach, expect, test } from "vitest";
import { SYNC_PROTOCOL } from "../../src/node/frame-links.ts";
import { STRIKES_MAX } from "../../src/protocol/limits.ts";
import { eventually, record } from "../contracts/network.ts";
import { listeningOptions, openListening, openNode, testRandom } from "./libp2p-nodes.ts";

const started: { readonly stop: () => Promise<void> | void }[] = [];
afterEach(async () => {
  for (const each of started.splice(0)) await each.stop();
});
const ending = <Each extends (typeof started)[number]>(each: Each): Each => {
  started.push(each);
  return each;
};

/** A peer with an id below the given one, so that it is the one to open the stream. */
async function openHostile(below: string): Promise<Libp2p> {
  for (;;) {
    const node = await createLibp2p({
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      connectionGater: { denyDialMultiaddr: () => false },
    });
    ending(node);
    if (node.peerId.toString() < below) return node;
  }
}

test("garbage on the stream costs a strike each time, then the connection, then the right to return", async () => {
  const { network, address } = await openListening("tcp");
  const node = await record(ending(network));
  const hostile = await openHostile(network.self);
  const dial = (): ReturnType<Libp2p["dial"]> =>
    hostile.dial(multiaddr(address), { signal: AbortSignal.timeout(3_000) });
  const connection = await dial();
  for (let strike = 1; strike <= STRIKES_MAX; strike++) {
    expect(connection.status).toBe("open");
    const stream = await connection.newStream(SYNC_PROTOCOL);
    stream.send(new Uint8Array(16).fill(0xff));
    await eventually(() => expect(stream.status).not.toBe("open"));
  }
  await eventually(() => expect(connection.status).not.toBe("open"));
  expect(node.events.length).toBe(2 * STRIKES_MAX);
  expect(node.frames).toEqual([]);
  const again = await dial().catch(() => null);
  await eventually(() => expect(again?.status ?? "refused").not.toBe("open"));
  expect(node.events.length).toBe(2 * STRIKES_MAX);
});

test("a newer stream replaces the older, and each session is reported", async () => {
  const { network, address } = await openListening("tcp");
  const node = await record(ending(network));
  const peer = await openHostile(network.self);
  const connection = await peer.dial(multiaddr(address));
  const first = await connection.newStream(SYNC_PROTOCOL);
  first.send(Uint8Array.of(1, 11));
  await eventually(() => expect(node.frames.length).toBe(1));
  const second = await connection.newStream(SYNC_PROTOCOL);
  second.send(Uint8Array.of(1, 22));
  await eventually(() => expect(node.frames.length).toBe(2));
  await eventually(() => expect(first.status).not.toBe("open"));
  const id = peer.peerId.toString();
  expect(node.events).toEqual([`up ${id}`, `down ${id}`, `up ${id}`]);
});

test("gossip that is rejected costs strikes too", async () => {
  const { network, address } = await openListening("tcp");
  const node = await record(ending(network));
  const noisy = await record(ending(await openNode({ hubs: [address] })));
  await eventually(() => expect(node.peers.size).toBe(1));
  node.verdict = "reject";
  let number = 0;
  await eventually(async () => {
    await noisy.network.broadcast(Uint8Array.of(number++));
    expect(node.peers.size).toBe(0);
  });
  expect(node.broadcasts.length).toBe(STRIKES_MAX);
});

test("two that dial each other at once keep one session, one connection, and gossip", async () => {
  const key = testRandom.bytes(32);
  const a = await listeningOptions("tcp", { secretKey: key });
  const b = await openListening("tcp", { hubs: [a.address] });
  const first = ending(await openNode({ ...a.options, hubs: [b.address] }));
  const [atA, atB] = await Promise.all([record(first), record(ending(b.network))]);
  await eventually(() => expect(atA.peers.size + atB.peers.size).toBe(2));
  await eventually(() => {
    expect([first.connectionCount(), b.network.connectionCount()]).toEqual([1, 1]);
  });
  const { length } = atA.broadcasts;
  let number = 0;
  await eventually(async () => {
    await b.network.broadcast(Uint8Array.of(1, number));
    await first.broadcast(Uint8Array.of(2, number++));
    expect(atA.broadcasts.length).toBeGreaterThan(length);
    expect(atB.broadcasts.length).toBeGreaterThan(0);
  });
  await first.send(b.network.self, Uint8Array.of(9));
  await eventually(() => expect(atB.frames.length).toBe(1));
}, 40_000);

function openResources(): Record<string, number> {
  const byType: Record<string, number> = {};
  for (const type of process.getActiveResourcesInfo()) {
    if (/Timeout|TCP|UDP/.test(type)) byType[type] = (byType[type] ?? 0) + 1;
  }
  return byType;
}

async function openAndStop(): Promise<void> {
  const { network, address } = await openListening("tcp");
  const other = await openNode({ hubs: [address] });
  const both = [await record(network), await record(other)];
  await eventually(() => expect(both.map(({ peers }) => peers.size)).toEqual([1, 1]));
  await Promise.all([network.stop(), other.stop()]);
}

test("networks made and stopped leave no timer and no socket", async () => {
  await openAndStop();
  const before = openResources();
  for (let i = 0; i < 5; i++) await openAndStop();
  await eventually(() => {
    for (const [type, open] of Object.entries(openResources())) {
      expect(`${type} ${Math.max(0, open - 1 - (before[type] ?? 0))}`).toBe(`${type} 0`);
    }
  });
}, 60_000);

/** As when a dial is given up and breaks later: libp2p no longer listens. */
test("a WebSocket that fails unheard ends nothing", async () => {
  const server = createServer((socket) => socket.destroy());
  ending({ stop: () => void server.close() });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  const socket = new WebSocket(`ws://127.0.0.1:${port}`);
  await new Promise((resolve) => {
    socket.addEventListener("close", resolve);
  });
  expect(socket.readyState).toBe(WebSocket.CLOSED);
});
