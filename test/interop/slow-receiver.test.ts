/** Over real libp2p: 40 MB from a fast device to one that takes its time, and what the fast one holds meanwhile. */
import { expect, test } from "vitest";
import { type Drive, drive } from "../../src/node/drive.ts";
import type { Libp2pNetwork } from "../../src/node/libp2p-network.ts";
import { LINK_QUEUE_BYTES_MAX, LINK_WINDOW_BYTES } from "../../src/protocol/limits.ts";
import type { ReplicaChange, ReplicaStore } from "../../src/seams.ts";
import { entry, mesh, runOf, siteOf } from "../unit/replication-machine.ts";
import { openListening, openNode, testRandom } from "./libp2p-nodes.ts";

const AUTHOR = 1;
const PAYLOAD_BYTES = 20_000;
const VERSIONS = 2_000;
const clock = { nowMs: () => performance.now(), wallClockMs: () => Date.now() };

/** Makes what is read, and counts what it takes in: nothing of the 40 MB stays in it. */
function createStore(versions: number, msPerRun: number) {
  const listeners = new Set<(change: ReplicaChange) => void>();
  let head = versions;
  let turn: Promise<unknown> = Promise.resolve();
  const store: ReplicaStore = {
    mesh: () => mesh,
    vector: async () => (head === 0 ? [] : [entry(AUTHOR, head)]),
    ingest: (items) => {
      const done = turn.then(async () => {
        const counts = items.map(({ bytes }) => Math.round(bytes.length / PAYLOAD_BYTES));
        await new Promise((resume) => void setTimeout(resume, msPerRun));
        head += counts.reduce((sum, each) => sum + each, 0);
        const entries = [entry(AUTHOR, head)];
        for (const listener of listeners) listener({ entries, broadcasts: [] });
        return counts.map((count) =>
          Array.from({ length: count }, () => ({ verdict: "applied" as const })),
        );
      });
      turn = done;
      return done;
    },
    read: async ({ first, last }, bytesMax) => {
      const count = Math.min(last - first + 1, Math.max(1, Math.floor(bytesMax / PAYLOAD_BYTES)));
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
  return { store, head: () => head };
}

const start = (network: Libp2pNetwork, store: ReplicaStore, site: number): Promise<Drive> =>
  drive({
    network,
    store,
    clock,
    random: testRandom,
    mesh,
    site: siteOf(site),
    role: "device",
    name: "",
  });

test("[AE18] a slow receiver over libp2p: the sender's buffers keep to their limits, and all arrives", async () => {
  const options = { meshId: mesh, gossip: "off" } as const;
  const { network: fast, address } = await openListening("tcp", options);
  const slow = await openNode({ ...options, hubs: [address] });
  const sender = createStore(VERSIONS, 0);
  const receiver = createStore(0, 10);
  const drives = [await start(fast, sender.store, 100), await start(slow, receiver.store, 200)];
  let unsentMax = 0;
  let unhandledMax = 0;
  let intakeMax = 0;
  const sampling = setInterval(() => {
    unsentMax = Math.max(unsentMax, fast.bufferedBytes(slow.self).unsent);
    intakeMax = Math.max(intakeMax, drives[1]?.status().intakeBytes ?? 0);
    unhandledMax = Math.max(unhandledMax, slow.bufferedBytes(fast.self).unhandled);
  }, 5);
  try {
    await expect.poll(receiver.head, { timeout: 90_000, interval: 50 }).toBe(VERSIONS);
  } finally {
    clearInterval(sampling);
    for (const each of drives) await each.stop();
    await Promise.all([fast.stop(), slow.stop()]);
  }
  // The queue, one frame beyond it, and what the socket has not taken.
  expect(unsentMax).toBeLessThanOrEqual(LINK_QUEUE_BYTES_MAX + LINK_WINDOW_BYTES);
  expect(unhandledMax).toBeLessThanOrEqual(LINK_WINDOW_BYTES);
  // No more is asked for while 4 MiB wait for the store; two wants are on their way.
  expect(intakeMax).toBeGreaterThan(1024 * 1024);
  expect(intakeMax).toBeLessThanOrEqual(6 * 1024 * 1024 + LINK_WINDOW_BYTES);
}, 120_000);
