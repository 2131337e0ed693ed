/** The same histories over bare logs: more of them, and without help from the database. */
import { expect, test } from "vitest";
import { checkCosts, seeds } from "./histories.ts";
import { createLogFleet } from "./log-fleet.ts";
import { FAULTS } from "../../src/testing/faults.ts";
import { simulateFleet } from "../../src/testing/simulate.ts";

const simulateLogs = (seed: number) =>
  simulateFleet({ seed, faults: FAULTS, createFleet: createLogFleet });

test.each(seeds(240))(
  "[AE1] every history of bare logs ends in agreement (SIM_SEED=%i SIM_SEEDS=1)",
  async (seed) => {
    expect(checkCosts(await simulateLogs(seed))).toMatchObject({ seed });
  },
  60_000,
);

test("one seed is one history", async () => {
  const once = await simulateLogs(7);
  const again = await simulateLogs(7);
  const other = await simulateLogs(8);
  expect(again).toEqual(once);
  expect(other.trace).not.toBe(once.trace);
});
