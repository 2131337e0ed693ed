/**
 * One history of a mesh, drawn from one seed: devices, links, transactions, cuts, partitions, slow
 * links, lost broadcasts, restarts; then peace, and the checks: everybody holds everything, the
 * tables are equal, nobody was blamed, and it did not cost too much.
 *
 * @module
 */

import type { MeshId } from "../protocol/ids.ts";
import { createSeededRandom } from "./seeded-random.ts";
import { createSimNetwork, type LinkQuality, type SimNetwork } from "./sim-network.ts";
import { createSimNode, type SimDevice, type SimNode } from "./sim-node.ts";
import { createWorld, type World } from "./world.ts";
import type { Random } from "../seams.ts";

export interface Fleet {
  readonly mesh: MeshId;
  readonly devices: readonly SimDevice[];
}

export interface SimOptions {
  readonly seed: number;
  /** Makes so many devices of one mesh. Everything random in them comes from `random`. */
  readonly createFleet: (count: number, random: Random, world: World) => Promise<Fleet>;
}

export interface SimReport {
  readonly seed: number;
  readonly trace: string;
  readonly peers: number;
  readonly gossip: "on" | "off";
  readonly written: number;
  readonly steps: number;
  readonly virtualMs: number;
  /** From the end of all faults to equal digests everywhere. */
  readonly convergeMs: number;
  /** One more transaction, from its commit until everybody knows that everybody has it. */
  readonly freshMs: number;
  readonly frames: number;
  readonly frameBytes: number;
  /** Changesets brought by anti-entropy and by gossip, the first time and again. */
  readonly runs: number;
  readonly runsAgain: number;
  readonly broadcasts: number;
  readonly broadcastsAgain: number;
  /** By type byte of `protocol/messages.ts`. */
  readonly framesByType: readonly number[];
}

/** After the faults: enough for every backoff and lease to run out twice. */
const PEACE_MS = 180_000;
/** At most five hops of a few milliseconds; a digest would be due after 2,500 at the earliest. */
const FRESH_MS = 2_400;
const LAN: LinkQuality = { latencyMs: 2, bytesPerMs: 10_000 };

export async function simulate({ seed, createFleet }: SimOptions): Promise<SimReport> {
  const random = createSeededRandom(seed);
  const world = createWorld();
  const gossip = random.below(3) > 0 ? "on" : "off";
  const net = createSimNetwork(world, random, gossip);
  const fleet = await createFleet(2 + random.below(5), random, world);
  const nodes = fleet.devices.map((device) =>
    createSimNode(device, world, net, random, fleet.mesh),
  );
  try {
    for (const node of nodes) await world.busy(node.start());
    const faultsMs = 5_000 + random.below(30_000);
    const failures = planFaults(nodes, world, net, random, faultsMs);
    await world.runUntil(faultsMs, () => false);
    await makePeace(nodes, world, net, random);
    const alive = nodes.filter((node) => !node.isHanging());
    const agree = async (withinMs: number) => {
      const startMs = world.clock.nowMs();
      const agreed = await world.runUntil(startMs + withinMs, () => isConverged(alive));
      if (failures.length > 0) throw failures[0];
      if (!agreed) throw new Error(`not converged: ${describe(nodes)}`);
      return world.clock.nowMs() - startMs;
    };
    const convergeMs = await agree(PEACE_MS);
    net.heal(LAN);
    await (alive[random.below(alive.length)] as SimNode).write();
    const freshMs = await agree(FRESH_MS);
    await checkStates(alive, net);
    return {
      ...costs(nodes, net),
      seed,
      gossip,
      steps: world.steps(),
      virtualMs: world.clock.nowMs(),
      convergeMs,
      freshMs,
    };
  } finally {
    for (const node of nodes) await node.kill();
  }
}

/** Draws what will happen, and when. @returns what went wrong meanwhile */
function planFaults(
  nodes: readonly SimNode[],
  world: World,
  net: SimNetwork,
  random: Random,
  untilMs: number,
): readonly unknown[] {
  const failures: unknown[] = [];
  const pick = () => nodes[random.below(nodes.length)] as SimNode;
  const spawn = (work: Promise<unknown>) =>
    void world.busy(work).catch((error: unknown) => failures.push(error));
  const at = (run: () => void) => world.at(random.below(untilMs), run);
  const pairs = topology(nodes, random);
  net.faults({
    lossPercent: random.below(60),
    doublePercent: random.below(20),
    delayMs: random.below(800),
  });
  for (const [a, b] of pairs) {
    const quality = drawQuality(random);
    world.at(random.below(2_000), () => join(net, a, b, quality));
    for (let cuts = random.below(4); cuts > 0; cuts--) {
      const startMs = random.below(untilMs);
      world.at(startMs, () => net.cut(a.device.id, b.device.id));
      world.at(startMs + 500 + random.below(10_000), () => join(net, a, b, drawQuality(random)));
    }
  }
  for (let i = 8 + random.below(30); i > 0; i--) at(() => spawn(pick().write()));
  for (let i = random.below(3); i > 0; i--) {
    at(() => {
      const writer = pick();
      for (let j = 0; j < 12; j++) spawn(writer.write());
    });
  }
  for (let i = random.below(4); i > 0; i--) at(() => spawn(restart(pick(), world, random)));
  if (nodes.length > 2 && random.below(3) === 0) {
    const what = random.below(2) === 0 ? "all" : "reads";
    at(() => pick().hang(what));
  }
  return failures;
}

