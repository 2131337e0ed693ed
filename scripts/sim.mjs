/**
 * Runs simulated histories over real databases and reports on them.
 *
 * `npm run sim -- --help` says how.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const HELP = `usage: npm run sim -- [options]

Runs simulated histories over real databases.

  --seeds N   how many histories (default 1000)
  --first N   the first seed (default 1)
  --logs      bare logs instead of databases: faster
  --json      end with one line of JSON

exit codes: 0 all agreed, 1 a history failed, 2 usage`;

const values = readOptions();
if (values.help) {
  process.stdout.write(`${HELP}\n`);
  process.exit(0);
}
const seeds = Number(values.seeds);
const first = Number(values.first);
if (!Number.isSafeInteger(seeds) || seeds < 1 || !Number.isSafeInteger(first) || first < 0) {
  process.stderr.write("--seeds and --first are whole numbers\n");
  process.exit(2);
}

const folder = mkdtempSync(join(tmpdir(), "rowmesh-sim-"));
const reportPath = join(folder, "histories.jsonl");
const resultPath = join(folder, "vitest.json");
const startMs = performance.now();
const vitest = spawn(
  process.execPath,
  [
    "node_modules/vitest/vitest.mjs",
    "run",
    `test/sim/${values.logs ? "log" : "sql"}-histories.test.ts`,
    "-t",
    "every history",
    "--reporter=json",
    `--outputFile=${resultPath}`,
  ],
  {
    stdio: ["ignore", "ignore", "inherit"],
    env: {
      ...process.env,
      SIM_SEED: String(first),
      SIM_SEEDS: String(seeds),
      SIM_REPORT: reportPath,
    },
  },
);
await new Promise((resolve) => void vitest.on("close", resolve));

const read = (path) => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
};
const histories = read(reportPath)
  .split("\n")
  .filter((line) => line !== "")
  .map((line) => JSON.parse(line));
const assertions = JSON.parse(read(resultPath) || "{}").testResults?.[0]?.assertionResults ?? [];
const failures = assertions.filter(({ status }) => status === "failed");
rmSync(folder, { recursive: true });

for (const { title, failureMessages } of failures.slice(0, 10)) {
  process.stdout.write(`${title}\n${String(failureMessages[0]).split("\n")[0]}\n`);
}
const seedOf = ({ title }) => Number(/--first (\d+)/.exec(title)?.[1]);
const convergeMs = histories.map((history) => history.convergeMs).sort((a, b) => a - b);
const sum = (of) => histories.reduce((total, history) => total + of(history), 0);
const report = {
  seeds,
  first,
  passed: histories.length,
  failed: seeds - histories.length,
  firstFailure: failures.length === 0 ? null : Math.min(...failures.map(seedOf)),
  convergeMsP50: Math.round(convergeMs[Math.floor(convergeMs.length / 2)] ?? 0),
  convergeMsMax: Math.round(convergeMs.at(-1) ?? 0),
  changesets: sum(({ written }) => written),
  deliveries: sum(({ runs, broadcasts }) => runs + broadcasts),
  pulledAgain: sum(({ runsAgain }) => runsAgain),
  frames: sum(({ frames }) => frames),
  frameBytes: sum(({ frameBytes }) => frameBytes),
  seconds: Math.round((performance.now() - startMs) / 1000),
};
process.stdout.write(
  values.json
    ? `${JSON.stringify(report)}\n`
    : `${report.passed} of ${seeds} histories agreed; first failure: ${report.firstFailure ?? "none"}\n`,
);
process.exitCode = report.failed === 0 ? 0 : 1;

function readOptions() {
  try {
    return parseArgs({
      options: {
        seeds: { type: "string", default: "1000" },
        first: { type: "string", default: "1" },
        logs: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    }).values;
  } catch (error) {
    process.stderr.write(`sim: ${error.message}; see npm run sim -- --help\n`);
    process.exit(2);
  }
}
