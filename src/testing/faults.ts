/**
 * What may go wrong in a simulated mesh, drawn from the seed: every history has some kinds of
 * faults and not others, so that rare combinations happen often.
 *
 * @module
 */

import { isMeshError, type MeshErrorCode } from "../protocol/errors.ts";
import type { Random } from "../seams.ts";
import { readLog } from "./checks.ts";
import type { DatabaseParts } from "./database-device.ts";
import type { ReleaseWatch } from "./releases.ts";
import type { LinkQuality, SimNetwork } from "./sim-network.ts";
import type { SimNode } from "./sim-node.ts";
import type { World } from "./world.ts";

/**
 * - `gossip`: broadcasts are lost, late, doubled, out of order
 * - `cuts`: links go down for seconds; `flaps`: up and down many times a second
 * - `asymmetry`: one direction is much slower; `stalls`: one direction carries nothing until the link dies
 * - `crashes`: the power goes at any step; what was not flushed is lost, wholly or in part
 * - `restarts`: closed in good order and opened again
 * - `disks`: full, or failing writes and flushes
 * - `slow`: a device takes up to a second for everything
 * - `clocks`: wall clocks jump by years in both directions, monotonic ones leap ahead by hours
 * - `backups`: a device's disk is put back to an earlier copy of itself
 * - `copies`: a profile is copied to another device, and both write on
 * - `hangs`: a device answers nothing any more, with its links up, or claims and does not serve
 * - `upgrades`: the next release of the app's schema reaches devices at different times
 * - `byzantine`: a member that keeps to no rule is linked to some, until the time of faults ends
 * - `rebuilds`: tables are made again from the log while everything goes on
 * - `weeks`: all are apart for weeks and meet in pairs for a minute
 */
export const FAULTS = [
  "gossip",
  "cuts",
  "flaps",
  "asymmetry",
  "stalls",
  "crashes",
  "restarts",
  "disks",
  "slow",
  "clocks",
  "backups",
  "copies",
  "hangs",
  "upgrades",
  "byzantine",
  "weeks",
  "rebuilds",
] as const;

export type Fault = (typeof FAULTS)[number];

/** What the plan of a history may touch. */
export interface Stage {
  /** All devices; a copy of a profile among them, off until it is made. */
  readonly nodes: readonly SimNode[];
  /** Pairs that may be linked. */
  readonly pairs: readonly (readonly [SimNode, SimNode])[];
  readonly world: World;
  readonly net: SimNetwork;
  readonly random: Random;
  readonly releases: ReleaseWatch;
  readonly faults: ReadonlySet<Fault>;
  /** Everything planned has happened by then. */
  readonly untilMs: number;
  /** Devices to which one thing happens at most, so that it can be said what they may lose. */
  readonly cast: Cast;
  readonly lastRelease: number;
  /** While all live apart only meetings make links. */
  isApart: boolean;
  /** What was planned and has not happened by then does not happen. */
  isPeace: boolean;
}

export interface Cast {
  readonly hangs: SimNode | null;
  readonly rewound: SimNode | null;
  readonly copied: { readonly from: SimNode; readonly to: SimNode } | null;
}

const WEEK_MS = 7 * 24 * 3_600_000;
const YEAR_MS = 365 * 24 * 3_600_000;
/** From when it is planned. A start takes 20 to 60 steps, a transaction about 10. */
const CRASH_STEPS_MAX = 300;

/** Plans all faults of the stage's kinds. */
export function planFaults(stage: Stage): void {
  const { faults, random, net } = stage;
  net.faults(
    faults.has("gossip")
      ? {
          lossPercent: random.below(60),
          doublePercent: random.below(20),
          delayMs: random.below(800),
        }
      : { lossPercent: 0, doublePercent: 0, delayMs: 20 },
  );
  for (const [a, b] of stage.pairs) {
    at(stage, random.below(2_000), () => join(stage, a, b));
    if (faults.has("cuts")) planCuts(stage, a, b);
  }
  const plans: Partial<Record<Fault, (stage: Stage) => void>> = {
    flaps: planFlaps,
    stalls: planStalls,
    crashes: planCrashes,
    restarts: planRestarts,
    disks: planDisks,
    slow: planSlowness,
    clocks: planClocks,
    backups: planBackup,
    copies: planCopy,
    hangs: planHang,
    upgrades: planUpgrades,
    rebuilds: planRebuilds,
  };
  for (const fault of faults) plans[fault]?.(stage);
}

