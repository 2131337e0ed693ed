/** Devices with real databases on simulated links; frames that reach a device are counted. */
import { expect } from "vitest";
import type { Replica } from "../../src/node/replica.ts";
import type { PeerId } from "../../src/protocol/ids.ts";
import { decodeMessage } from "../../src/protocol/messages.ts";
import { createDatabaseDevice } from "../../src/testing/database-device.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { createSimNetwork, type SimNetwork } from "../../src/testing/sim-network.ts";
import { createSimNode, type SimNode } from "../../src/testing/sim-node.ts";
import { createWorld, type World } from "../../src/testing/world.ts";
import { ANIMALS, MESH } from "../fixtures/replicas.ts";

export interface Room {
  readonly world: World;
  readonly net: SimNetwork;
  readonly nodes: readonly SimNode[];
  /** Chunks that reached a device, by who sent them. */
  readonly chunksFrom: (to: PeerId) => ReadonlyMap<PeerId, number>;
  /** Outlines that reached any device. */
  readonly outlines: () => number;
  /** Of runs that reached any device. */
  readonly runBytes: () => number;
  readonly close: () => Promise<void>;
}

export async function createRoom(seed: number, count: number, gossip: "on" | "off"): Promise<Room> {
  const random = createSeededRandom(seed);
  const world = createWorld();
  const net = createSimNetwork(world, random, gossip);
  const received = new Map<PeerId, Map<PeerId, number>>();
  let outlines = 0;
  let runBytes = 0;
  const counting: SimNetwork = {
    ...net,
    join: (id) => {
      const network = net.join(id);
      return {
        ...network,
        start: (handlers) =>
          network.start({
            ...handlers,
            frame: (from, bytes) => {
              const { type } = decodeMessage(bytes);
              if (type === "outline") outlines++;
              if (type === "run") runBytes += bytes.length;
              if (type === "chunk") {
                const counts = received.get(id) ?? new Map<PeerId, number>();
                received.set(id, counts.set(from, (counts.get(from) ?? 0) + 1));
              }
              return handlers.frame(from, bytes);
            },
          }),
      };
    },
  };
  const nodes: SimNode[] = [];
  for (let i = 0; i < count; i++) {
    const device = await createDatabaseDevice({
      id: `n${i}`,
      identity: i,
      disk: "formatted",
      schemas: [ANIMALS],
      write: async () => undefined,
      random,
    });
    nodes.push(createSimNode({ device, world, net: counting, random, mesh: MESH }));
  }
  for (const node of nodes) await world.busy(node.start());
  return {
    world,
    net,
    nodes,
    chunksFrom: (to) => received.get(to) ?? new Map(),
    outlines: () => outlines,
    runBytes: () => runBytes,
    close: async () => {
      for (const node of nodes) await node.kill();
    },
  };
}

export const replicaOf = (node: SimNode | undefined): Replica => node?.replica()?.store as Replica;

/** Of all who sent. */
export const sum = (counts: ReadonlyMap<PeerId, number>): number =>
  [...counts.values()].reduce((total, count) => total + count, 0);

/** Until all hold the same. */
export async function agree({ world, nodes }: Room, withinMs = 300_000): Promise<void> {
  const agreed = await world.runUntil(world.clock.nowMs() + withinMs, () => {
    const all = nodes.map((node) => node.drive()?.status());
    const isReady = all.every((status) => status?.offered === true && status.peers.length > 0);
    return isReady && new Set(all.map((status) => status?.digest)).size === 1;
  });
  expect(agreed).toBe(true);
  const hashes = await Promise.all(nodes.map((node) => replicaOf(node).stateHash()));
  expect(new Set(hashes).size).toBe(1);
}
