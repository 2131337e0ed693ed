/**
 * Ratios of two ways to do the same work.
 *
 * @module
 */

/** One of the two that are compared, over a new, empty database. */
export interface Side {
  /** The measured work, in equal steps, in order. */
  readonly step: (index: number) => Promise<void>;
  /** Throws when less was done than asked. */
  readonly close: () => Promise<void>;
}

export interface Comparison {
  readonly bare: () => Promise<Side>;
  readonly mesh: () => Promise<Side>;
  /** Both take turns within a round, so that both meet what else the machine does. */
  readonly steps: number;
  readonly rounds: number;
}

export interface Ratio {
  /** Medians, milliseconds. */
  readonly bareMs: number;
  readonly meshMs: number;
  /** Bare time by mesh time: 1 means as fast as the bare engine, 0.5 half as fast. */
  readonly ratio: number;
  /** The lowest and the highest ratio of one round. */
  readonly spread: readonly [number, number];
  /**
   * The same by CPU time of all threads. Less when rowmesh uses a second core (signatures), more
   * when other programs kept it waiting; on an idle machine the two are close.
   */
  readonly cpuRatio: number;
}

/** One unmeasured round to warm up, then the rounds. */
export async function compare({ bare, mesh, steps, rounds }: Comparison): Promise<Ratio> {
  const spent: Spent[] = [];
  for (let round = -1; round < rounds; round++) {
    const ofRound = await oneRound(await bare(), await mesh(), steps);
    if (round >= 0) spent.push(ofRound);
  }
  const ratios = spent.map((each) => each.bare.wallMs / each.mesh.wallMs);
  return {
    bareMs: median(spent.map((each) => each.bare.wallMs)),
    meshMs: median(spent.map((each) => each.mesh.wallMs)),
    ratio: median(ratios),
    spread: [Math.min(...ratios), Math.max(...ratios)],
    cpuRatio: median(spent.map((each) => each.bare.cpuMs / each.mesh.cpuMs)),
  };
}

interface Time {
  wallMs: number;
  cpuMs: number;
}

interface Spent {
  readonly bare: Time;
  readonly mesh: Time;
}

async function oneRound(bare: Side, mesh: Side, steps: number): Promise<Spent> {
  const spent = { bare: { wallMs: 0, cpuMs: 0 }, mesh: { wallMs: 0, cpuMs: 0 } };
  for (let step = 0; step < steps; step++) {
    if (step % 2 === 0) await addTime(spent.bare, bare, step);
    await addTime(spent.mesh, mesh, step);
    if (step % 2 === 1) await addTime(spent.bare, bare, step);
  }
  await bare.close();
  await mesh.close();
  return spent;
}

async function addTime(time: Time, side: Side, step: number): Promise<void> {
  // So that neither pays for the other's garbage. Not a full collection: it drops hidden classes of
  // which no instance is left, and with them the compiled code of whatever used them.
  globalThis.gc?.({ type: "minor" });
  const startMs = performance.now();
  const startCpu = process.cpuUsage();
  await side.step(step);
  const { user, system } = process.cpuUsage(startCpu);
  time.wallMs += performance.now() - startMs;
  time.cpuMs += (user + system) / 1_000;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle];
  if (upper === undefined) throw new RangeError("no values");
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  if (value === undefined) throw new RangeError("no values");
  return value;
}
