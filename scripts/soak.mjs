/**
 * Kill loops, hostile inputs, simulated histories and hubs that die, for as long as one likes; ends
 * with what was counted. `npm run soak -- --help` says how, docs/RELIABILITY.md what it means.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const HELP = `usage: npm run soak -- [options]

Kills replicas, feeds every decoder hostile bytes, simulates meshes with faults, kills hubs.

  --minutes N   about how long (default 8); every part runs to its least amount, however long that takes
  --kills N     at least so many kills of each: a Node replica that writes, one that merges, replicas
                on OPFS and IndexedDB, tabs on either (default 50)
  --inputs N    at least so many hostile inputs (default 10000000)
  --flood N     one peer pushes so many changesets (default 100000; a million is fine)
  --seed N      the first seed of everything (default: the clock's seconds)
  --json        end with one line of JSON

exit codes: 0 nothing was lost, 1 something was, or a part failed, 2 usage`;

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** Of one database, in one run. */
const KILLS = 25;
/** For each decoder, in one run. */
const INPUTS = 250_000;
const SEEDS_FIRST = 20;
const SEEDS_RUN_MS = 30_000;

const MUST_BE_ZERO = [
  "rowsLost",
  "versionsLost",
  "versionsReleasedTwice",
  "halfTransactions",
  "databasesDamaged",
  "syncStalls",
  "crashes",
  "diverged",
  "failedTests",
];

const options = readOptions();
const folder = mkdtempSync(join(tmpdir(), "rowmesh-soak-"));
const startMs = performance.now();
const endMs = startMs + options.minutes * 60_000;
const children = new Set();
/** A process group for each child, its workers in it. */
const hasGroups = process.platform !== "win32";
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    stop.abort();
    for (const child of children) end(child);
  });
}

let seed = options.seed;
let seedsRun = SEEDS_FIRST;
let filesMade = 0;
const counted = {
  kills: [],
  fuzz: [],
  seeds: 0,
  diverged: 0,
  hubScenarios: 0,
  floods: [],
  failedTests: 0,
};

/** Two at a time, as on two cores. Each says how much of its least amount is done. */
const lanes = [
  [
    { name: "browser kills", isDone: () => killsOf("opfs") >= options.kills, run: killBrowsers },
    { name: "tabs", isDone: () => killsOf("tabs on opfs") >= options.kills, run: killTabs },
    { name: "hubs", isDone: () => counted.hubScenarios > 0, run: killHubs },
    { name: "flood", isDone: () => flooded() >= options.flood, run: pushMany },
  ],
  [
    { name: "hostile inputs", isDone: () => hostileInputs() >= options.inputs, run: feed },
    {
      name: "process kills",
      isDone: () => killsOf("node, writing") >= options.kills,
      run: killProcesses,
    },
    { name: "simulation", isDone: () => counted.seeds > 0, run: simulate },
  ],
];
await Promise.all(lanes.map(runLane));
rmSync(folder, { recursive: true, force: true });

const report = summary();
const isSound =
  !stop.signal.aborted &&
  lanes.flat().every(({ isDone }) => isDone()) &&
  MUST_BE_ZERO.every((name) => report[name] === 0);
process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : readable());
process.exitCode = isSound ? 0 : 1;

/** What has not had its least amount first, then what has had the least time. */
async function runLane(parts) {
  const spentMs = new Map(parts.map((part) => [part, 0]));
  while (!stop.signal.aborted) {
    const missing = parts.filter(({ isDone }) => !isDone());
    if (missing.length === 0 && performance.now() > endMs) return;
    const [part] = (missing.length > 0 ? missing : parts)
      .slice()
      .sort((a, b) => spentMs.get(a) - spentMs.get(b));
    const beginMs = performance.now();
    const failures = await part.run();
    const tookMs = performance.now() - beginMs;
    spentMs.set(part, spentMs.get(part) + tookMs);
    say(`${part.name}, ${Math.round(tookMs / 1000)} s: ${progress()}`);
    for (const failure of failures) say(`FAILED ${failure.split("\n", 1)[0]}`);
    // What fails again and again would never have its least amount.
    if (failures.length > 0 && !part.isDone()) return;
  }
}

