/** Profiles that exist twice, in a room with others: every copy ends with a key of its own. */
import { expect, test } from "vitest";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { createSimNetwork, type SimNetwork } from "../../src/testing/sim-network.ts";
import { createSimNode, type SimNode } from "../../src/testing/sim-node.ts";
import { createSimulatedDisk, type SimulatedDisk } from "../../src/testing/simulated-disk.ts";
import { createWorld, type World } from "../../src/testing/world.ts";
import type { Random } from "../../src/seams.ts";
import { MESH } from "../fixtures/replicas.ts";
import { copyStorage, createSqlDevice, type SqlDevice, type SqlReplica } from "./sql-fleet.ts";

const LINK = { latencyMs: 20, bytesPerMs: 1_000 };

interface Room {
  readonly world: World;
  readonly net: SimNetwork;
  readonly random: Random;
  readonly devices: readonly [SqlDevice, SqlDevice, SqlDevice, SqlDevice];
  /** The owner, a copy, who meets both, and who comes last. */
  readonly nodes: readonly [SimNode, SimNode, SimNode, SimNode];
  /** One row of its own; false when the device failed. */
  readonly type: (node: SimNode) => Promise<void>;
  readonly typed: readonly string[];
  /** Links that are up stay up, also when a device comes back with another key. */
  readonly connect: (...pairs: readonly (readonly [string, string])[]) => void;
  readonly pass: (ms: number) => Promise<void>;
}

const idsOf = async (node: SimNode): Promise<string[]> => {
  const { db } = (node.replica() as SqlReplica).replica;
  const rows = await db.query<{ id: string }>(
    "SELECT cast(id AS TEXT) AS id FROM tag WHERE length(id) > 8 ORDER BY id",
  );
  return rows.map(({ id }) => id);
};

const replicaOf = (node: SimNode) => (node.replica() as SqlReplica).replica;

async function createRoom(seed: number): Promise<Room> {
  const random = createSeededRandom(seed);
  const world = createWorld();
  const net = createSimNetwork(world, random, seed % 2 === 0 ? "on" : "off");
  const secret = random.bytes(32);
  const devices = [
    await createSqlDevice("n0", random, world, secret),
    await createSqlDevice("n1", random, world, secret),
    await createSqlDevice("n2", random, world),
    await createSqlDevice("n3", random, world),
  ] as const;
  const typed: string[] = [];
  let pairs: readonly (readonly [string, string])[] = [];
  const relink = (): void => {
    for (const [a, b] of pairs) net.connect(a, b, LINK);
  };
  const nodeOf = (device: SqlDevice): SimNode =>
    createSimNode(device, world, net, random, MESH, relink);
  return {
    world,
    net,
    random,
    devices,
    nodes: [nodeOf(devices[0]), nodeOf(devices[1]), nodeOf(devices[2]), nodeOf(devices[3])],
    typed,
    type: async (node) => {
      const id = `typed here ${typed.length}`;
      const work = replicaOf(node).db.exec("INSERT INTO tag VALUES (CAST(? AS BLOB))", [id]);
      await world.busy(work);
      typed.push(id);
    },
    connect: (...given) => {
      pairs = given;
      relink();
    },
    pass: async (ms) => void (await world.runUntil(world.clock.nowMs() + ms, () => false)),
  };
}

const isSettled = (node: SimNode): boolean => {
  const status = node.drive()?.status();
  return status?.offered === true && status.peers.every(({ sameDigest }) => sameDigest);
};

/** Digests, tables, and every row that was ever committed. */
async function expectAgreement({ world, typed }: Room, nodes: readonly SimNode[]): Promise<void> {
  const agreed = await world.runUntil(world.clock.nowMs() + 120_000, () => {
    const digests = new Set(nodes.map((node) => node.drive()?.status().digest));
    return digests.size === 1 && nodes.every(isSettled);
  });
  expect(agreed).toBe(true);
  const hashes = new Set<string | undefined>();
  for (const node of nodes) {
    expect(await idsOf(node)).toEqual([...typed].sort());
    hashes.add(await node.replica()?.stateHash());
  }
  expect(hashes.size).toBe(1);
}

async function typeSome({ random, type }: Room, node: SimNode): Promise<void> {
  for (let i = 1 + random.below(4); i > 0; i--) {
    await type(node);
    if (random.below(3) === 0) await node.write();
  }
}

/** The profile and its copy, both on, with work of their own. @returns the site of both */
async function startCopies(room: Room): Promise<string> {
  const { devices, nodes } = room;
  const [owner, copy, bystander] = nodes;
  await owner.start();
  await typeSome(room, owner);
  await owner.kill();
  devices[1].storage = await copyStorage(devices[0].storage);
  for (const node of [owner, copy, bystander]) await node.start();
  await typeSome(room, owner);
  await typeSome(room, copy);
  return replicaOf(owner).keys.siteId;
}

