/** A stretch of seeds as tests: `SIM_SEED` is the first, `SIM_SEEDS` how many. */
import { expect } from "vitest";
import type { SimReport } from "../../src/testing/history.ts";

export function seeds(byDefault: number): readonly number[] {
  const first = Number(process.env["SIM_SEED"] ?? 1);
  const count = Number(process.env["SIM_SEEDS"] ?? byDefault);
  return Array.from({ length: count }, (_, i) => first + i);
}

/** Loose: restarts and cut links do work twice. */
export function checkCosts(report: SimReport): SimReport {
  const { runs, runsAgain, broadcasts, frames, virtualMs, peers } = report;
  const delivered = runs + broadcasts;
  expect(runsAgain, "changesets pulled again").toBeLessThanOrEqual(12 + delivered / 3);
  // Idle links compare digests: two frames a round, and a round every 2.5 s at most.
  const idleFrames = (peers * (peers - 1) * virtualMs) / 2_500;
  expect(frames, "frames").toBeLessThanOrEqual(200 + idleFrames + 25 * delivered);
  return report;
}
