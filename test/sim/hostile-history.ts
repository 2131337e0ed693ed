/**
 * One history of two to four honest devices and a Byzantine peer that stays to the end, drawn from a
 * seed: what the histories of `simulate` do with all faults is done here with one, and counted.
 */
import { isMeshError } from "../../src/protocol/errors.ts";
import { ANIMALS } from "../../src/testing/animals.ts";
import { type ByzantineCounts, createByzantinePeer } from "../../src/testing/byzantine.ts";
import { STRATEGY_NAMES, type StrategyName } from "../../src/testing/byzantine-strategies.ts";
import { createDatabaseDevice } from "../../src/testing/database-device.ts";
import { drawIdentities, SIM_MESH } from "../../src/testing/identities.ts";
import { writeAnimals } from "../../src/testing/random-work.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { createSimNetwork } from "../../src/testing/sim-network.ts";
import { createSimNode, type SimNode } from "../../src/testing/sim-node.ts";
import { checkDatabases } from "../../src/testing/simulate.ts";
import { createWorld } from "../../src/testing/world.ts";

const LAN = { latencyMs: 2, bytesPerMs: 10_000 };

export interface HostileReport {
  readonly counts: ByzantineCounts;
  /** Who was penalised by honest devices, each time. */
  readonly penalised: readonly string[];
  readonly victims: number;
  /** Frames that honest devices sent to one another. */
  readonly honestFrames: number;
  readonly honestBytes: number;
}

export async function runHostileHistory(
  seed: number,
  given: readonly StrategyName[] | null,
): Promise<HostileReport> {
  const random = createSeededRandom(seed);
  const world = createWorld();
  const gossip = given !== null || random.below(3) > 0 ? "on" : "off";
  const net = createSimNetwork(world, random, gossip);
  const strategies = given ?? STRATEGY_NAMES.filter(() => random.below(STRATEGY_NAMES.length) < 3);
  const nodes: SimNode[] = [];
  for (const [i, identity] of drawIdentities(2 + random.below(3), random).entries()) {
    const device = await createDatabaseDevice({
      id: `n${i}`,
      identity,
      disk: "formatted",
      schemas: [ANIMALS],
      write: writeAnimals,
      random,
    });
    nodes.push(createSimNode({ device, world, net, random, mesh: SIM_MESH }));
  }
  const evil = await createByzantinePeer({
    id: "evil",
    world,
    net,
    random,
    mesh: SIM_MESH,
    strategies,
  });
  let victims = 0;
  try {
    for (const node of nodes) await node.start();
    for (const [i, a] of nodes.entries()) {
      for (const b of nodes.slice(i + 1)) net.connect(a.device.id, b.device.id, LAN);
      if (i > 0 && random.below(2) > 0) continue;
      victims += 1;
      world.at(random.below(3_000), () => evil.haunt(a.device.id, LAN, a.isUp));
    }
    for (let i = 0; i < 12; i++) {
      const writer = nodes[random.below(nodes.length)] as SimNode;
      world.at(random.below(60_000), () => void writer.write().catch(refused(world.fail)));
    }
    await world.runUntil(60_000, () => false);
    // It stays, whatever it is doing: honest devices agree among themselves.
    const isDone = () => isConverged(nodes);
    if (!(await world.runUntil(world.clock.nowMs() + 120_000, isDone))) {
      throw new Error(`not converged in spite of ${strategies.join(", ")}`);
    }
    await checkDatabases(nodes, evil.voidRoots);
    const { framesSent, framesHeard, bytesSent, bytesHeard } = evil.counts;
    return {
      counts: evil.counts,
      penalised: net.penalties.map(({ peer }) => peer),
      victims,
      honestFrames: net.traffic.frames - framesSent - framesHeard,
      honestBytes: net.traffic.frameBytes - bytesSent - bytesHeard,
    };
  } finally {
    evil.stop();
    for (const node of nodes) await node.kill();
  }
}

/** A clock at its cap: the writer is told, and nothing is written. */
const refused = (fail: (fault: unknown) => void) => (error: unknown) => {
  if (!isMeshError(error, "ERR_ROWS_INVALID")) fail(error);
};

function isConverged(nodes: readonly SimNode[]): boolean {
  const ids = new Set(nodes.map(({ device }) => device.id));
  const digests = new Set<string>();
  for (const node of nodes) {
    const status = node.drive()?.status();
    const peers = status?.peers.filter(({ peer }) => ids.has(peer)) ?? [];
    if (status?.offered !== true || peers.some(({ sameDigest }) => !sameDigest)) return false;
    if (peers.length < nodes.length - 1) return false;
    digests.add(status.digest);
  }
  return digests.size === 1;
}
