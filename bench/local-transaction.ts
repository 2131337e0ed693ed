/**
 * Writing: local transactions of 100 rows. rowmesh runs the app's statements, captures the changes,
 * encodes, validates, hashes, signs and logs them in the same SQLite transaction; the bare CRR does
 * BEGIN, 100 inserts through one prepared statement, COMMIT.
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Storage } from "../src/db/storage.ts";
import { openDirectoryStorage } from "../src/db/storage-directory.ts";
import { createMemoryStorage } from "../src/db/storage-memory.ts";
import { openBareCrr } from "./bare-crr.ts";
import { createBenchMesh } from "./bench-mesh.ts";
import { measureRatio, type Ratio } from "./rounds.ts";
import { createRows, INSERT, SCHEMA } from "./sample-rows.ts";

export interface LocalTransactionOptions {
  readonly storage: "memory" | "directory";
  /** How the app writes its 100 rows: one `execMany`, or 100 awaited `exec`. */
  readonly statements: "execMany" | "exec";
  readonly transactions: number;
  readonly rounds: number;
}

const ROWS_PER_TRANSACTION = 100;
const SEED = 2;

export async function benchLocalTransaction(options: LocalTransactionOptions): Promise<Ratio> {
  const { transactions, rounds, statements } = options;
  const mesh = await createBenchMesh(SCHEMA);
  const nextRow = createRows(SEED);
  const batches = Array.from({ length: transactions }, () =>
    Array.from({ length: ROWS_PER_TRANSACTION }, nextRow),
  );

  const measureBare = async (storage: Storage): Promise<number> => {
    const bare = await openBareCrr(storage);
    const startMs = performance.now();
    for (const rows of batches) await bare.insert(rows);
    const elapsedMs = performance.now() - startMs;
    await bare.close();
    return elapsedMs;
  };
  const measureMesh = async (storage: Storage): Promise<number> => {
    const replica = await mesh.openReplica(storage);
    const startMs = performance.now();
    for (const rows of batches) {
      await replica.db.transaction(async (tx) => {
        if (statements === "execMany") await tx.execMany(INSERT, rows);
        else for (const row of rows) await tx.exec(INSERT, row);
      });
    }
    const elapsedMs = performance.now() - startMs;
    await replica.close();
    return elapsedMs;
  };
  return measureRatio(
    () => withStorage(options.storage, measureBare),
    () => withStorage(options.storage, measureMesh),
    rounds,
  );
}

/** Beside the sources: `/tmp` is often memory, and its fsync free. */
const SCRATCH = join(process.cwd(), ".bench-");

async function withStorage(
  kind: "memory" | "directory",
  run: (storage: Storage) => Promise<number>,
): Promise<number> {
  if (kind === "memory") return run(createMemoryStorage());
  const directory = mkdtempSync(SCRATCH);
  try {
    return await run(await openDirectoryStorage(directory));
  } finally {
    rmSync(directory, { recursive: true });
  }
}
