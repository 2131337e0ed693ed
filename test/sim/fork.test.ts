/**
 * A profile that was copied while it was off: one key, two devices that both write on. Their owner
 * has no other key to give (see new-key.test.ts): they fork on and on.
 */
import { expect, test } from "vitest";
import { ANIMALS, MESH } from "../fixtures/replicas.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { createSimNetwork } from "../../src/testing/sim-network.ts";
import { createSimNode, type SimNode } from "../../src/testing/sim-node.ts";
import { createDatabaseDevice } from "../../src/testing/database-device.ts";
import { writeAnimals } from "../../src/testing/random-work.ts";
import { createWorld } from "../../src/testing/world.ts";

const LINK = { latencyMs: 20, bytesPerMs: 1_000 };

test.each(Array.from({ length: 12 }, (_, at) => at + 1))(
  "[AE11] copies of one profile and a bystander end with the same log and tables: seed %i",
  async (seed) => {
    const random = createSeededRandom(seed);
    const world = createWorld();
    const net = createSimNetwork(world, random, seed % 2 === 0 ? "on" : "off");
    const create = (id: string, identity: number) =>
      createDatabaseDevice({
        id,
        identity,
        disk: "blank",
        schemas: [ANIMALS],
        write: writeAnimals,
        random,
      });
    const devices = [await create("n0", 0), await create("n1", 1), await create("n2", 0)] as const;
    const nodes = devices.map((device) =>
      createSimNode({ device, world, net, random, mesh: MESH }),
    );
    const [first, bystander, clone] = nodes as [SimNode, SimNode, SimNode];
    const connect = () => {
      net.connect("n0", "n1", LINK);
      net.connect("n1", "n2", LINK);
    };
    const agree = () =>
      world.runUntil(world.clock.nowMs() + 120_000, () =>
        nodes.every((node) => {
          const status = node.drive()?.status();
          return status?.offered === true && status.peers.every(({ sameDigest }) => sameDigest);
        }),
      );
    await first.start();
    await first.write();
    await first.kill();
    devices[2].database.disk.restore(devices[0].database.disk.copy());
    try {
      await first.start();
      await clone.start();
      await bystander.start();
      for (let round = 0; round < 3; round++) {
        for (const node of nodes) {
          // One alone with the bystander: what it wrote is released, whatever the other does.
          for (let i = 1 + random.below(12); i > 0; i--) await node.write();
        }
        if (round === 0 && random.below(2) === 0) {
          net.connect("n0", "n1", LINK);
          await world.runUntil(world.clock.nowMs() + 5_000, () => false);
          net.cut("n0", "n1");
          await world.runUntil(world.clock.nowMs() + 100, () => false);
          for (let i = random.below(5); i > 0; i--) await first.write();
        }
        connect();
        expect(await agree()).toBe(true);
        const digests = new Set(nodes.map((node) => node.drive()?.status().digest));
        expect(digests.size).toBe(1);
        const hashes = new Set<string | undefined>();
        for (const node of nodes) hashes.add(await node.replica()?.stateHash());
        expect(hashes.size).toBe(1);
      }
      const framesBefore = net.traffic.frames;
      await world.runUntil(world.clock.nowMs() + 60_000, () => false);
      // Two links, 24 digests each way at most.
      expect(net.traffic.frames - framesBefore).toBeLessThan(200);
      expect(net.penalties).toEqual([]);
    } finally {
      for (const each of nodes) await each.kill();
    }
  },
  60_000,
);
