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
import type { SqlValue } from "../src/protocol/values.ts";
import { openBareCrr } from "./bare-crr.ts";
import { type BenchMesh, createBenchMesh } from "./bench-mesh.ts";
import { compare, type Ratio, type Side } from "./rounds.ts";
import { createRows, INSERT, SCHEMA } from "./sample-rows.ts";

export interface LocalTransactionOptions {
  readonly storage: "memory" | "directory";
  /** How the app writes its 100 rows: one `execMany`, or 100 awaited `exec`. */
  readonly statements: "execMany" | "exec";
  readonly transactions: number;
  readonly rounds: number;
}

const ROWS_PER_TRANSACTION = 100;
const TRANSACTIONS_PER_STEP = 10;
const SEED = 2;

type Rows = readonly SqlValue[][];

/** The rows of the next step's transactions, the same for both sides. */
function createTransactions(): () => readonly Rows[] {
  const nextRow = createRows(SEED);
  const nextRows = (): Rows => Array.from({ length: ROWS_PER_TRANSACTION }, nextRow);
  return () => Array.from({ length: TRANSACTIONS_PER_STEP }, nextRows);
}

export async function benchLocalTransaction(options: LocalTransactionOptions): Promise<Ratio> {
  const bare = await openBareSide(options);
  const mesh = await openMeshSide(options, await createBenchMesh(SCHEMA));
  const ratio = await compare({
    bare: async () => stayOpen(bare),
    mesh: async () => stayOpen(mesh),
    steps: options.transactions / TRANSACTIONS_PER_STEP,
    rounds: options.rounds,
  });
  await bare.close();
  await mesh.close();
  return ratio;
}

/** An app opens its database once: later rounds go on where the first ended, code warm, tables full. */
const stayOpen = (side: Side): Side => ({ ...side, close: async () => {} });

async function openBareSide({ storage: kind }: LocalTransactionOptions): Promise<Side> {
  const { storage, remove } = await openStorage(kind);
  const bare = await openBareCrr(storage);
  const next = createTransactions();
  return {
    step: async () => {
      for (const rows of next()) await bare.insert(rows);
    },
    close: async () => {
      await bare.close();
      remove();
    },
  };
}

async function openMeshSide(
  { storage: kind, statements }: LocalTransactionOptions,
  mesh: BenchMesh,
): Promise<Side> {
  const { storage, remove } = await openStorage(kind);
  const replica = await mesh.openReplica(storage);
  const next = createTransactions();
  return {
    step: async () => {
      for (const rows of next()) {
        await replica.db.transaction(async (tx) => {
          if (statements === "execMany") await tx.execMany(INSERT, rows);
          else for (const row of rows) await tx.exec(INSERT, row);
        });
      }
    },
    close: async () => {
      await replica.close();
      remove();
    },
  };
}

/** Beside the sources: `/tmp` is often memory, and its fsync free. */
const SCRATCH = join(process.cwd(), ".tsbuild/bench-");

async function openStorage(
  kind: "memory" | "directory",
): Promise<{ readonly storage: Storage; readonly remove: () => void }> {
  if (kind === "memory") return { storage: createMemoryStorage(), remove: () => {} };
  const directory = mkdtempSync(SCRATCH);
  return {
    storage: await openDirectoryStorage(directory),
    remove: () => rmSync(directory, { recursive: true }),
  };
}
