/**
 * The course of one simulated history: what is drawn from the seed, the time of faults, the peace
 * after it, and what is counted.
 *
 * @module
 */

import type { MeshId } from "../protocol/ids.ts";
import type { Random, ReplicaStore } from "../seams.ts";
import { type ByzantinePeer, createByzantinePeer } from "./byzantine.ts";
import { STRATEGY_NAMES, type StrategyName } from "./byzantine-strategies.ts";
import { bytesNeeded, checkLedger, checkSigned, readLog } from "./checks.ts";
import {
  type Cast,
  type Fault,
  healDisk,
  join,
  liveApart,
  planFaults,
  planWrites,
  relink,
  type Stage,
  write,
} from "./faults.ts";
import { createReleaseWatch } from "./releases.ts";
import { createSeededRandom } from "./seeded-random.ts";
import { createSimNetwork, type LinkQuality, type SimNetwork } from "./sim-network.ts";
import { createSimNode, type SimDevice, type SimNode } from "./sim-node.ts";
import { createWorld } from "./world.ts";

export interface SimReport {
  readonly seed: number;
  /** A hash of everything delivered and when. */
  readonly trace: string;
  readonly peers: number;
  readonly faults: readonly Fault[];
  readonly gossip: "on" | "off";
  /** Transactions asked for, those acknowledged, and those that a disk put back may have lost. */
  readonly written: number;
  readonly acknowledged: number;
  readonly mayBeLost: number;
  readonly crashes: number;
  /** Changesets in everybody's log at the end. */
  readonly changesets: number;
  readonly steps: number;
  readonly virtualMs: number;
  /** From the end of all faults to equal digests everywhere. */
  readonly convergeMs: number;
  /** One more transaction, from its commit until everybody knows that everybody has it. */
  readonly freshMs: number;
  /** Frames and broadcasts, lost ones included, and what a mesh without faults or overhead would need. */
  readonly bytesSent: number;
  readonly bytesNeeded: number;
  readonly frames: number;
  readonly frameBytes: number;
  /** Digests sent, in hellos or alone. */
  readonly rounds: number;
  /** Changesets brought by anti-entropy and by gossip, the first time and again. */
  readonly runs: number;
  readonly runsAgain: number;
  readonly broadcasts: number;
  readonly broadcastsAgain: number;
  /** By type byte of `protocol/messages.ts`. */
  readonly framesByType: readonly number[];
  /** What the Byzantine peer did, if there was one; its frames, and those to it, are counted above. */
  readonly byzantine: readonly StrategyName[];
}

/** Devices that a history is about. */
export interface Fleet {
  readonly mesh: MeshId;
  readonly devices: readonly SimDevice[];
  /** Has the identity of the first device; its disk becomes a copy of that one's, if that is drawn. */
  readonly copy: SimDevice | null;
  /** Releases of the app's schema. */
  readonly releases: number;
  /**
   * Throws what is wrong with devices that agree.
   * @param voidRoots of payloads that must contribute nothing, 64 hex digits each
   */
  readonly check: (alive: readonly SimNode[], voidRoots: ReadonlySet<string>) => Promise<void>;
}

export interface FleetOptions {
  readonly seed: number;
  readonly peers?: number;
  readonly faults: readonly Fault[];
  /** Makes so many devices of one mesh. Everything random in them comes from `random`. */
  readonly createFleet: (count: number, random: Random) => Promise<Fleet>;
}

/** After the faults: enough for every backoff and lease to run out twice. */
const PEACE_MS = 180_000;
/** At most five hops of a few milliseconds; a digest would be due after 2,500 at the earliest. */
const FRESH_MS = 2_400;
/** Up to here a line of devices is short enough for {@link FRESH_MS}. */
const FEW_PEERS = 8;
const PEERS_MAX = 60;
const LAN: LinkQuality = { latencyMs: 2, bytesPerMs: 10_000 };

export interface History {
  readonly run: () => Promise<SimReport>;
  /** Ends all devices. */
  readonly end: () => Promise<void>;
}

