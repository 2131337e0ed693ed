/**
 * Runs simulated histories over real databases, in as many processes as there are processors, and
 * reports on them. A history that fails, hangs or ends its process is one failed seed; the others
 * go on.
 *
 * `npm run sim -- --help` says how.
 */
import { fork } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const HELP = `usage: npm run sim -- [options]

Runs simulated histories of whole meshes: real databases and signatures on simulated disks,
clocks and links.

  --seeds N     how many histories (default 1000)
  --first N     the first seed (default 1)
  --workers N   processes (default: one for each processor)
  --json        end with one line of JSON

A range can be split over machines and resumed: seeds are independent of one another. Progress on
stderr says from which seed on to go on.

exit codes: 0 all agreed, 1 a history failed, 2 usage`;

/** A history takes a second or less; a hundred times that on a machine that does something else too. */
const HANGS_AFTER_MS = 300_000;
/** WebAssembly memories are given back late: a fresh process now and then. */
const SEEDS_PER_PROCESS = 2_000;
const PROGRESS_MS = 10_000;
const FAILURES_SHOWN = 20;

const { seeds, first, workers, json } = readOptions();
const startMs = performance.now();
const reports = [];
const failures = [];
/** Seeds under way. */
const running = new Set();
let next = first;
const progress = setInterval(() => process.stderr.write(`${progressLine()}\n`), PROGRESS_MS);
await Promise.all(Array.from({ length: Math.min(workers, seeds) }, work));
clearInterval(progress);
const report = summary();
process.stdout.write(json ? `${JSON.stringify(report)}\n` : `${describe(report)}\n`);
process.exitCode = report.failed === 0 ? 0 : 1;

/** Takes seeds until there are none, one process after another. */
async function work() {
  while (next < first + seeds) {
    const child = fork(fileURLToPath(new URL("sim-worker.mjs", import.meta.url)));
    let left = SEEDS_PER_PROCESS;
    while (left > 0 && next < first + seeds) {
      left -= 1;
      const seed = next;
      next += 1;
      running.add(seed);
      const isAlive = await runSeed(child, seed);
      running.delete(seed);
      if (!isAlive) break;
    }
    if (child.connected) child.disconnect();
  }
}

/** @returns whether the process can go on */
function runSeed(child, seed) {
  return new Promise((resolve) => {
    const end = (isAlive) => {
      clearTimeout(timer);
      child.off("message", onMessage);
      child.off("exit", onExit);
      resolve(isAlive);
    };
    const fail = (message) => {
      failures.push({ seed, message });
      process.stdout.write(`${message}\n  npm run sim -- --first ${seed} --seeds 1\n`);
    };
    const onMessage = (message) => {
      if (message.type === "report") reports.push(message.report);
      else fail(message.message);
      end(true);
    };
    const onExit = (code, signal) => {
      fail(`seed ${seed}: the process ended (${signal ?? code})`);
      end(false);
    };
    const timer = setTimeout(() => {
      child.off("exit", onExit);
      child.kill("SIGKILL");
      fail(`seed ${seed}: not done after ${HANGS_AFTER_MS / 1_000} s`);
      end(false);
    }, HANGS_AFTER_MS);
    child.on("message", onMessage);
    child.on("exit", onExit);
    child.send(seed);
  });
}

function progressLine() {
  const done = reports.length + failures.length;
  const seconds = (performance.now() - startMs) / 1_000;
  const resume = Math.min(next, ...running);
  return `${done} of ${seeds}, ${failures.length} failed, ${(done / seconds).toFixed(1)} a second; to go on later: --first ${resume} --seeds ${first + seeds - resume}`;
}

function summary() {
  const sum = (of) => reports.reduce((total, each) => total + of(each), 0);
  const spread = (of) => {
    const values = reports.map(of).sort((a, b) => a - b);
    const at = (part) => Number((values[Math.floor(values.length * part)] ?? 0).toFixed(2));
    return { p50: at(0.5), p95: at(0.95), max: Number((values.at(-1) ?? 0).toFixed(2)) };
  };
  const seconds = (performance.now() - startMs) / 1_000;
  return {
    seeds,
    first,
    passed: reports.length,
    failed: failures.length,
    firstFailure: failures.length === 0 ? null : Math.min(...failures.map(({ seed }) => seed)),
    failures: failures.slice(0, FAILURES_SHOWN),
    convergeMs: spread(({ convergeMs }) => convergeMs),
    bytesSentByNeeded: spread(({ bytesSent, bytesNeeded }) => bytesSent / Math.max(1, bytesNeeded)),
    roundsByPeer: spread(({ rounds, peers }) => rounds / peers),
    deliveredAgainPercent: spread(
      ({ runs, broadcasts, runsAgain, broadcastsAgain }) =>
        (100 * (runsAgain + broadcastsAgain)) / Math.max(1, runs + broadcasts),
    ),
    changesets: sum(({ changesets }) => changesets),
    acknowledged: sum(({ acknowledged }) => acknowledged),
    mayBeLost: sum(({ mayBeLost }) => mayBeLost),
    crashes: sum(({ crashes }) => crashes),
    bytesSent: sum(({ bytesSent }) => bytesSent),
    bytesNeeded: sum(({ bytesNeeded }) => bytesNeeded),
    virtualDays: Math.round(sum(({ virtualMs }) => virtualMs) / 86_400_000),
    seconds: Math.round(seconds),
    seedsPerSecond: Number(((reports.length + failures.length) / seconds).toFixed(2)),
  };
}

function describe(result) {
  const { passed, firstFailure } = result;
  const failed = firstFailure === null ? "no failure" : `first failure: ${firstFailure}`;
  const lines = Object.entries(result).flatMap(([name, value]) =>
    name === "failures" ? [] : [`  ${name}: ${JSON.stringify(value)}`],
  );
  return `${passed} of ${seeds} histories agreed; ${failed}\n${lines.join("\n")}`;
}

function usage(message) {
  process.stderr.write(`sim: ${message}; see npm run sim -- --help\n`);
  process.exit(2);
}

function readOptions() {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        seeds: { type: "string", default: "1000" },
        first: { type: "string", default: "1" },
        workers: { type: "string", default: String(availableParallelism()) },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    }));
  } catch (error) {
    usage(error.message);
  }
  if (values.help) {
    process.stdout.write(`${HELP}\n`);
    process.exit(0);
  }
  const numbers = [values.seeds, values.first, values.workers].map(Number);
  if (numbers.some((number) => !Number.isSafeInteger(number) || number < 0) || numbers[2] === 0) {
    usage("--seeds, --first and --workers are whole numbers");
  }
  const [count, from, processes] = numbers;
  return { seeds: count, first: from, workers: processes, json: values.json };
}
