/** A receiver a hundred times slower than its sender: what waits for it stays within its limits. */
import { expect, test } from "vitest";
import { drive } from "../../src/node/drive.ts";
import type { PeerId } from "../../src/protocol/ids.ts";
import { LINK_QUEUE_BYTES_MAX, LINK_WINDOW_BYTES } from "../../src/protocol/limits.ts";
import type { Network, ReplicaChange, ReplicaStore } from "../../src/seams.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { createSimNetwork } from "../../src/testing/sim-network.ts";
import { createWorld, type World } from "../../src/testing/world.ts";
import { entry, mesh, runOf, siteOf } from "../unit/replication-machine.ts";

const AUTHOR = 1;
const PAYLOAD_BYTES = 8_000;
const VERSIONS = 2_500;
/** Of one read: `READ_BYTES` of serving, and a changeset. */
const READ_BYTES_MAX = 64 * 1024 + 9_000;

/** Holds everything, or nothing yet; what it takes in is only counted. */
function createStore(world: World, versions: number, msPerChangeset: number) {
  const listeners = new Set<(change: ReplicaChange) => void>();
  let head = versions;
  let turn: Promise<unknown> = Promise.resolve();
  const read: string[] = [];
  const store: ReplicaStore = {
    mesh: () => mesh,
    vector: async () => (head === 0 ? [] : [entry(AUTHOR, head)]),
    ingest: (items) => {
      const done = turn.then(async () => {
        const counts = items.map(({ bytes }) => Math.round(bytes.length / PAYLOAD_BYTES));
        const count = counts.reduce((sum, each) => sum + each, 0);
        await new Promise<void>((resume) => {
          world.timers.after(count * msPerChangeset, resume);
        });
        head += count;
        for (const listener of listeners)
          listener({ entries: [entry(AUTHOR, head)], broadcasts: [] });
        return counts.map((each) =>
          Array.from({ length: each }, () => ({ verdict: "applied" as const })),
        );
      });
      turn = done;
      return done;
    },
    read: async ({ first, last }, bytesMax) => {
      const count = Math.min(last - first + 1, Math.max(1, Math.floor(bytesMax / PAYLOAD_BYTES)));
      read.push(`${first}+${count}`);
      const next = first + count > last ? null : first + count;
      return { runs: [runOf(AUTHOR, first, count, PAYLOAD_BYTES)], next };
    },
    readChunks: async () => [],
    incoming: async () => [],
    offer: async () => {},
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  return { store, head: () => head, reads: read };
}

test("[AE18] a receiver 100 times slower: the sender holds a window and one read, and all arrives once", async () => {
  const world = createWorld();
  const random = createSeededRandom(1);
  const net = createSimNetwork(world, random, "off");
  const start = async (id: PeerId, store: ReplicaStore, network: Network) =>
    drive({
      mesh,
      site: siteOf(id === "fast" ? 100 : 200),
      role: "device",
      name: id,
      network,
      store,
      clock: world.clock,
      timers: world.timers,
      random,
    });
  const sender = createStore(world, VERSIONS, 0);
  const receiver = createStore(world, 0, 10);
  // What the sender has read and the network has not taken, and what the network has.
  let heldBytes = 0;
  let heldMax = 0;
  let intakeMax = 0;
  const network = net.join("fast");
  const counted: Network = {
    ...network,
    send: async (to, frame) => {
      heldBytes += frame.length;
      heldMax = Math.max(heldMax, heldBytes);
      await network.send(to, frame);
      heldBytes -= frame.length;
    },
  };
  const fast = await start("fast", sender.store, counted);
  const slow = await start("slow", receiver.store, net.join("slow"));
  net.connect("fast", "slow", { latencyMs: 1, bytesPerMs: 100_000 });
  const isDone = () => {
    intakeMax = Math.max(intakeMax, slow.status().intakeBytes);
    return receiver.head() === VERSIONS;
  };
  expect(await world.runUntil(120_000, isDone)).toBe(true);
  expect(heldMax).toBeLessThanOrEqual(READ_BYTES_MAX);
  expect(heldMax).toBeLessThanOrEqual(LINK_QUEUE_BYTES_MAX);
  expect(intakeMax).toBeGreaterThan(1024 * 1024);
  // Asked for two wants of 1 MiB at a time, and no more while 4 MiB wait for the store.
  expect(intakeMax).toBeLessThanOrEqual(6 * 1024 * 1024 + LINK_WINDOW_BYTES);
  const bytes = VERSIONS * PAYLOAD_BYTES;
  expect(net.traffic.frameBytes).toBeLessThan(1.1 * bytes);
  expect(new Set(sender.reads).size).toBe(sender.reads.length);
  await Promise.all([fast.stop(), slow.stop()]);
}, 60_000);