/** Draws the history; nothing has happened yet. */
export async function createHistory(options: FleetOptions): Promise<History> {
  const random = createSeededRandom(options.seed);
  const world = createWorld();
  const gossip = random.below(3) > 0 ? "on" : "off";
  const net = createSimNetwork(world, random, gossip);
  const faults = drawFaults(options.faults, random);
  const count = options.peers ?? (random.below(100) === 0 ? 50 : 2 + random.below(5));
  if (count < 2 || count > PEERS_MAX) throw new RangeError(`${count} peers`);
  const fleet = await options.createFleet(count, random);
  const releases = createReleaseWatch(world.fail);
  const nodeOf = (device: SimDevice): SimNode => {
    const node: SimNode = createSimNode({
      device,
      world,
      net,
      random,
      mesh: fleet.mesh,
      onIngest: releases.see,
      onRelinked: () => relink(linked, node),
    });
    return node;
  };
  const originals = fleet.devices.map(nodeOf);
  const copy = fleet.copy !== null && faults.has("copies") ? nodeOf(fleet.copy) : null;
  const nodes = copy === null ? originals : [...originals, copy];
  if (fleet.releases < 2) faults.delete("upgrades");
  // A bare log cannot tell which rows count.
  if (fleet.devices.some(({ database }) => database === null)) faults.delete("byzantine");
  const strategies = faults.has("byzantine") ? drawStrategies(random) : [];
  const evil = faults.has("byzantine")
    ? await createByzantinePeer({ id: "evil", world, net, random, mesh: fleet.mesh, strategies })
    : null;
  const stage: Stage = {
    nodes,
    pairs: topology(nodes, random),
    world,
    net,
    random,
    releases,
    faults,
    untilMs: 5_000 + random.below(30_000),
    cast: drawCast(originals, copy, faults, random),
    lastRelease: fleet.releases - 1,
    isApart: false,
    isPeace: false,
  };

  /** Who is to be linked now. */
  let linked = stage;

  async function agree(alive: readonly SimNode[], withinMs: number): Promise<number> {
    const startMs = world.clock.nowMs();
    const isDone = convergence(alive);
    if (await world.runUntil(startMs + withinMs, isDone)) return world.clock.nowMs() - startMs;
    throw new Error(`not converged: ${describe(nodes)}`);
  }

  async function run(): Promise<SimReport> {
    for (const node of originals) await node.start();
    planFaults(stage);
    if (evil !== null) planHaunting(stage, evil);
    const writes = count > FEW_PEERS ? 10 + random.below(15) : 4 + random.below(16);
    planWrites(stage, writes);
    await world.runUntil(stage.untilMs, () => false);
    evil?.stop();
    if (faults.has("weeks")) await liveApart(stage);
    linked = await makePeace(stage);
    const alive = nodes.filter((node) => !node.isHanging());
    const convergeMs = await agree(alive, PEACE_MS);
    net.heal(LAN);
    await write(alive[random.below(alive.length)] as SimNode);
    // Who hangs is asked, too, and gives nothing until the lease runs out.
    const isQuick = count <= FEW_PEERS && alive.length === nodes.length;
    const freshMs = await agree(alive, isQuick ? FRESH_MS : PEACE_MS);
    await checkAlike(alive);
    await fleet.check(alive, evil?.voidRoots ?? new Set());
    // Who hangs or hears nothing says no hello; a real link is dead by then.
    const penalty = net.penalties.find(
      ({ peer, code }) => peer !== evil?.id && code !== "ERR_HELLO_MISSING",
    );
    if (penalty !== undefined) throw new Error(`honest peer blamed: ${JSON.stringify(penalty)}`);
    const log = await readLog(storeOf(alive[0]));
    const ledgers = nodes.flatMap(({ device: { database } }) =>
      database === null ? [] : [{ sites: database.sites(), ledger: database.ledger }],
    );
    checkSigned(ledgers, log);
    for (const node of alive) {
      const { device } = node;
      const hasOneHistory = node !== stage.cast.rewound && !isCopied(stage.cast, node);
      if (device.database === null) continue;
      const { ledger, sites } = device.database;
      checkLedger({ id: device.id, sites: sites() }, ledger, log, hasOneHistory);
    }
    return {
      seed: options.seed,
      gossip,
      faults: [...faults],
      ...countDevices(nodes),
      ...countTraffic(net.traffic),
      trace: net.trace(),
      changesets: log.length,
      bytesNeeded: bytesNeeded(log, nodes.length),
      steps: world.steps(),
      virtualMs: world.clock.nowMs(),
      convergeMs,
      freshMs,
      byzantine: strategies,
    };
  }

  return {
    run,
    end: async () => {
      evil?.stop();
      for (const node of nodes) await node.kill();
    },
  };
}

