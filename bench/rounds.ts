/**
 * Interleaved rounds: both sides of a ratio meet the same machine, whatever else it does meanwhile.
 *
 * @module
 */

/** One measured run; returns milliseconds. Whatever it sets up is outside of them. */
export type Measured = () => Promise<number>;

export interface Ratio {
  /** Medians, milliseconds. */
  readonly bareMs: number;
  readonly meshMs: number;
  /** Bare time by mesh time: 1 means as fast as the bare engine, 0.5 half as fast. */
  readonly ratio: number;
  /** The lowest and the highest ratio of one round. */
  readonly spread: readonly [number, number];
}

/** Runs both once to warm up, then in turns, the first one alternating. */
export async function measureRatio(bare: Measured, mesh: Measured, rounds: number): Promise<Ratio> {
  const bareMs: number[] = [];
  const meshMs: number[] = [];
  for (let round = -1; round < rounds; round++) {
    const isWarmUp = round < 0;
    const order = round % 2 === 0 ? (["bare", "mesh"] as const) : (["mesh", "bare"] as const);
    for (const side of order) {
      // So that neither pays for the other's garbage.
      globalThis.gc?.();
      const elapsedMs = await (side === "bare" ? bare : mesh)();
      if (!isWarmUp) (side === "bare" ? bareMs : meshMs).push(elapsedMs);
    }
  }
  const ratios = bareMs.map((ms, round) => ms / (meshMs[round] ?? Number.NaN));
  return {
    bareMs: median(bareMs),
    meshMs: median(meshMs),
    ratio: median(ratios),
    spread: [Math.min(...ratios), Math.max(...ratios)],
  };
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
