/**
 * A stretch of seeds as tests. `SIM_SEED` is the first, `SIM_SEEDS` how many; `SIM_REPORT` names a
 * file for what they measured, one JSON line per history.
 */
import { appendFileSync } from "node:fs";
import { expect } from "vitest";
import { type SimOptions, type SimReport, simulate } from "../../src/testing/simulate.ts";

export function seeds(byDefault: number): readonly number[] {
  const first = Number(process.env["SIM_SEED"] ?? 1);
  const count = Number(process.env["SIM_SEEDS"] ?? byDefault);
  return Array.from({ length: count }, (_, i) => first + i);
}

/** Throws what went wrong. The costs asserted are loose: restarts and cut links do work twice. */
export async function checkHistory(options: SimOptions): Promise<SimReport> {
  const report = await simulate(options);
  const { runs, runsAgain, broadcasts, frames, virtualMs, peers } = report;
  const delivered = runs + broadcasts;
  expect(runsAgain, "changesets pulled again").toBeLessThanOrEqual(12 + delivered / 3);
  // Idle links compare digests: two frames a round, and a round every 2.5 s at most.
  const idleFrames = (peers * (peers - 1) * virtualMs) / 2_500;
  expect(frames, "frames").toBeLessThanOrEqual(200 + idleFrames + 25 * delivered);
  const path = process.env["SIM_REPORT"];
  if (path !== undefined) appendFileSync(path, `${JSON.stringify(report)}\n`);
  return report;
}