async function killBrowsers() {
  return crash("test/crash/browser-crash.test.ts");
}

async function killTabs() {
  return crash("test/crash/tabs-crash.test.ts");
}

async function killProcesses() {
  return crash("test/crash/replica-crash.test.ts");
}

async function crash(file) {
  const path = newFile();
  const { failures } = await runTests([file], {
    CRASH_KILLS: String(Math.min(KILLS, options.kills)),
    CRASH_SEED: String(seed++),
    CRASH_REPORT: path,
  });
  counted.kills.push(...linesOf(path));
  return failures;
}

async function feed() {
  const path = newFile();
  const { failures } = await runTests(["test/unit/wire.test.ts", "-t", "W2"], {
    FUZZ_INPUTS: String(Math.min(INPUTS, options.inputs)),
    FUZZ_SEED: String(seed++),
    FUZZ_REPORT: path,
  });
  counted.fuzz.push(...linesOf(path));
  return failures;
}

/** One peer pushes so many changesets; the test compares the memory they took. */
async function pushMany() {
  const path = newFile();
  const { failures } = await runTests(["test/unit/flood.test.ts"], {
    FLOOD_CHANGESETS: String(options.flood),
    FLOOD_REPORT: path,
  });
  counted.floods.push(...linesOf(path));
  return failures;
}

function flooded() {
  return Math.max(0, ...counted.floods.map(({ changesets }) => changesets));
}

async function killHubs() {
  const files = ["test/interop/mesh-churn.test.ts", "test/browser/network-hub.test.ts"];
  const { passed, failures } = await runTests(files, {});
  counted.hubScenarios += passed + failures.length;
  return failures;
}

async function simulate() {
  const first = seed;
  seed += seedsRun;
  const beginMs = performance.now();
  // One process: the other lane has the other processor.
  const range = ["--seeds", String(seedsRun), "--first", String(first), "--workers", "1"];
  const lines = await run(["scripts/sim.mjs", ...range, "--json"], {});
  const told = parsed(lines.at(-1) ?? "");
  if (told === null) {
    counted.failedTests++;
    return [`simulation from seed ${first}: no report`];
  }
  counted.seeds += told.passed + told.failed;
  counted.diverged += told.failed;
  const msPerSeed = (performance.now() - beginMs) / seedsRun;
  seedsRun = Math.max(1, Math.min(10_000, Math.round(SEEDS_RUN_MS / msPerSeed)));
  return told.failures.map(
    (failure) => `npm run sim -- --first ${failure.seed} --seeds 1: ${failure.message}`,
  );
}

/** @returns how many passed, and a line for each that did not */
async function runTests(args, env) {
  const path = newFile();
  const output = ["--reporter=json", `--outputFile=${path}`];
  await run(["node_modules/vitest/vitest.mjs", "run", ...args, ...output], env);
  const result = parsed(read(path));
  if (result === null) {
    counted.failedTests++;
    return { passed: 0, failures: [`${args[0]}: no report`] };
  }
  const failures = result.testResults.flatMap(({ status, message, assertionResults }) => {
    const failed = assertionResults.filter((each) => each.status === "failed");
    // A file that does not even load has no tests.
    if (failed.length === 0) return status === "failed" ? [`${args[0]}: ${message}`] : [];
    return failed.map(({ title, failureMessages }) => `${title}: ${failureMessages[0]}`);
  });
  // An error that no test waited for fails the run alone.
  if (!result.success && failures.length === 0) failures.push(`${args[0]}: an unhandled error`);
  counted.failedTests += failures.length;
  return { passed: result.numPassedTests, failures };
}

/** A Node process, whose lines of standard output are returned. */
async function run(args, env) {
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    // What it says of its progress is not ours.
    stdio: ["ignore", "pipe", "ignore"],
    env: { ...process.env, ...env },
    detached: hasGroups,
  });
  children.add(child);
  const ended = new Promise((resolve) => void child.once("close", resolve));
  const lines = [];
  for await (const line of createInterface({ input: child.stdout })) lines.push(line);
  await ended;
  children.delete(child);
  return lines;
}

