/**
 * The short part of `npm run lan-lab`, on one LAN that passes from scenario to scenario. Times are
 * measured and printed; they are held against their bounds by `npm run lan-lab` alone, which has
 * the machine to itself.
 */
import { rmSync } from "node:fs";
import process from "node:process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findChromium } from "../../scripts/find-chromium.mjs";
import { buildSite } from "../fixtures/chromium.ts";
import { type Lab, openLab } from "./lab.ts";
import { whyNoLan } from "./lan.ts";
import { CROWD, scenarios } from "./scenarios.ts";

const SHORT = ["join", "link-down-20s", "split", "hub-killed"];
const TIMEOUT_MS = 240_000;

const reason = whyNoLan();
const tell = (text: string): void => void process.stderr.write(`${text}\n`);
if (reason !== null) tell(`the LAN lab is skipped: ${reason}`);

describe.skipIf(reason !== null)("on a LAN", () => {
  let site: string;
  let lab: Lab;
  beforeAll(async () => {
    site = await buildSite(`${import.meta.dirname}/page`);
    lab = await openLab({ site, chromium: findChromium(), tell }, 2);
  }, TIMEOUT_MS);
  afterAll(async () => {
    await lab?.close();
    rmSync(site, { recursive: true, force: true });
  });

  test.each(SHORT)(
    "%s",
    async (name) => {
      const scenario = scenarios(CROWD).find((each) => each.name === name);
      const measures = await scenario!.run(lab);
      tell(`${name} ${JSON.stringify(measures)}`);
      expect(Object.keys(measures)).toEqual(expect.arrayContaining(Object.keys(scenario!.bounds)));
      expect(lab.browsers.flatMap(({ problems }) => problems)).toEqual([]);
    },
    TIMEOUT_MS,
  );
});