const pick = <T>(random: Random, list: readonly T[]): T => list[random.below(list.length)] as T;

/** So much later, if there is no peace by then. */
const at = (stage: Stage, delayMs: number, run: () => void): void =>
  void stage.world.at(delayMs, () => {
    if (!stage.isPeace) run();
  });

/** Sometime during the faults. */
const sometime = (stage: Stage, run: () => void): void =>
  at(stage, stage.random.below(stage.untilMs), run);

const repeat = (times: number, run: () => void): void => {
  for (let i = 0; i < times; i++) run();
};

/** The world waits for it; what it throws ends the history. */
const spawn = ({ world }: Stage, work: Promise<unknown>): void =>
  void world.busy(work).catch(world.fail);

export function join(stage: Stage, a: SimNode, b: SimNode): void {
  if (!stage.isApart) meet(stage, a, b);
}

/** A link exists only between two devices that run. */
function meet(stage: Stage, a: SimNode, b: SimNode): void {
  const canMeet = [a, b].every((node) => node.isUp() && !node.isHanging());
  if (!canMeet) return;
  const quality = drawQuality(stage.random);
  const back = stage.faults.has("asymmetry") ? drawQuality(stage.random) : quality;
  stage.net.connect(a.device.id, b.device.id, quality, back);
}

const drawQuality = (random: Random): LinkQuality =>
  random.below(4) === 0
    ? { latencyMs: 50 + random.below(250), bytesPerMs: 30 + random.below(200) }
    : { latencyMs: 1 + random.below(20), bytesPerMs: 2_000 + random.below(20_000) };

function planCuts(stage: Stage, a: SimNode, b: SimNode): void {
  const { net, random, untilMs } = stage;
  repeat(random.below(4), () => {
    const startMs = random.below(untilMs);
    at(stage, startMs, () => net.cut(a.device.id, b.device.id));
    at(stage, startMs + 500 + random.below(10_000), () => join(stage, a, b));
  });
}

function planFlaps(stage: Stage): void {
  const { net, random, pairs, untilMs } = stage;
  const [a, b] = pick(random, pairs);
  let atMs = random.below(untilMs);
  repeat(5 + random.below(20), () => {
    atMs += 20 + random.below(400);
    at(stage, atMs, () => net.cut(a.device.id, b.device.id));
    atMs += 20 + random.below(400);
    at(stage, atMs, () => join(stage, a, b));
  });
}

function planStalls(stage: Stage): void {
  const { net, random, pairs } = stage;
  repeat(1 + random.below(2), () => {
    const [a, b] = pick(random, pairs);
    sometime(stage, () => {
      net.stall(a.device.id, b.device.id);
      at(stage, 3_000 + random.below(12_000), () => net.cut(a.device.id, b.device.id));
      at(stage, 16_000 + random.below(5_000), () => join(stage, a, b));
    });
  });
}

/** Off for a moment, then on again, with the links it had. Tries until its disk lets it start. */
function startAgain(stage: Stage, node: SimNode, afterMs: number): void {
  const { world, random } = stage;
  at(stage, afterMs, () => {
    if (!node.isOff()) return;
    void node
      .start()
      .then(
        () => rejoin(stage, node),
        (error: unknown) => {
          if (!isDiskFault(error)) throw error;
          startAgain(stage, node, 500 + random.below(1_000));
        },
      )
      .catch(world.fail);
  });
}

/** It came back on the network with another key: as a keeper of connections does. */
export function relink(stage: Stage, node: SimNode): void {
  for (const [a, b] of stage.pairs) {
    if (a !== node && b !== node) continue;
    // A link made while it was joining is none.
    stage.net.cut(a.device.id, b.device.id);
    join(stage, a, b);
  }
}

