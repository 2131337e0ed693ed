/** The driver when the world around it fails. */
import { expect, test } from "vitest";
import { drive } from "../../src/node/drive.ts";
import { MeshError } from "../../src/protocol/errors.ts";
import { decodeMessage, encodeMessage } from "../../src/protocol/messages.ts";
import type { Network, NetworkHandlers, ReplicaStore } from "../../src/seams.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { createWorld } from "../../src/testing/world.ts";
import {
  broadcastOf,
  digest,
  entry,
  helloOf,
  mesh,
  runOf,
  self,
  siteOf,
} from "./replication-machine.ts";

const failure = () => Promise.reject(new MeshError("ERR_STORAGE_FULL", "no room"));

async function start(store: Partial<ReplicaStore>, network: Partial<Network> = {}) {
  const world = createWorld();
  const sent: Uint8Array[] = [];
  const penalised: string[] = [];
  let handlers: NetworkHandlers | null = null;
  const running = await drive({
    mesh,
    site: self,
    role: "device",
    name: "",
    clock: world.clock,
    timers: world.timers,
    random: createSeededRandom(1),
    store: {
      mesh: () => mesh,
      vector: async () => [entry(1, 3)],
      ingest: async (items) => items.map(() => [{ verdict: "applied" as const }]),
      read: async () => ({ runs: [], next: null }),
      readChunks: async () => [],
      incoming: async () => [],
      offer: async () => {},
      onChange: () => () => {},
      ...store,
    },
    network: {
      self: "me",
      start: async (given) => {
        handlers = given;
      },
      send: async (_to, frame) => void sent.push(frame),
      broadcast: async () => 0,
      penalise: (_peer, code) => penalised.push(code),
      suggestPeers: () => {},
      links: () => [],
      stop: async () => {},
      ...network,
    },
  });
  if (handlers === null) throw new Error("the network was not started");
  const up: NetworkHandlers = handlers;
  const connect = async (theirs: readonly ReturnType<typeof entry>[]) => {
    up.peerUp({ id: "a", link: "memory" });
    await up.frame("a", encodeMessage(helloOf("a", theirs)));
    await up.frame("a", encodeMessage({ type: "vector", part: "first", entries: theirs }));
    await world.rest();
  };
  const types = () => sent.splice(0).map((frame) => decodeMessage(frame).type);
  return { world, running, handlers: up, connect, types, penalised };
}

const range = { site: siteOf(1), stream: "data" as const, first: 1, last: 3 };

test("a store that cannot release is asked again, until it can or nobody is there", async () => {
  const modes: string[] = [];
  const { world, connect, handlers } = await start({
    offer: async (mode) => {
      modes.push(mode);
      if (mode === "on" && modes.length < 3) await failure();
    },
  });
  await connect([entry(1, 3)]);
  await world.runUntil(60_000, () => false);
  expect(modes).toEqual(["on", "on", "on"]);
  handlers.peerDown("a");
  await world.rest();
  expect(modes.at(-1)).toBe("off");
});

test("a store that cannot read answers a want with nothing, and stays able to", async () => {
  let reads = 0;
  const { world, connect, handlers, types } = await start({
    read: () => {
      reads += 1;
      return failure();
    },
  });
  await connect([entry(1, 3)]);
  types();
  for (const want of [1, 2]) {
    await handlers.frame(
      "a",
      encodeMessage({ type: "want", want, bytesMax: 1_000, ranges: [range] }),
    );
    await world.rest();
    expect(types()).toEqual(["served"]);
  }
  expect(reads).toBe(2);
});

test("a store that cannot take a run is not blamed on the sender, who is asked again", async () => {
  const { world, connect, handlers, types, penalised } = await start({ ingest: failure });
  await connect([entry(1, 5)]);
  expect(types()).toContain("want");
  await handlers.frame("a", encodeMessage({ type: "run", want: 1, run: runOf(1, 4, 2) }));
  await handlers.frame("a", encodeMessage({ type: "served", want: 1, complete: true }));
  await world.runUntil(2_000, () => false);
  expect(types()).toContain("want");
  expect(penalised).toEqual([]);
  expect(await handlers.broadcast("a", broadcastOf(1, 6))).toBe("ignore");
});

test("what was meant for a link is not sent on the next one", async () => {
  const held: (() => void)[] = [];
  const frames: Uint8Array[] = [];
  const { world, handlers } = await start(
    {},
    {
      send: (_to, frame) => {
        frames.push(frame);
        return frames.length === 1 ? Promise.resolve() : new Promise((done) => held.push(done));
      },
    },
  );
  handlers.peerUp({ id: "a", link: "memory" });
  const theirs = [entry(1, 9)];
  void handlers.frame("a", encodeMessage(helloOf("a", theirs)));
  void handlers.frame("a", encodeMessage({ type: "vector", part: "first", entries: theirs }));
  await world.rest();
  // Our vector waits in the network, a want behind it.
  expect(frames.map((frame) => decodeMessage(frame).type)).toEqual(["hello", "vector"]);
  handlers.peerDown("a");
  handlers.peerUp({ id: "a", link: "memory" });
  for (const done of held.splice(0)) done();
  await world.rest();
  expect(frames.map((frame) => decodeMessage(frame).type)).toEqual(["hello", "vector", "hello"]);
});

test("after stop nothing is offered, nothing runs, and every caller gets an answer", async () => {
  const modes: string[] = [];
  let listening = true;
  const { world, running, handlers, connect, types } = await start({
    offer: async (mode) => void modes.push(mode),
    ingest: () => new Promise(() => {}),
    onChange: () => () => {
      listening = false;
    },
  });
  await connect([entry(1, 3)]);
  const verdict = handlers.broadcast("a", broadcastOf(1, 4));
  await running.stop();
  types();
  expect(await verdict).toBe("ignore");
  expect(await handlers.broadcast("a", broadcastOf(1, 5))).toBe("ignore");
  await handlers.frame("a", encodeMessage({ type: "digest", digest: digest([]) }));
  await world.runUntil(60_000, () => false);
  expect(types()).toEqual([]);
  expect(modes).toEqual(["on", "off"]);
  expect(listening).toBe(false);
});
