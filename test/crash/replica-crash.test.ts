/** kill -9 of a replica while it writes and while it merges, again and again on one directory. */
import { spawn } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { build } from "vite";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import type { ReplicaDatabase } from "../../src/db/replica-database.ts";
import { openDirectoryStorage } from "../../src/db/storage-directory.ts";
import { siteId } from "../../src/protocol/ids.ts";
import { randomTransaction } from "../../src/testing/random-work.ts";
import { openReplica, pull } from "../fixtures/replicas.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { openTestEngine, storedRows } from "../unit/open-test-engine.ts";
import { temporaryDirectory } from "../unit/temporary-directory.ts";

const KILLS = 20;
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

/** What the child said it holds, as "site version" → hash, until it was killed after so many lines. */
async function runAndKill(
  args: readonly string[],
  lines: number,
): Promise<ReadonlyMap<string, string>> {
  const child = spawn(process.execPath, [join(BUILT, "child.mjs"), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const exit = new Promise((resolve) => child.once("exit", (_code, signal) => resolve(signal)));
  const said = new Map<string, string>();
  let count = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    const [site = "", version = "", hash = ""] = line.split(" ");
    said.set(`${site} ${version}`, hash);
    count += 1;
    if (count === lines) child.kill("SIGKILL");
  }
  expect(await exit).toBe("SIGKILL");
  return said;
}

function expectHeld(db: ReplicaDatabase, said: ReadonlyMap<string, string>): void {
  for (const [place, hash] of said) {
    const [site = "", version = ""] = place.split(" ");
    expect(db.hashOf(siteId(site), "data", Number(version))).toBe(hash);
  }
}

async function expectIntact(directory: string): Promise<void> {
  const storage = await openDirectoryStorage(directory);
  const engine = await openTestEngine(storage);
  expect(storedRows(engine, "PRAGMA integrity_check")).toEqual([["ok"]]);
  engine.close();
  await storage.close();
}

test(
  "[L1] a replica killed while it writes keeps what it said, and releases no version twice",
  { timeout: 300_000 },
  async () => {
    const directory = temporaryDirectory();
    const random = createSeededRandom(1);
    const peer = await openReplica(2);
    const said = new Map<string, string>();
    for (let kill = 0; kill < KILLS; kill++) {
      const news = await runAndKill(["write", directory, "1", `${kill}`], 1 + random.below(25));
      for (const [place, hash] of news) {
        // A version said before may be said again only with the same content.
        expect(said.get(place) ?? hash).toBe(hash);
        said.set(place, hash);
      }
      await expectIntact(directory);
      const db = await openReplica(1, { storage: await openDirectoryStorage(directory) });
      expectHeld(db, said);
      await pull(db, peer);
      expect(await peer.stateHash()).toBe(await db.stateHash());
      expect(peer.counts().forks).toEqual([]);
      await db.close();
    }
    await peer.close();
  },
);

test(
  "[L2] a replica killed while it merges holds what it acknowledged",
  { timeout: 300_000 },
  async () => {
    const directory = temporaryDirectory();
    const random = createSeededRandom(2);
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
    const said = new Map<string, string>();
    for (let kill = 0; kill < KILLS; kill++) {
      const args = ["merge", directory, "1", `${kill}`, runsFile];
      for (const [place, hash] of await runAndKill(args, 1 + random.below(20))) {
        said.set(place, hash);
      }
      await expectIntact(directory);
      const db = await openReplica(1, { storage: await openDirectoryStorage(directory) });
      expectHeld(db, said);
      await db.close();
    }
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