/** With the workers it started. */
function end({ pid }) {
  try {
    process.kill(hasGroups ? -pid : pid, "SIGTERM");
  } catch (error) {
    // Already gone.
    if (error.code !== "ESRCH") throw error;
  }
}

function killsOf(place) {
  return sum(
    counted.kills.filter((each) => each.place === place),
    "kills",
  );
}

function hostileInputs() {
  return sum(counted.fuzz, "inputs");
}

function summary() {
  const kills = (name) => sum(counted.kills, name);
  return {
    minutes: Math.round((performance.now() - startMs) / 6_000) / 10,
    seed: options.seed,
    kills: kills("kills"),
    killsByPlace: Object.fromEntries(
      [...new Set(counted.kills.map(({ place }) => place))].map((place) => [place, killsOf(place)]),
    ),
    rowsAcknowledged: kills("rowsAcknowledged"),
    rowsLost: kills("rowsLost"),
    versionsAcknowledged: kills("versionsAcknowledged"),
    versionsLost: kills("versionsLost"),
    versionsReleased: kills("versionsReleased"),
    versionsReleasedTwice: kills("versionsReleasedTwice"),
    halfTransactions: kills("halfTransactions"),
    databasesDamaged: kills("databasesDamaged"),
    syncStalls: kills("syncStalls"),
    hostileInputs: hostileInputs(),
    decoders: new Set(counted.fuzz.map(({ decoder }) => decoder)).size,
    crashes: sum(counted.fuzz, "crashes"),
    seeds: counted.seeds,
    diverged: counted.diverged,
    hubScenarios: counted.hubScenarios,
    changesetsPushed: flooded(),
    pushedMemoryRatio: Math.max(
      0,
      ...counted.floods.map((each) => each.peakBytes / each.warmBytes),
    ),
    failedTests: counted.failedTests,
  };
}

function progress() {
  const { kills, rowsLost, hostileInputs: inputs, crashes, seeds, diverged } = summary();
  return `${kills} kills, ${rowsLost} rows lost; ${inputs} hostile inputs, ${crashes} crashes; ${seeds} seeds, ${diverged} diverged`;
}

function readable() {
  const lines = Object.entries(report).map(([name, value]) => {
    const words = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
    return `${words.padEnd(26)}${typeof value === "object" ? JSON.stringify(value) : value}`;
  });
  return `${lines.join("\n")}\n${isSound ? "sound" : "NOT SOUND"}\n`;
}

function sum(items, name) {
  return items.reduce((total, item) => total + item[name], 0);
}

function newFile() {
  filesMade++;
  return join(folder, `${filesMade}.json`);
}

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function linesOf(path) {
  return read(path)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

function say(line) {
  const seconds = Math.round((performance.now() - startMs) / 1000);
  process.stderr.write(`${String(seconds).padStart(5)} s  ${line}\n`);
}

function readOptions() {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        minutes: { type: "string", default: "8" },
        kills: { type: "string", default: "50" },
        inputs: { type: "string", default: "10000000" },
        flood: { type: "string", default: "100000" },
        seed: { type: "string", default: String(Math.floor(Date.now() / 1000)) },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    }));
  } catch (error) {
    process.stderr.write(`soak: ${error.message}; see npm run soak -- --help\n`);
    process.exit(2);
  }
  if (values.help) {
    process.stdout.write(`${HELP}\n`);
    process.exit(0);
  }
  const minutes = Number(values.minutes);
  const { kills: k, inputs: i, flood: f, seed: s } = values;
  const [kills, inputs, flood, first] = [k, i, f, s].map(Number);
  const whole = [kills, inputs, flood, first];
  if (!(minutes >= 0) || !whole.every((n) => Number.isSafeInteger(n) && n >= 1)) {
    process.stderr.write(
      "soak: --minutes is a number, --kills, --inputs, --flood and --seed whole ones from 1\n",
    );
    process.exit(2);
  }
  return { minutes, kills, inputs, flood, seed: first, json: values.json };
}
