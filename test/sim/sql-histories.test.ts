/** Real databases, real signatures, the real driver; only the network and time are simulated. */
import { expect, test } from "vitest";
import { checkHistory, seeds } from "./histories.ts";
import { createSqlFleet } from "./sql-fleet.ts";

test.each(seeds(300))(
  "[AE1] every history ends in agreement: npm run sim -- --first %i --seeds 1",
  async (seed) => {
    expect(await checkHistory({ seed, createFleet: createSqlFleet })).toMatchObject({ seed });
  },
  60_000,
);