function rejoin(stage: Stage, node: SimNode): void {
  for (const [a, b] of stage.pairs) {
    if (a === node || b === node) {
      at(stage, stage.random.below(2_000), () => join(stage, a, b));
    }
  }
}

const DISK_FAULTS: ReadonlySet<MeshErrorCode> = new Set(["ERR_STORAGE_FULL", "ERR_STORAGE_LOST"]);
const isDiskFault = (error: unknown): boolean => isMeshError(error) && DISK_FAULTS.has(error.code);

function planCrashes(stage: Stage): void {
  const { nodes, random } = stage;
  for (const node of nodes) {
    node.onCrash(() => startAgain(stage, node, 100 + random.below(4_000)));
  }
  repeat(1 + random.below(5), () =>
    sometime(stage, () => {
      const node = pick(random, nodes);
      if (node.isOff() || node.isHanging()) return;
      node.crashAfter(1 + random.below(random.below(2) === 0 ? 40 : CRASH_STEPS_MAX));
    }),
  );
  // While it starts, and while it recovers from the last time.
  if (random.below(2) === 0) {
    const node = pick(random, nodes);
    let again = 1 + random.below(3);
    node.onCrash(() => {
      if (again <= 0) return;
      again -= 1;
      node.onNextStart(() => {
        if (!stage.isPeace) node.crashAfter(1 + random.below(80));
      });
    });
  }
}

function planRestarts(stage: Stage): void {
  const { nodes, random } = stage;
  repeat(1 + random.below(3), () =>
    sometime(stage, () => spawn(stage, restart(stage, pick(random, nodes)))),
  );
}

async function restart(stage: Stage, node: SimNode): Promise<void> {
  if (!node.isUp() || node.isHanging()) return;
  await node.kill();
  startAgain(stage, node, 200 + stage.random.below(5_000));
}

const databasesOf = (nodes: readonly SimNode[]): readonly DatabaseParts[] =>
  nodes.flatMap(({ device }) => (device.database === null ? [] : [device.database]));

function planDisks(stage: Stage): void {
  const { nodes, random } = stage;
  const databases = databasesOf(nodes);
  if (databases.length === 0) return;
  repeat(1 + random.below(3), () =>
    sometime(stage, () => {
      const { disk } = pick(random, databases);
      if (random.below(2) === 0) disk.setFree(random.below(200_000));
      else disk.setFailing(1 + random.below(30));
      at(stage, 1_000 + random.below(8_000), () => healDisk({ disk }));
    }),
  );
}

export function healDisk({ disk }: Pick<DatabaseParts, "disk">): void {
  disk.setFree(null);
  disk.setFailing(0);
}

function planSlowness({ nodes, random }: Stage): void {
  pick(random, nodes).setSlow(5 + random.below(random.below(4) === 0 ? 1_000 : 100));
}

function planClocks(stage: Stage): void {
  const { nodes, random } = stage;
  repeat(2 + random.below(4), () =>
    sometime(stage, () => {
      const { clock } = pick(random, nodes);
      clock.setWallOffset((random.below(40) - 20) * YEAR_MS + random.below(YEAR_MS));
      if (random.below(3) === 0) clock.leap(1_000 + random.below(8 * 3_600_000));
    }),
  );
}

function planHang(stage: Stage): void {
  const what = stage.random.below(2) === 0 ? "all" : "reads";
  sometime(stage, () => stage.cast.hangs?.hang(what));
}

function planUpgrades(stage: Stage): void {
  const { nodes, random, lastRelease } = stage;
  for (const node of nodes) {
    // The others upgrade when peace comes.
    if (random.below(3) === 0) continue;
    sometime(stage, () => {
      if (node.isHanging()) return;
      node.device.database?.install(1 + random.below(lastRelease));
      spawn(stage, restart(stage, node));
    });
  }
}

