/** One history of two to four honest devices and a Byzantine peer, drawn from a seed. */
import { isMeshError } from "../../src/protocol/errors.ts";
import { type ByzantineCounts, createByzantinePeer } from "../../src/testing/byzantine.ts";
import { STRATEGY_NAMES, type StrategyName } from "../../src/testing/byzantine-strategies.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { createSimNetwork } from "../../src/testing/sim-network.ts";
import { createSimNode, type SimNode } from "../../src/testing/sim-node.ts";
import { createWorld } from "../../src/testing/world.ts";
import { MESH } from "../fixtures/replicas.ts";
import { createSqlDevice } from "./sql-fleet.ts";

const LAN = { latencyMs: 2, bytesPerMs: 10_000 };

export interface HostileReport {
  readonly counts: ByzantineCounts;
  /** Who was penalised by honest devices, each time. */
  readonly penalised: readonly string[];
  readonly strategies: readonly StrategyName[];
}

export async function runHostileHistory(
  seed: number,
  given: readonly StrategyName[] | null,
): Promise<HostileReport> {
  const random = createSeededRandom(seed);
  const world = createWorld();
  const net = createSimNetwork(world, random, given !== null || random.below(3) > 0 ? "on" : "off");
  const strategies = given ?? STRATEGY_NAMES.filter(() => random.below(STRATEGY_NAMES.length) < 3);
  const voidRoots = new Set<string>();
  const nodes: SimNode[] = [];
  for (let i = 2 + random.below(3); i > 0; i--) {
    const device = await createSqlDevice(`n${i}`, random, world, undefined, voidRoots);
    nodes.push(createSimNode(device, world, net, random, MESH));
  }
  const evil = await createByzantinePeer({
    id: "evil",
    world,
    net,
    random,
    mesh: MESH,
    strategies,
  });
  for (const root of evil.voidRoots) voidRoots.add(root);
  const failures: unknown[] = [];
  const write = (node: SimNode) =>
    void node.write().catch((error: unknown) => {
      // A clock at its cap: the writer is told, and nothing is written.
      if (!isMeshError(error, "ERR_ROWS_INVALID")) failures.push(error);
    });
  try {
    for (const node of nodes) await world.busy(node.start());
    for (const [i, a] of nodes.entries()) {
      for (const b of nodes.slice(i + 1)) net.connect(a.device.id, b.device.id, LAN);
      if (i === 0 || random.below(2) === 0) {
        world.at(random.below(3_000), () => evil.haunt(a.device.id, LAN));
      }
    }
    for (let i = 0; i < 12; i++) {
      world.at(random.below(60_000), () => write(nodes[random.below(nodes.length)] as SimNode));
    }
    await world.runUntil(60_000, () => false);
    // It stays, whatever it is doing: honest devices agree among themselves.
    const isDone = () => isConverged(nodes);
    if (!(await world.runUntil(world.clock.nowMs() + 120_000, isDone))) {
      throw new Error(`not converged in spite of ${strategies.join(", ")}`);
    }
    if (failures.length > 0) throw failures[0];
    const hashes = new Set<string>();
    for (const node of nodes) hashes.add((await node.replica()?.stateHash()) ?? "down");
    if (hashes.size !== 1) throw new Error("state hashes differ");
    return { counts: evil.counts, penalised: net.penalties.map(({ peer }) => peer), strategies };
  } finally {
    evil.stop();
    for (const node of nodes) await node.kill();
  }
}

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
