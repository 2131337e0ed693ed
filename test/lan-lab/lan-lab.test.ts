/**
 * The short part of `npm run lan-lab`, on one LAN that passes from scenario to scenario. Times are
 * measured and printed; they are held against their bounds by `npm run lan-lab` alone, which has
 * the machine to itself.
 */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
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

/** @returns what is wrong with the run */
async function runOn(lab: Lab, name: string): Promise<readonly string[]> {
  const scenario = scenarios(CROWD).find((each) => each.name === name);
  const measures = await scenario!.run(lab);
  tell(`${name} ${JSON.stringify(measures)}`);
  const missing = Object.keys(scenario!.bounds).filter((bound) => !(bound in measures));
  return [...missing, ...lab.browsers.flatMap(({ problems }) => problems)];
}

test("the bounds are those of docs/RELIABILITY.md", () => {
  const doc = readFileSync(join(import.meta.dirname, "../../docs/RELIABILITY.md"), "utf8");
  const rows = doc.split("\n").filter((line) => line.startsWith("| `"));
  const said = rows.map((row) => row.split("|").slice(1, 3));
  const meant = scenarios(CROWD).map(({ name, bounds }) => [
    ` \`${name}\` `,
    ` ${Object.entries(bounds)
      .map(([measure, bound]) => `\`${measure}\` ${bound.toLocaleString("en")}`)
      .join(", ")} `,
  ]);
  expect(said).toEqual(meant);
});

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
      expect(await runOn(lab, name)).toEqual([]);
    },
    TIMEOUT_MS,
  );
});

describe.skipIf(reason !== null)("on a LAN whose pages come from elsewhere", () => {
  let site: string;
  let lab: Lab;
  beforeAll(async () => {
    site = await buildSite(`${import.meta.dirname}/page`);
    lab = await openLab({ site, chromium: findChromium(), tell }, 0);
  }, TIMEOUT_MS);
  afterAll(async () => {
    await lab?.close();
    rmSync(site, { recursive: true, force: true });
  });

  test(
    "public-origin",
    async () => {
      expect(await runOn(lab, "public-origin")).toEqual([]);
    },
    TIMEOUT_MS,
  );
});
