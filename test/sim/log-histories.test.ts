/** The same histories over bare logs: more of them, and without help from the database. */
import { expect, test } from "vitest";
import { checkHistory, seeds } from "./histories.ts";
import { createLogFleet } from "./log-fleet.ts";
import { simulate } from "../../src/testing/simulate.ts";

test.each(seeds(240))(
  "[AE1] every history ends in agreement: npm run sim -- --logs --first %i --seeds 1",
  async (seed) => {
    expect(await checkHistory({ seed, createFleet: createLogFleet })).toMatchObject({ seed });
  },
  60_000,
);

test("one seed is one history", async () => {
  const once = await simulate({ seed: 7, createFleet: createLogFleet });
  const again = await simulate({ seed: 7, createFleet: createLogFleet });
  const other = await simulate({ seed: 8, createFleet: createLogFleet });
  expect(again).toEqual(once);
  expect(other.trace).not.toBe(once.trace);
});