async function restart(node: SimNode, world: World, random: Random): Promise<void> {
  if (!node.isUp() || node.isHanging()) return;
  await node.kill();
  world.at(200 + random.below(5_000), () => {
    if (!node.isUp()) void world.busy(node.start());
  });
}

/** A link exists only between two devices that run. */
function join(net: SimNetwork, a: SimNode, b: SimNode, quality: LinkQuality): void {
  const canMeet = [a, b].every((node) => node.isUp() && !node.isHanging());
  if (canMeet) net.connect(a.device.id, b.device.id, quality);
}

const drawQuality = (random: Random): LinkQuality =>
  random.below(4) === 0
    ? { latencyMs: 50 + random.below(250), bytesPerMs: 30 + random.below(200) }
    : { latencyMs: 1 + random.below(20), bytesPerMs: 2_000 + random.below(20_000) };

/** All pairs, a ring, a line, or a star. */
function topology(
  nodes: readonly SimNode[],
  random: Random,
): readonly (readonly [SimNode, SimNode])[] {
  const kind = random.below(4);
  const pairs: [SimNode, SimNode][] = [];
  for (const [i, a] of nodes.entries()) {
    for (const [j, b] of nodes.entries()) {
      const isNext = j === i + 1 || (kind === 1 && i === 0 && j === nodes.length - 1);
      const isLinked = kind === 0 || (kind === 3 ? i === 0 : isNext);
      if (i < j && isLinked) pairs.push([a, b]);
    }
  }
  return pairs;
}

async function makePeace(
  nodes: readonly SimNode[],
  world: World,
  net: SimNetwork,
  random: Random,
): Promise<void> {
  net.faults({ lossPercent: 0, doublePercent: 0, delayMs: 20 });
  await world.rest();
  for (const node of nodes) if (!node.isUp()) await world.busy(node.start());
  const alive = nodes.filter((node) => !node.isHanging());
  for (const [a, b] of topology(alive, random)) join(net, a, b, LAN);
}

function isConverged(nodes: readonly SimNode[]): boolean {
  const ids = new Set(nodes.map(({ device }) => device.id));
  const digests = new Set<string>();
  for (const node of nodes) {
    const status = node.drive()?.status();
    const peers = status?.peers.filter(({ peer }) => ids.has(peer)) ?? [];
    if (status === undefined || peers.length === 0 || !status.offered) return false;
    if (peers.some(({ sameDigest }) => !sameDigest)) return false;
    digests.add(status.digest);
  }
  return digests.size === 1;
}

const describe = (nodes: readonly SimNode[]): string =>
  JSON.stringify(
    nodes.map((node) => ({ id: node.device.id, ...node.drive()?.status(), refusals: undefined })),
    null,
    1,
  );

async function checkStates(nodes: readonly SimNode[], net: SimNetwork): Promise<void> {
  const hashes = new Set<string>();
  for (const node of nodes) hashes.add((await node.replica()?.stateHash()) ?? "down");
  if (hashes.size !== 1) throw new Error(`state hashes differ: ${[...hashes].join(" ")}`);
  const [penalty] = net.penalties;
  if (penalty !== undefined) throw new Error(`honest peer blamed: ${JSON.stringify(penalty)}`);
}

function costs(nodes: readonly SimNode[], net: SimNetwork) {
  const sum = (of: (counts: SimNode["counts"]) => number) =>
    nodes.reduce((total, { counts }) => total + of(counts), 0);
  return {
    trace: net.trace(),
    peers: nodes.length,
    written: sum(({ written }) => written),
    frames: net.traffic.frames,
    frameBytes: net.traffic.frameBytes,
    runs: sum(({ ingested }) => ingested.run),
    runsAgain: sum(({ duplicates }) => duplicates.run),
    broadcasts: sum(({ ingested }) => ingested.broadcast),
    broadcastsAgain: sum(({ duplicates }) => duplicates.broadcast),
    framesByType: net.traffic.framesByType,
  };
}
