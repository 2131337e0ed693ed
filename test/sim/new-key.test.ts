/** Profiles that exist twice, in a room with others: every copy ends with a key of its own. */
import { expect, test } from "vitest";
import { createDatabaseDevice, type DatabaseDevice } from "../../src/testing/database-device.ts";
import { writeAnimals } from "../../src/testing/random-work.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { createSimNetwork, type SimNetwork } from "../../src/testing/sim-network.ts";
import { createSimNode, type SimNode } from "../../src/testing/sim-node.ts";
import { createWorld, type World } from "../../src/testing/world.ts";
import type { Random } from "../../src/seams.ts";
import { ANIMALS, MESH } from "../fixtures/replicas.ts";

const LINK = { latencyMs: 20, bytesPerMs: 1_000 };

type Five<T> = readonly [T, T, T, T, T];

interface Room {
  readonly world: World;
  readonly net: SimNetwork;
  readonly random: Random;
  readonly devices: Five<DatabaseDevice>;
  /** The owner, a copy, two who meet them, and who comes last. */
  readonly nodes: Five<SimNode>;
  /** One row of its own. */
  readonly type: (node: SimNode) => Promise<void>;
  readonly typed: readonly string[];
  /** Links that are up stay up, also when a device comes back with another key. */
  readonly connect: (...pairs: readonly (readonly [string, string])[]) => void;
  readonly pass: (ms: number) => Promise<void>;
}

const replicaOf = ({ device }: SimNode) => {
  const replica = device.database?.replica();
  const db = device.database?.db();
  if (replica === null || replica === undefined) throw new Error("not started");
  if (db === null || db === undefined) throw new Error("not started");
  return { ...replica, db };
};

const siteOf = (node: SimNode) => replicaOf(node).site();

const idsOf = async (node: SimNode): Promise<string[]> => {
  const rows = await replicaOf(node).db.query<{ id: string }>(
    "SELECT cast(id AS TEXT) AS id FROM tag WHERE length(id) > 8 ORDER BY id",
  );
  return rows.map(({ id }) => id);
};

async function createRoom(seed: number): Promise<Room> {
  const random = createSeededRandom(seed);
  const world = createWorld();
  const net = createSimNetwork(world, random, seed % 2 === 0 ? "on" : "off");
  const create = (at: number, identity: number) =>
    createDatabaseDevice({
      id: `n${at}`,
      identity,
      disk: "blank",
      schemas: [ANIMALS],
      write: writeAnimals,
      random,
      newSecret: () => random.bytes(32),
    });
  const devices: Five<DatabaseDevice> = [
    await create(0, 0),
    await create(1, 0),
    await create(2, 2),
    await create(3, 3),
    await create(4, 4),
  ];
  const typed: string[] = [];
  let pairs: readonly (readonly [string, string])[] = [];
  /** A link made while it was joining is none. */
  const relink = (id: string): void => {
    for (const [a, b] of pairs) {
      if (a !== id && b !== id) continue;
      net.cut(a, b);
      net.connect(a, b, LINK);
    }
  };
  const [owner, copy, bystander, other, late] = devices.map((device) =>
    createSimNode({ device, world, net, random, mesh: MESH, onRelinked: () => relink(device.id) }),
  ) as [SimNode, SimNode, SimNode, SimNode, SimNode];
  return {
    world,
    net,
    random,
    devices,
    nodes: [owner, copy, bystander, other, late],
    typed,
    type: async (node) => {
      const id = `typed here ${typed.length}`;
      const work = replicaOf(node).db.exec("INSERT INTO tag VALUES (CAST(? AS BLOB))", [id]);
      await world.busy(work);
      typed.push(id);
    },
    connect: (...given) => {
      pairs = given;
      for (const [a, b] of pairs) net.connect(a, b, LINK);
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
  devices[1].database.disk.restore(devices[0].database.disk.copy());
  for (const node of [owner, copy, bystander]) await node.start();
  await typeSome(room, owner);
  await typeSome(room, copy);
  return siteOf(owner);
}

test.each(Array.from({ length: 2 }, (_, at) => at + 1))(
  "[L13] two copies in two rooms that meet: both take new keys, and a third who met neither sees the proof (seed %i)",
  async (seed) => {
    const room = await createRoom(seed);
    const { connect, pass } = room;
    const [owner, copy, bystander, other, late] = room.nodes;
    const nodes = [owner, copy, bystander, other];
    try {
      const former = await startCopies(room);
      await other.start();
      connect(["n0", "n2"], ["n1", "n3"]);
      await pass(5_000);
      expect([owner, copy].map((node) => siteOf(node))).toEqual([former, former]);
      connect(["n0", "n2"], ["n1", "n3"], ["n2", "n3"]);
      await expectAgreement(room, nodes);
      const sites = [owner, copy].map((node) => siteOf(node));
      expect(new Set([...sites, former]).size).toBe(3);
      for (let round = 0; round < 3; round++) {
        for (const node of nodes) await typeSome(room, node);
        await expectAgreement(room, nodes);
      }
      await owner.kill();
      await copy.kill();
      await late.start();
      connect(["n2", "n4"]);
      await expectAgreement(room, [bystander, late]);
      const forks = await replicaOf(late).forks();
      expect(forks).toMatchObject([{ siteId: former }]);
      expect(new Set(forks[0]?.headers).size).toBe(2);
      expect(await replicaOf(bystander).forks()).toEqual(forks);
    } finally {
      for (const node of room.nodes) await node.kill();
    }
  },
  60_000,
);

test.each(Array.from({ length: 2 }, (_, at) => at + 1))(
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
      expect(siteOf(owner)).not.toBe(siteOf(copy));
    } finally {
      for (const node of room.nodes) await node.kill();
    }
  },
  60_000,
);

