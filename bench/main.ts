/**
 * `npm run bench`: what rowmesh costs on top of the bare engine, what it puts on the wire, how soon
 * a commit is seen elsewhere. README.md says how to read it.
 *
 * @module
 */

// oxlint-disable-next-line import/no-unassigned-import -- patches globals, before anything reads them
import "../src/cli/node20-polyfills.ts";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { type ApplyResult, benchApply } from "./apply-changesets.ts";
import { benchLargeApply, benchLargeWrite } from "./large-transaction.ts";
import { benchLiveLatency } from "./live-latency.ts";
import { benchLocalTransaction } from "./local-transaction.ts";
import type { Ratio } from "./rounds.ts";
import { benchWireBytes } from "./wire-bytes.ts";

const PARTS = ["apply", "local", "large", "wire", "live"] as const;
type Part = (typeof PARTS)[number];

const HELP = `usage: npm run bench -- [--json] [--quick] [--only ${PARTS.join("|")}]

  --json     end with one line of JSON
  --quick    less of everything: to see that it runs, not to quote
  --only P   one part`;

const values = readOptions();
const only = PARTS.find((part) => part === values.only);
if (values.help || (values.only !== undefined && only === undefined)) {
  console.log(HELP);
  process.exit(values.help ? 0 : 2);
}
const wants = (part: Part): boolean => only === undefined || only === part;

const row = (name: string, measured: string, target: string): void =>
  console.log(`${name.padEnd(56)} ${measured.padStart(12)}  ${target}`);
const ratioRow = (name: string, measured: Ratio, target: string): void => {
  const { ratio, spread, cpuRatio, bareMs, meshMs } = measured;
  row(name, ratio.toFixed(2), target);
  const [low, high] = spread;
  const range = `${low.toFixed(2)} to ${high.toFixed(2)}`;
  row("", "", `bare ${bareMs.toFixed(0)} ms, rowmesh ${meshMs.toFixed(0)} ms`);
  row("", "", `rounds ${range}; by CPU time ${cpuRatio.toFixed(2)}`);
};

const results: Record<string, unknown> = {};
const { quick } = values;
console.log(`Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? "unknown CPU"}\n`);

if (wants("apply")) {
  const apply = async (kind: "insert" | "update", changesets: number): Promise<ApplyResult> => {
    const measured = await benchApply({ changesets, rows: kind, rounds: quick ? 1 : 3 });
    const name = `apply ${changesets} changesets × 100 rows × 5 columns, ${kind}`;
    ratioRow(name, measured, "≥ 0.5 of bare");
    const { barePerSecond, meshPerSecond } = measured;
    const perSecond = `bare ${thousands(barePerSecond)}, rowmesh ${thousands(meshPerSecond)}`;
    row("", "", `changes/s: ${perSecond}`);
    return measured;
  };
  const inserted = await apply("insert", quick ? 100 : 1_000);
  const updated = await apply("update", quick ? 100 : 300);
  results["applyRatio"] = rounded(inserted.ratio);
  results["applyCpuRatio"] = rounded(inserted.cpuRatio);
  results["applyChangesPerSecond"] = Math.round(inserted.meshPerSecond);
  results["bareApplyChangesPerSecond"] = Math.round(inserted.barePerSecond);
  results["applyUpdateRatio"] = rounded(updated.ratio);
  results["applyUpdateCpuRatio"] = rounded(updated.cpuRatio);
}

if (wants("local")) {
  const size = { transactions: 100, rounds: quick ? 2 : 9 };
  const local = async (storage: "memory" | "directory", statements: "execMany" | "exec") =>
    benchLocalTransaction({ storage, statements, ...size });
  const memory = await local("memory", "execMany");
  ratioRow("transaction of 100 rows, execMany, memory", memory, "≥ 0.5 of bare");
  const singly = await local("memory", "exec");
  ratioRow("transaction of 100 rows, 100 × exec, memory", singly, "");
  const directory = await local("directory", "execMany");
  ratioRow("transaction of 100 rows, execMany, directory", directory, "≥ 0.5 of bare");
  results["localTransactionRatio"] = rounded(memory.ratio);
  results["localTransactionCpuRatio"] = rounded(memory.cpuRatio);
  results["localTransactionExecRatio"] = rounded(singly.ratio);
  results["localTransactionDirectoryRatio"] = rounded(directory.ratio);
  results["localTransactionMs"] = rounded(memory.meshMs / size.transactions);
  results["localTransactionDirectoryMs"] = rounded(directory.meshMs / size.transactions);
}

if (wants("large")) {
  const size = { rows: quick ? 10_000 : 100_000, rounds: quick ? 1 : 3 };
  const written = await benchLargeWrite(size);
  ratioRow(`transaction of ${size.rows} rows × 5 columns, written`, written, "");
  const applied = await benchLargeApply(size);
  ratioRow("the same received in chunks and merged", applied, "≥ 0.5 of bare");
  results["largeWriteRatio"] = rounded(written.ratio);
  results["largeApplyRatio"] = rounded(applied.ratio);
}

if (wants("wire")) {
  const { oneCellBytes, insertBytes } = await benchWireBytes();
  row("changeset of one updated cell", `${oneCellBytes} B`, "≤ 190 B");
  row("changeset of a 5-column insert", `${insertBytes} B`, "≤ 300 B");
  results["wireOneCellBytes"] = oneCellBytes;
  results["wireInsertBytes"] = insertBytes;
}

if (wants("live")) {
  const live = await benchLiveLatency(quick ? 10 : 100);
  if (live.type === "skipped") {
    row("live latency, two browsers", "skipped", live.reason);
    results["liveSkipped"] = live.reason;
  } else {
    row("live latency, two browsers, p50", `${live.p50Ms.toFixed(1)} ms`, "< 30 ms");
    const { p95Ms, sinceCommitP50Ms, samples, link, storage } = live;
    row("", "", `p95 ${p95Ms.toFixed(1)} ms, after the commit ${sinceCommitP50Ms.toFixed(1)} ms`);
    row("", "", `${samples} samples, link ${link}, storage ${storage}`);
    results["liveP50Ms"] = rounded(live.p50Ms);
    results["liveP95Ms"] = rounded(live.p95Ms);
    results["liveSinceCommitP50Ms"] = rounded(live.sinceCommitP50Ms);
    results["liveLink"] = live.link;
  }
}

if (values.json) console.log(JSON.stringify(results));
// The hub of the live part leaves its native WebRTC listener, which would keep the process.
process.exit(0);

function thousands(value: number): string {
  return `${Math.round(value / 1_000)}k`;
}

function rounded(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        json: { type: "boolean", default: false },
        quick: { type: "boolean", default: false },
        only: { type: "string" },
        help: { type: "boolean", short: "h", default: false },
      },
    }).values;
  } catch (error) {
    console.error(`bench: ${(error as Error).message}; see npm run bench -- --help`);
    process.exit(2);
  }
}