/** Each kind in one of so many histories; the others in every second one. */
const RARE: Partial<Record<Fault, number>> = { weeks: 4, hangs: 4, byzantine: 5, rebuilds: 5 };

/** One history in eight has no faults. */
function drawFaults(allowed: readonly Fault[], random: Random): Set<Fault> {
  if (random.below(8) === 0) return new Set();
  return new Set(allowed.filter((fault) => random.below(RARE[fault] ?? 2) === 0));
}

/** One to three of them. */
const drawStrategies = (random: Random): readonly StrategyName[] => [
  ...new Set(
    Array.from(
      { length: 1 + random.below(3) },
      () => STRATEGY_NAMES[random.below(STRATEGY_NAMES.length)] as StrategyName,
    ),
  ),
];

/** It comes to one device at least, at any time. */
function planHaunting({ nodes, world, random, untilMs }: Stage, evil: ByzantinePeer): void {
  for (const [i, node] of nodes.entries()) {
    if (i > 0 && random.below(2) > 0) continue;
    const isUp = () => node.isUp() && !node.isHanging();
    world.at(random.below(untilMs), () => evil.haunt(node.device.id, LAN, isUp));
  }
}

function drawCast(
  originals: readonly SimNode[],
  copy: SimNode | null,
  faults: ReadonlySet<Fault>,
  random: Random,
): Cast {
  const [first, ...others] = originals as [SimNode, ...SimNode[]];
  const take = () => others.splice(random.below(others.length), 1)[0] ?? null;
  // Of two devices none may hang: somebody must be left to agree with.
  const hangs = faults.has("hangs") && originals.length > 2 ? take() : null;
  const rewinds = faults.has("backups") && first.device.database !== null;
  return {
    hangs,
    rewound: rewinds ? take() : null,
    copied: copy === null ? null : { from: first, to: copy },
  };
}

const isCopied = ({ copied }: Cast, node: SimNode): boolean =>
  copied !== null && (copied.from === node || copied.to === node);

/** All pairs, a ring, a line, or a star; of many devices a ring with chords. */
function topology(
  nodes: readonly SimNode[],
  random: Random,
): readonly (readonly [SimNode, SimNode])[] {
  const kind = nodes.length > FEW_PEERS ? 4 : random.below(4);
  const pairs: [SimNode, SimNode][] = [];
  for (const [i, a] of nodes.entries()) {
    for (const [j, b] of nodes.entries()) {
      if (i >= j) continue;
      const isNext = j === i + 1;
      const closes = (kind === 1 || kind === 4) && i === 0 && j === nodes.length - 1;
      const isChord = kind === 4 && random.below(nodes.length) < 2;
      if (kind === 0 || (kind === 3 ? i === 0 : isNext || closes || isChord)) pairs.push([a, b]);
    }
  }
  return pairs;
}