function planBackup(stage: Stage): void {
  const { random, untilMs, cast } = stage;
  const node = cast.rewound;
  if (node === null) return;
  const database = node.device.database as DatabaseParts;
  at(stage, random.below(untilMs / 2), () => {
    const image = database.disk.copy();
    const acknowledged = database.ledger.acknowledged.length;
    at(stage, 1_000 + random.below(untilMs / 2), () => {
      spawn(
        stage,
        (async () => {
          await node.kill();
          await forget(stage, node, acknowledged);
          database.disk.restore(image);
          startAgain(stage, node, 200 + random.below(3_000));
        })(),
      );
    });
  });
}

/**
 * What the device acknowledged after the copy was made, and no other device that stays holds when
 * the copy is put back, may be lost. What another one holds must come back.
 */
async function forget(stage: Stage, rewound: SimNode, since: number): Promise<void> {
  const { nodes, cast, releases } = stage;
  const { ledger, sites } = rewound.device.database as DatabaseParts;
  for (const site of sites()) releases.mayFork(site);
  const held = new Set<string>();
  for (const other of nodes) {
    const replica = other.isUp() ? (other.device.database?.replica() ?? null) : null;
    if (other === rewound || other === cast.hangs || replica === null) continue;
    for (const site of sites()) {
      for (const { root } of await readLog(replica, site)) held.add(root);
    }
  }
  for (const entry of ledger.acknowledged.slice(since)) {
    if (!held.has(entry.root)) entry.fate = "mayBeLost";
  }
}

function planCopy(stage: Stage): void {
  const { cast, releases, random, untilMs } = stage;
  if (cast.copied === null) return;
  const { from, to } = cast.copied;
  releases.mayFork(from.device.site);
  at(stage, random.below(untilMs / 2), () => {
    const [original, copy] = databasesOf([from, to]);
    if (original === undefined || copy === undefined) return;
    copy.disk.restore(original.disk.copy());
    copy.install(original.release());
    startAgain(stage, to, random.below(3_000));
  });
}

function planRebuilds(stage: Stage): void {
  const { nodes, random } = stage;
  repeat(1 + random.below(3), () =>
    sometime(stage, () => spawn(stage, tolerate(pick(random, nodes).rebuild))),
  );
}

/** A transaction of the app, which may fail as transactions do when the disk or the power does. */
export const write = (node: SimNode): Promise<void> => tolerate(node.write);

async function tolerate(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    // The last one only where somebody drove a row's clocks to their cap.
    const codes: readonly MeshErrorCode[] = [
      "ERR_CLOSED",
      "ERR_TRANSACTION_TIMEOUT",
      "ERR_ROWS_INVALID",
    ];
    if (isDiskFault(error) || (isMeshError(error) && codes.includes(error.code))) return;
    throw error;
  }
}

/** Plans the app's work: single transactions, and bursts. */
export function planWrites(stage: Stage, count: number): void {
  const { nodes, random } = stage;
  repeat(count, () => sometime(stage, () => spawn(stage, write(pick(random, nodes)))));
  repeat(random.below(3), () =>
    sometime(stage, () => {
      const writer = pick(random, nodes);
      repeat(nodes.length > 10 ? 2 : 8, () => spawn(stage, write(writer)));
    }),
  );
}

/** All apart for weeks: a few transactions each, a few meetings of two for a minute. */
export async function liveApart(stage: Stage): Promise<void> {
  const { nodes, net, world, random, pairs } = stage;
  stage.isApart = true;
  net.cutAll();
  const startMs = world.clock.nowMs();
  const durationMs = WEEK_MS + random.below(6 * WEEK_MS);
  const during = (run: () => void): void => at(stage, random.below(durationMs), run);
  repeat(3 + random.below(nodes.length), () =>
    during(() => spawn(stage, write(pick(random, nodes)))),
  );
  repeat(random.below(4), () =>
    during(() => {
      const [a, b] = pick(random, pairs);
      meet(stage, a, b);
      at(stage, 5_000 + random.below(60_000), () => net.cut(a.device.id, b.device.id));
    }),
  );
  await world.runUntil(startMs + durationMs, () => false);
  stage.isApart = false;
}
