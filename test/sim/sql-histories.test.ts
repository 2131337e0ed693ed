/** Real databases, real signatures, the real driver; only disks, clocks, the network and time are simulated. */
import { expect, test } from "vitest";
import { simulate } from "../../src/testing/simulate.ts";
import { checkCosts, seeds } from "./histories.ts";

test.each(seeds(300))(
  "[AE1] every history ends in agreement: npm run sim -- --first %i --seeds 1",
  async (seed) => {
    expect(checkCosts(await simulate({ seed }))).toMatchObject({ seed });
  },
  60_000,
);
