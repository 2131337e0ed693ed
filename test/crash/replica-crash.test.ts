/** kill -9 of a replica while it writes and while it merges, again and again on one directory. */
import { spawn } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { build } from "vite";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import type { ReplicaDatabase } from "../../src/db/replica-database.ts";
import { openDirectoryStorage } from "../../src/db/storage-directory.ts";
import { randomTransaction } from "../../src/testing/random-work.ts";
import { openReplica, pull, signerOf } from "../fixtures/replicas.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { damaged, inspectEngine } from "./inspect-engine.ts";
import {
  type CrashReport,
  createLedger,
  createReleases,
  type Found,
  keepReport,
  KILLS,
  type Ledger,
  NOTHING_LOST,
  type Releases,
  SEED,
} from "./ledger.ts";
import { openTestEngine } from "../unit/open-test-engine.ts";
import { temporaryDirectory } from "../unit/temporary-directory.ts";

/** Inside the project, so that Node finds the dependencies. */
const BUILT = join(import.meta.dirname, `../../node_modules/.cache/rowmesh-kill-${process.pid}`);

// Node 20 runs no TypeScript.
beforeAll(async () => {
  await build({
    configFile: false,
    logLevel: "error",
    build: {
      ssr: join(import.meta.dirname, "replica-child.ts"),
      outDir: BUILT,
      emptyOutDir: true,
      target: "es2022",
      rolldownOptions: { output: { entryFileNames: "child.mjs" } },
    },
  });
}, 60_000);
afterAll(() => rmSync(BUILT, { recursive: true, force: true }));

/** Notes what the child says until it has said so many lines, and is killed. */
async function runAndKill(args: readonly string[], lines: number, ledger: Ledger): Promise<void> {
  const child = spawn(process.execPath, [join(BUILT, "child.mjs"), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const exit = new Promise((resolve) => child.once("exit", (_code, signal) => resolve(signal)));
  let count = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    const [what, id = "", version = "", hash = ""] = line.split(" ");
    if (what === "row") ledger.acknowledgeRow(id);
    else ledger.acknowledgeVersion(id, Number(version), hash);
    count += 1;
    if (count === lines) child.kill("SIGKILL");
  }
  expect(await exit).toBe("SIGKILL");
  ledger.kill();
}

/** As `replica-child.ts` writes them. */
const SIGHTING = {
  table: "sighting",
  id: "iif(day = 7, place, NULL)",
  entry: "substr(place, 1, instr(place, '/'))",
  parts: "count",
};

async function inspect(directory: string): Promise<Found> {
  const storage = await openDirectoryStorage(directory);
  try {
    const engine = await openTestEngine(storage);
    const found = inspectEngine(engine, SIGHTING);
    engine.close();
    return found;
  } catch (error) {
    return damaged(error);
  } finally {
    await storage.close();
  }
}

/** Everything goes to the peer, which remembers it. */
async function release(db: ReplicaDatabase, peer: ReplicaDatabase, to: Releases): Promise<void> {
  const site = db.signer.siteId;
  await pull(db, peer);
  for (const replica of [db, peer]) {
    const head = replica.vector().find((entry) => entry.site === site)?.head ?? 0;
    for (let version = 1; version <= head; version++) {
      to.add(site, version, replica.hashOf(site, "data", version) ?? "");
    }
  }
}

test(
  "[L1] a replica killed while it writes keeps what it said, and releases no version twice",
  { timeout: 60_000 + KILLS * 30_000 },
  async () => {
    const directory = temporaryDirectory();
    const random = createSeededRandom(SEED);
    const peer = await openReplica(2);
    const site = (await signerOf(1)).siteId;
    const releases = createReleases();
    const ledger = createLedger("node, writing", releases);
    let report: CrashReport;
    try {
      for (let kill = 0; kill < KILLS; kill++) {
        await runAndKill(
          ["write", directory, "1", `${1_000 * SEED + kill}`],
          1 + random.below(60),
          ledger,
        );
        ledger.check(await inspect(directory), site);
        const db = await openReplica(1, { storage: await openDirectoryStorage(directory) });
        await release(db, peer, releases);
        expect(await peer.stateHash()).toBe(await db.stateHash());
        await db.close();
      }
    } finally {
      report = keepReport(ledger.report(site));
    }
    expect(peer.counts().forks).toEqual([]);
    await peer.close();
    expect(report).toMatchObject({ ...NOTHING_LOST, kills: KILLS });
    expect(report.rowsAcknowledged).toBeGreaterThan(KILLS);
  },
);

test(
  "[L2] a replica killed while it merges holds what it acknowledged",
  { timeout: 60_000 + KILLS * 30_000 },
  async () => {
    const directory = temporaryDirectory();
    const random = createSeededRandom(SEED + 1);
    const authors = await Promise.all([11, 12, 13].map(async (author) => openReplica(author)));
    for (let step = 0; step < 90; step++) {
      const author = authors[random.below(3)] as ReplicaDatabase;
      await randomTransaction(author, random);
      if (random.below(4) === 0) await pull(author, authors[random.below(3)] as ReplicaDatabase);
    }
    const runs: Buffer[] = [];
    for (const author of authors) {
      const range = { site: author.signer.siteId, stream: "data", first: 1, last: 1_000 } as const;
      for (const run of (await author.read(range, 1e9)).runs) {
        const length = Buffer.alloc(4);
        length.writeUInt32BE(run.length);
        runs.push(length, Buffer.from(run));
      }
    }
    const runsFile = join(temporaryDirectory(), "runs");
    writeFileSync(runsFile, Buffer.concat(runs));
    const ledger = createLedger("node, merging", createReleases());
    let report: CrashReport;
    try {
      for (let kill = 0; kill < KILLS; kill++) {
        const args = ["merge", directory, "1", `${1_000 * SEED + kill}`, runsFile];
        await runAndKill(args, 1 + random.below(20), ledger);
        ledger.check(await inspect(directory), null);
        const db = await openReplica(1, { storage: await openDirectoryStorage(directory) });
        await db.close();
      }
    } finally {
      report = keepReport(ledger.report(""));
    }
    expect(report).toMatchObject({ ...NOTHING_LOST, kills: KILLS });
    expect(report.versionsAcknowledged).toBeGreaterThan(KILLS);
    const db = await openReplica(1, { storage: await openDirectoryStorage(directory) });
    for (const author of authors) await pull(author, db);
    for (const author of authors) for (const other of authors) await pull(other, author);
    for (const author of authors) {
      expect(await db.stateHash()).toBe(await author.stateHash());
      await author.close();
    }
    expect(db.counts()).toMatchObject({ held: 0, parked: 0, void: 0, forks: [] });
    await db.close();
  },
);
