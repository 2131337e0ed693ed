/** kill -9 between and inside commits: every acknowledged row is there, and the lock is gone. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { build } from "vite";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { rmSync } from "node:fs";
import { openDirectoryStorage } from "../../src/db/storage-directory.ts";
import { openTestEngine, storedRows } from "./open-test-engine.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

/** Inside the project, so that Node finds the dependencies. */
const BUILT = join(import.meta.dirname, `../../node_modules/.cache/rowmesh-crash-${process.pid}`);

// Node 20 runs no TypeScript.
beforeAll(async () => {
  await build({
    configFile: false,
    logLevel: "error",
    build: {
      ssr: join(import.meta.dirname, "crash/writer.ts"),
      outDir: BUILT,
      emptyOutDir: true,
      rolldownOptions: { output: { entryFileNames: "writer.mjs" } },
    },
  });
}, 60_000);
afterAll(() => rmSync(BUILT, { recursive: true, force: true }));

/** Kills the writer when it has acknowledged so many transactions. @returns the last one read */
const writeAndKill = async (directory: string, acknowledgements: number): Promise<number> => {
  const writer = spawn(process.execPath, [join(BUILT, "writer.mjs"), directory], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void writer.kill("SIGKILL"));
  const exit = new Promise((resolve) => writer.once("exit", (_code, signal) => resolve(signal)));
  let last = 0;
  let count = 0;
  for await (const line of createInterface({ input: writer.stdout })) {
    last = Number(line);
    count += 1;
    if (count === acknowledgements) writer.kill("SIGKILL");
  }
  expect(await exit).toBe("SIGKILL");
  return last;
};

test(
  "a writer killed again and again loses nothing it acknowledged",
  { timeout: 60_000 },
  async () => {
    const directory = temporaryDirectory();
    for (const acknowledgements of [1, 2, 5, 50, 200, 333, 500]) {
      const acknowledged = await writeAndKill(directory, acknowledgements);
      const storage = await openDirectoryStorage(directory);
      const engine = await openTestEngine(storage);
      const [row] = storedRows(engine, "SELECT max(tx), count(*), count(DISTINCT tx) FROM t");
      const [last = 0n, rows = 0n, transactions = 0n] = row as bigint[];
      expect(last).toBeGreaterThanOrEqual(BigInt(acknowledged));
      expect([transactions, rows]).toEqual([last, last * 3n]);
      expect(storedRows(engine, "PRAGMA integrity_check")).toEqual([["ok"]]);
      // cr-sqlite's clocks commit with the rows: id is the key, so tx and x are tracked.
      expect(storedRows(engine, "SELECT count(*) FROM crsql_changes")).toEqual([[rows * 2n]]);
      engine.close();
      await storage.close();
    }
  },
);

test("while the writer lives, no one else gets in", { timeout: 60_000 }, async () => {
  const directory = temporaryDirectory();
  const writer = spawn(process.execPath, [join(BUILT, "writer.mjs"), directory], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void writer.kill("SIGKILL"));
  await new Promise((resolve) => writer.stdout.once("data", resolve));
  await expect(openDirectoryStorage(directory)).rejects.toThrow(/ERR_STORAGE_LOCKED/);
  const exit = new Promise((resolve) => writer.once("exit", resolve));
  writer.kill("SIGKILL");
  await exit;
  const storage = await openDirectoryStorage(directory);
  await storage.close();
});