test.each(Array.from({ length: 2 }, (_, at) => at + 1))(
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
      const backup = devices[0].database.disk.copy();
      await typeSome(room, owner);
      await expectAgreement(room, [owner, bystander]);
      devices[1].database.disk.restore(backup);
      await copy.start();
      await typeSome(room, copy);
      connect(["n0", "n2"], ["n1", "n2"]);
      await typeSome(room, owner);
      for (let round = 0; round < 3; round++) {
        await expectAgreement(room, [owner, copy, bystander]);
        for (const node of [owner, copy]) await typeSome(room, node);
      }
      await expectAgreement(room, [owner, copy, bystander]);
      expect(siteOf(owner)).not.toBe(siteOf(copy));
    } finally {
      for (const node of room.nodes) await node.kill();
    }
  },
  60_000,
);

test.each(Array.from({ length: 4 }, (_, at) => at + 1))(
  "[L13] power fails while keys are taken: nothing committed is lost, no version gets two contents (seed %i)",
  async (seed) => {
    const room = await createRoom(200 + seed);
    const { random, connect, pass } = room;
    const [owner, copy, bystander, other] = room.nodes;
    const links = [
      ["n0", "n2"],
      ["n1", "n3"],
      ["n2", "n3"],
    ] as const;
    try {
      const former = await startCopies(room);
      await other.start();
      connect(...links.slice(0, 2));
      await pass(3_000);
      connect(...links);
      for (let cuts = 0; cuts < 4; cuts++) {
        for (const node of [owner, copy]) node.crashAfter(1 + random.below(400));
        await pass(200 + random.below(2_000));
        for (const node of [owner, copy]) {
          if (node.isOff()) await node.start();
          node.crashAfter(Number.POSITIVE_INFINITY);
        }
        connect(...links);
        for (const node of [bystander, owner, copy]) await typeSome(room, node);
      }
      await expectAgreement(room, [owner, copy, bystander, other]);
      expect(owner.counts.crashes + copy.counts.crashes).toBeGreaterThan(0);
      expect(new Set([siteOf(owner), siteOf(copy), former]).size).toBe(3);
      const forks = await replicaOf(other).forks();
      // Only the copied key ever signed two contents under one version, and only once.
      expect(forks).toMatchObject([{ siteId: former }]);
      expect(forks[0]?.headers).toHaveLength(2);
    } finally {
      for (const node of room.nodes) await node.kill();
    }
  },
  60_000,
);
