/** `npm run lan-lab`: see `scripts/lan-lab.mjs`, which bundles this and starts it. */
import { rmSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { findChromium } from "../../scripts/find-chromium.mjs";
import { buildSite } from "../fixtures/chromium.ts";
import { whyNoLan } from "./lan.ts";
import { runAlone, type ScenarioResult } from "./report.ts";
import { CROWD, scenarios } from "./scenarios.ts";

const HELP = `usage: npm run lan-lab -- [options] [scenario…]

Hosts on a LAN made of network namespaces, a hub on one and real browsers on the others; then what
happens to LANs. Needs root on Linux. Without names: all scenarios.

  --json      end with one line of JSON
  --list      name the scenarios
  --crowd N   browsers in a crowd (default ${CROWD}), for smaller machines

exit codes: 0 all passed, 1 one failed, 2 usage, 3 there can be no LAN here`;

const tell = (text: string): void => void process.stderr.write(`${text}\n`);

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      crowd: { type: "string", default: String(CROWD) },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const crowdSize = Number(values.crowd);
  if (!Number.isSafeInteger(crowdSize) || crowdSize < 5) {
    tell("lan-lab: --crowd is a whole number from 5");
    return 2;
  }
  const known = scenarios(crowdSize);
  if (values.help) process.stdout.write(`${HELP}\n`);
  if (values.list) process.stdout.write(known.map(({ name }) => `${name}\n`).join(""));
  if (values.help || values.list) return 0;
  const unknown = positionals.find((wanted) => !known.some(({ name }) => name === wanted));
  if (unknown !== undefined) {
    tell(`lan-lab: no scenario ${unknown}; see npm run lan-lab -- --list`);
    return 2;
  }
  const reason = whyNoLan();
  if (reason !== null) {
    tell(`lan-lab: ${reason}`);
    return 3;
  }
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

  const chosen = known.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const site = await buildSite(`${process.cwd()}/test/lan-lab/page`);
  const results: ScenarioResult[] = [];
  try {
    for (const scenario of chosen) {
      const whyNot = scenario.skip?.() ?? null;
      if (whyNot !== null) {
        tell(`skipped ${scenario.name}: ${whyNot}`);
        continue;
      }
      const result = await runAlone(scenario, { site, chromium: findChromium(), tell });
      results.push(result);
      tell(`${result.passed ? "passed" : "FAILED"} ${JSON.stringify(result)}`);
    }
  } finally {
    rmSync(site, { recursive: true, force: true });
  }
  if (values.json) process.stdout.write(`${JSON.stringify({ scenarios: results })}\n`);
  return results.every(({ passed }) => passed) ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  tell(`lan-lab: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = (error as { code?: string }).code?.startsWith("ERR_PARSE_ARGS_") ? 2 : 1;
}