test.each(Array.from({ length: 3 }, (_, at) => at + 1))(
  "[L13] two copies in two rooms that meet: both take new keys, and a third who met neither sees the proof (seed %i)",
  async (seed) => {
    const room = await createRoom(seed);
    const { nodes, connect, pass } = room;
    const [owner, copy, bystander, other] = nodes;
    try {
      const former = await startCopies(room);
      await other.start();
      connect(["n0", "n2"], ["n1", "n3"]);
      await pass(5_000);
      expect([owner, copy].map((node) => replicaOf(node).keys.siteId)).toEqual([former, former]);
      connect(["n0", "n2"], ["n1", "n3"], ["n2", "n3"]);
      await expectAgreement(room, nodes);
      const sites = [owner, copy].map((node) => replicaOf(node).keys.siteId);
      expect(new Set([...sites, former]).size).toBe(3);
      for (let round = 0; round < 3; round++) {
        for (const node of nodes) await typeSome(room, node);
        await expectAgreement(room, nodes);
      }
      await owner.kill();
      await copy.kill();
      await other.kill();
      // As one who comes new.
      room.devices[3].storage = createMemoryStorage();
      await other.start();
      connect(["n2", "n3"]);
      await expectAgreement(room, [bystander, other]);
      const { forks } = (await replicaOf(other).report()).counts;
      expect(forks).toMatchObject([{ siteId: former }]);
      expect(new Set(forks[0]?.headers).size).toBe(2);
      expect((await replicaOf(bystander).report()).counts.forks).toEqual(forks);
    } finally {
      for (const node of nodes) await node.kill();
    }
  },
  60_000,
);

test.each(Array.from({ length: 3 }, (_, at) => at + 1))(
  "[L13] two copies in one room part (seed %i)",
  async (seed) => {
    const room = await createRoom(50 + seed);
    const { nodes, connect, pass, random } = room;
    const [owner, copy, bystander] = nodes;
    const three = [owner, copy, bystander];
    try {
      await startCopies(room);
      connect(["n0", "n2"]);
      await pass(random.below(2_000));
      connect(["n0", "n2"], ["n1", "n2"]);
      for (let round = 0; round < 3; round++) {
        await expectAgreement(room, three);
        for (const node of three) await typeSome(room, node);
      }
      await expectAgreement(room, three);
      expect(replicaOf(owner).keys.siteId).not.toBe(replicaOf(copy).keys.siteId);
    } finally {
      for (const node of nodes) await node.kill();
    }
  },
  60_000,
);

test.each(Array.from({ length: 3 }, (_, at) => at + 1))(
  "[L13] an old backup on another device that writes before it connects (seed %i)",
  async (seed) => {
    const room = await createRoom(100 + seed);
    const { devices, nodes, connect } = room;
    const [owner, copy, bystander] = nodes;
    try {
      await owner.start();
      await bystander.start();
      connect(["n0", "n2"]);
      await typeSome(room, owner);
      await expectAgreement(room, [owner, bystander]);
      const backup = await copyStorage(devices[0].storage);
      await typeSome(room, owner);
      await expectAgreement(room, [owner, bystander]);
      devices[1].storage = backup;
      await copy.start();
      await typeSome(room, copy);
      connect(["n0", "n2"], ["n1", "n2"]);
      await typeSome(room, owner);
      for (let round = 0; round < 3; round++) {
        await expectAgreement(room, [owner, copy, bystander]);
        for (const node of [owner, copy]) await typeSome(room, node);
      }
      await expectAgreement(room, [owner, copy, bystander]);
      expect(replicaOf(owner).keys.siteId).not.toBe(replicaOf(copy).keys.siteId);
    } finally {
      for (const node of nodes) await node.kill();
    }
  },
  60_000,
);

test.each(Array.from({ length: 6 }, (_, at) => at + 1))(
  "[L13] power fails while keys are taken: nothing committed is lost, no version gets two contents (seed %i)",
  async (seed) => {
    const room = await createRoom(200 + seed);
    const { devices, nodes, random, connect, pass } = room;
    const [owner, copy, bystander, late] = nodes;
    const disks: readonly SimulatedDisk[] = [0, 1].map(() =>
      createSimulatedDisk((bound) => random.below(bound)),
    );
    try {
      await owner.start();
      await typeSome(room, owner);
      await owner.kill();
      const profile = devices[0].storage;
      for (const at of [0, 1] as const) {
        devices[at].storage = await copyStorage(profile, disks[at]?.storage);
      }
      for (const node of nodes) await node.start();
      const { siteId: former } = replicaOf(owner).keys;
      await typeSome(room, owner);
      await typeSome(room, copy);
      connect(["n0", "n2"], ["n1", "n3"]);
      await pass(3_000);
      connect(["n0", "n2"], ["n1", "n3"], ["n2", "n3"]);
      for (let cuts = 0; cuts < 4; cuts++) {
        for (const disk of disks) disk.losePowerAfter(random.below(60));
        await pass(200 + random.below(2_000));
        for (const [at, disk] of disks.entries()) {
          const node = nodes[at] as SimNode;
          if (!disk.hasLostPower()) {
            disk.losePowerAfter(null);
            continue;
          }
          await node.kill();
          disk.losePower();
          await node.start();
        }
        connect(["n0", "n2"], ["n1", "n3"], ["n2", "n3"]);
        for (const node of [bystander, owner, copy]) await typeSome(room, node);
      }
      await expectAgreement(room, nodes);
      const sites = [owner, copy].map((node) => replicaOf(node).keys.siteId);
      expect(new Set([...sites, former]).size).toBe(3);
      const { counts } = await replicaOf(late).report();
      // Only the copied key ever signed two contents under one version, and only once.
      expect(counts.forks).toMatchObject([{ siteId: former }]);
      expect(counts.forks[0]?.headers).toHaveLength(2);
    } finally {
      for (const node of nodes) await node.kill();
    }
  },
  60_000,
);
