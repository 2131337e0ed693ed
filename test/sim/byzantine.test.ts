/**
 * Honest devices with a Byzantine peer among them, one strategy each by name and then random ones
 * together: when the faults end the honest ones agree, their tables are what the model says of the
 * valid changesets, it alone was blamed, and it did not cost them more than its bound.
 */
import { expect, test } from "vitest";
import { STRATEGY_NAMES, type StrategyName } from "../../src/testing/byzantine-strategies.ts";
import { runHostileHistory } from "./hostile-history.ts";
import { seeds } from "./histories.ts";

/** Those who break a rule that an honest peer keeps. */
const DROPPED: ReadonlySet<StrategyName> = new Set<StrategyName>([
  "forgery",
  "endless streams",
  "digests that never match",
  "huge counts",
  "silence",
  "stranger",
  "many hellos",
  "vectors without end",
]);

test.each(STRATEGY_NAMES.map((name, i) => [name, i] as const))(
  "[AE17] honest peers agree in spite of %s",
  async (name, i) => {
    const { counts, penalised, victims } = await runHostileHistory(1_000 + i, [name]);
    expect(penalised.every((peer) => peer === "evil")).toBe(true);
    expect(counts.drops).toBeGreaterThanOrEqual(DROPPED.has(name) ? 1 : 0);
    // What it asks for it is served, up to a point: see `hostile-links.test.ts`.
    const asks = name === "everything in a loop";
    expect(counts.framesHeard).toBeLessThanOrEqual((asks ? 3_000 : 100) * victims);
    expect(counts.bytesHeard).toBeLessThanOrEqual((asks ? 2 ** 20 : 2 ** 16) * victims);
  },
  60_000,
);

test.each(seeds(8))(
  "[AE17] honest peers agree in spite of several strategies at once: seed %i",
  async (seed) => {
    const { penalised } = await runHostileHistory(seed, null);
    expect(penalised.every((peer) => peer === "evil")).toBe(true);
  },
  60_000,
);
