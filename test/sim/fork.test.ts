/** A profile that was copied while it was off: one key, two devices that both write on. */
import { expect, test } from "vitest";
import { ANIMALS, MESH } from "../fixtures/replicas.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { createSimNetwork } from "../../src/testing/sim-network.ts";
import { createSimNode, type SimNode } from "../../src/testing/sim-node.ts";
import { createDatabaseDevice } from "../../src/testing/database-device.ts";
import { writeAnimals } from "../../src/testing/random-work.ts";
import { createWorld } from "../../src/testing/world.ts";

const LINK = { latencyMs: 20, bytesPerMs: 1_000 };

test.each(["on", "off"] as const)(
  "[AE11] a fork is reported, the rest of the mesh goes on, and it costs little: gossip %s",
  async (gossip) => {
    const random = createSeededRandom(11);
    const world = createWorld();
    const net = createSimNetwork(world, random, gossip);
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
    await first.start();
    await first.write();
    await first.kill();
    devices[2].database.disk.restore(devices[0].database.disk.copy());
    try {
      await first.start();
      await clone.start();
      await bystander.start();
      for (let i = 0; i < 3; i++) await first.write();
      for (let i = 0; i < 2; i++) await clone.write();
      net.connect("n0", "n1", LINK);
      net.connect("n1", "n2", LINK);
      await world.runUntil(world.clock.nowMs() + 60_000, () => false);
      const framesBefore = net.traffic.frames;
      await bystander.write();
      await world.runUntil(world.clock.nowMs() + 60_000, () => false);

      const others = await Promise.all(
        nodes.map(async (each) =>
          (await each.replica()?.store.vector())?.find(({ site }) => site === devices[1].site),
        ),
      );
      expect(others.map((entry) => entry?.head)).toEqual([1, 1, 1]);
      const refused = nodes.map((each) => each.drive()?.status().refusals.get("ERR_FORK") ?? 0);
      const forks = nodes.map((each) => each.drive()?.status().forks.length ?? 0);
      expect(Math.max(...refused) + Math.max(...forks)).toBeGreaterThan(0);
      // Two links, 24 digests each way at most, the write, and ever rarer attempts.
      expect(net.traffic.frames - framesBefore).toBeLessThan(200);
      expect(net.penalties).toEqual([]);
    } finally {
      for (const each of nodes) await each.kill();
    }
  },
  30_000,
);
