/** A device whose disk went back in time: a crash that lost writes, or a restored backup. */
import { expect, test } from "vitest";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { createSimNetwork } from "../../src/testing/sim-network.ts";
import { createSimNode, type SimNode } from "../../src/testing/sim-node.ts";
import { ANIMALS, MESH } from "../fixtures/replicas.ts";
import { createDatabaseDevice } from "../../src/testing/database-device.ts";
import { writeAnimals } from "../../src/testing/random-work.ts";
import { createWorld } from "../../src/testing/world.ts";

const LINK = { latencyMs: 20, bytesPerMs: 1_000 };

const headOf = (node: SimNode, site: string) =>
  node
    .replica()
    ?.store.vector()
    .then((entries) => entries.find((entry) => entry.site === site)?.head);

test.each([1, 2, 3, 4, 5])(
  "[AE10] a rewound disk gets its own log back before it writes on: seed %i",
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
    const devices = [await create("n0", 0), await create("n1", 1)] as const;
    const [rewound, other] = devices.map((device) =>
      createSimNode({ device, world, net, random, mesh: MESH }),
    ) as [SimNode, SimNode];
    const nodes = [rewound, other];
    const agree = () =>
      world.runUntil(world.clock.nowMs() + 20_000, () =>
        nodes.every((node) => node.drive()?.status().peers[0]?.sameDigest === true),
      );
    try {
      for (const node of nodes) await node.start();
      net.connect("n0", "n1", LINK);
      for (let i = 0; i < 4; i++) await rewound.write();
      expect(await agree()).toBe(true);
      const backup = devices[0].database.disk.copy();
      const before = await headOf(other, devices[0].site);
      for (let i = 0; i < 6; i++) await rewound.write();
      await world.runUntil(world.clock.nowMs() + 500, () => false);
      expect(await agree()).toBe(true);
      const lost = (await headOf(other, devices[0].site)) ?? 0;
      expect(lost).toBeGreaterThan(before ?? 0);

      await rewound.kill();
      devices[0].database.disk.restore(backup);
      await rewound.start();
      expect(await headOf(rewound, devices[0].site)).toBe(before);
      for (let i = 0; i < 3; i++) await rewound.write();
      await world.runUntil(world.clock.nowMs() + 1_000, () => false);
      net.connect("n0", "n1", LINK);
      await world.runUntil(world.clock.nowMs() + 500, () => false);
      expect(await agree()).toBe(true);

      expect(await headOf(other, devices[0].site)).toBeGreaterThan(lost);
      expect(await other.replica()?.stateHash()).toBe(await rewound.replica()?.stateHash());
      for (const node of nodes) {
        expect(node.drive()?.status().refusals.get("ERR_FORK")).toBeUndefined();
        expect(node.drive()?.status().forks).toEqual([]);
      }
    } finally {
      for (const node of nodes) await node.kill();
    }
  },
  30_000,
);

test("[AE10] a large changeset of the own log is waited for as long as it grows", async () => {
  const random = createSeededRandom(7);
  const world = createWorld();
  const net = createSimNetwork(world, random, "off");
  const newSecrets: Uint8Array<ArrayBuffer>[] = [];
  const create = (id: string, identity: number) =>
    createDatabaseDevice({
      id,
      identity,
      disk: "blank",
      schemas: [ANIMALS],
      write: async () => undefined,
      random,
      newSecret: () => {
        const secret = new Uint8Array(32).fill(newSecrets.length + 1);
        newSecrets.push(secret);
        return secret;
      },
    });
  const device = await create("n0", 0);
  const rewound = createSimNode({ device, world, net, random, mesh: MESH });
  const other = createSimNode({ device: await create("n1", 1), world, net, random, mesh: MESH });
  const nodes = [rewound, other];
  const agree = (withinMs: number) =>
    world.runUntil(world.clock.nowMs() + withinMs, () =>
      nodes.every((node) => node.drive()?.status().peers[0]?.sameDigest === true),
    );
  const exec = async (sql: string) => {
    const done = device.database.db()?.exec(sql) ?? Promise.reject(new Error("off"));
    await world.busy(done);
  };
  try {
    for (const node of nodes) await node.start();
    net.connect("n0", "n1", LINK);
    await exec("INSERT INTO animal (id) VALUES ('kept')");
    await world.runUntil(world.clock.nowMs() + 1_000, () => false);
    expect(await agree(10_000)).toBe(true);
    const backup = device.database.disk.copy();
    await exec(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) INSERT INTO animal (id, photo) SELECT 'large ' || i, randomblob(65536) FROM n",
    );
    await exec("INSERT INTO animal (id) VALUES ('behind')");
    await world.runUntil(world.clock.nowMs() + 1_000, () => false);
    expect(await agree(30_000)).toBe(true);

    await rewound.kill();
    device.database.disk.restore(backup);
    await rewound.start();
    await exec("INSERT INTO animal (id) VALUES ('written meanwhile')");
    // 40 chunks take 26 s, more than twice what is waited for without progress.
    net.connect("n0", "n1", { latencyMs: 20, bytesPerMs: 100 });
    await world.runUntil(world.clock.nowMs() + 20_000, () => false);
    expect(rewound.drive()?.status().offered).toBe(false);
    expect(await agree(30_000)).toBe(true);
    expect(await headOf(other, device.site)).toBe(4);
    expect(await other.replica()?.stateHash()).toBe(await rewound.replica()?.stateHash());
    // A fork would have cost a key.
    expect(newSecrets.length).toBe(0);
  } finally {
    for (const node of nodes) await node.kill();
  }
});