/** No more faults, everybody up, on the latest release, and linked. @returns who to whom */
async function makePeace(stage: Stage): Promise<Stage> {
  const { nodes, world, net, random, lastRelease } = stage;
  stage.isPeace = true;
  net.faults({ lossPercent: 0, doublePercent: 0, delayMs: 20 });
  await world.rest();
  for (const node of nodes) {
    node.crashAfter(Number.POSITIVE_INFINITY);
    node.setSlow(0);
    const { database } = node.device;
    if (database !== null) healDisk(database);
    if (node.isHanging()) continue;
    if (stage.faults.has("upgrades") && database !== null) {
      if (!node.isOff()) await node.kill();
      database.install(lastRelease);
    }
    // A start that is under way may have met a disk that was full then.
    if (!node.isUp() && !node.isOff()) await node.kill();
    if (node.isOff()) await node.start();
  }
  // Whoever was slow to start is up by then.
  await world.runUntil(world.clock.nowMs() + 3_000, () => false);
  const alive = nodes.filter((node) => !node.isHanging());
  // Whatever links there are, stalled ones among them; those of a device that hangs stay.
  for (const a of alive) for (const b of alive) net.cut(a.device.id, b.device.id);
  const pairs = topology(alive, random);
  const faultless = { ...stage, pairs, faults: new Set<Fault>() };
  for (const [a, b] of pairs) join(faultless, a, b);
  return faultless;
}

/** Whether all know that all hold the same. Looks first at who did not last time. */
function convergence(nodes: readonly SimNode[]): () => boolean {
  const ids = new Set(nodes.map(({ device }) => device.id));
  let at = 0;
  return () => {
    let digest: string | null = null;
    for (let i = 0; i < nodes.length; i++) {
      const index = (at + i) % nodes.length;
      const status = nodes[index]?.drive()?.status();
      const peers = status?.peers.filter(({ peer }) => ids.has(peer)) ?? [];
      const agrees =
        status?.offered === true && peers.length > 0 && peers.every(({ sameDigest }) => sameDigest);
      digest ??= status?.digest ?? null;
      if (agrees && digest === status.digest) continue;
      at = index;
      return false;
    }
    return true;
  };
}

const describe = (nodes: readonly SimNode[]): string =>
  JSON.stringify(
    nodes.map((node) => ({ id: node.device.id, ...node.drive()?.status(), refusals: undefined })),
    null,
    1,
  );

function storeOf(node: SimNode | undefined): ReplicaStore {
  const store = node?.replica()?.store;
  if (store === undefined) throw new Error(`${node?.device.id} is down`);
  return store;
}

/** The same vectors, claim for claim. */
async function checkAlike(alive: readonly SimNode[]): Promise<void> {
  const vectors = new Set<string>();
  for (const node of alive) {
    const entries = await storeOf(node).vector();
    const claims = entries.flatMap((entry) =>
      entry.head === 0 && entry.beyond.length === 0 ? [] : [JSON.stringify(entry)],
    );
    vectors.add(claims.sort().join("\n"));
  }
  if (vectors.size !== 1) throw new Error(`vectors differ: ${[...vectors].join(" and ")}`);
}

function countDevices(nodes: readonly SimNode[]) {
  const sum = (of: (counts: SimNode["counts"]) => number): number =>
    nodes.reduce((total, { counts }) => total + of(counts), 0);
  const acknowledged = nodes.flatMap(({ device }) => device.database?.ledger.acknowledged ?? []);
  return {
    peers: nodes.length,
    written: sum(({ written }) => written),
    acknowledged: acknowledged.length,
    mayBeLost: acknowledged.filter(({ fate }) => fate === "mayBeLost").length,
    crashes: sum(({ crashes }) => crashes),
    runs: sum(({ ingested }) => ingested.run),
    runsAgain: sum(({ duplicates }) => duplicates.run),
    broadcasts: sum(({ ingested }) => ingested.broadcast),
    broadcastsAgain: sum(({ duplicates }) => duplicates.broadcast),
  };
}

/** Type bytes of hello and digest. */
const HELLO = 1;
const DIGEST = 2;

const countTraffic = (traffic: SimNetwork["traffic"]) => ({
  bytesSent: traffic.frameBytes + traffic.broadcastBytes,
  frames: traffic.frames,
  frameBytes: traffic.frameBytes,
  rounds: (traffic.framesByType[HELLO] ?? 0) + (traffic.framesByType[DIGEST] ?? 0),
  framesByType: traffic.framesByType,
});
