/**
 * The tables again from the log, into a fresh file: they are only a view of it. The new file is
 * compared with the old before one durable pointer write switches to it; a crash leaves one of both.
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";
import { installIdentity, openGeneration, readMeta } from "./database-file.ts";
import type { Engine } from "./engine.ts";
import { entryAt, LOG_ENTRY_COLUMNS } from "./log.ts";
import { mergeRows } from "./merge.ts";
import { type ReplicaState, reloadState } from "./replica-state.ts";
import { rowsOf } from "./settle.ts";
import type { AppSchema } from "./schema.ts";
import { installSchema } from "./schema-install.ts";
import { computeStateHash } from "./state-hash.ts";
import type { Storage } from "./storage.ts";

const TRANSACTION_ROWS = 1_000;

/** @throws ERR_DATABASE_CORRUPT when the new tables differ: the old file stays */
export async function rebuildTables(
  state: ReplicaState,
  storage: Storage,
  wasm: WebAssembly.Module,
): Promise<void> {
  const { file } = state;
  await file.recover();
  const generation = storage.generation() + 1;
  await storage.discard(generation);
  try {
    await writeFresh(state, storage, wasm, generation);
  } catch (error) {
    // On a full disk what was written of it would stand in the way of everything else.
    await storage.discard(generation).catch(() => undefined);
    throw error;
  }
  await file.switchTo(generation);
  reloadState(state);
}

async function writeFresh(
  { schema, file, signer }: ReplicaState,
  storage: Storage,
  wasm: WebAssembly.Module,
  generation: number,
): Promise<void> {
  let fresh = await openGeneration(storage, wasm, generation);
  try {
    const secret = readMeta(file.engine(), "secret");
    installIdentity(fresh, secret as Uint8Array, signer);
    fresh.close();
    // Where COMMIT alone is not durable, opening reads what is.
    await storage.commit();
    fresh = await openGeneration(storage, wasm, generation);
    if (schema !== null) installFresh(fresh, schema);
    copyLog(file.engine(), fresh);
    if (schema !== null) {
      replay(fresh, schema);
      assertSame(computeStateHash(file.engine(), schema), computeStateHash(fresh, schema));
    }
  } finally {
    fresh.close();
  }
  await storage.commit();
}

function installFresh(fresh: Engine, schema: AppSchema): void {
  fresh.exec("BEGIN IMMEDIATE");
  installSchema(fresh, schema);
  fresh.exec("COMMIT");
}

const LOG_TABLES = [
  "rowmesh_meta",
  "rowmesh_schema",
  "rowmesh_author",
  "rowmesh_chain",
  "rowmesh_log",
  "rowmesh_chunk",
  "rowmesh_incoming",
] as const;

/** Row by row in transactions of some thousand: a log does not fit in memory. */
function copyLog(old: Engine, fresh: Engine): void {
  for (const table of LOG_TABLES) {
    const select = old.prepare(`SELECT * FROM ${table}`);
    const places = Array.from({ length: select.columnCount }, () => "?").join(", ");
    const insert = fresh.prepare(`INSERT OR REPLACE INTO ${table} VALUES (${places})`);
    inTransactions(fresh, () => {
      if (!select.step()) return false;
      insert.bindStored(select.storedRow());
      insert.run();
      return true;
    });
  }
}

/** In merge order, own changesets with the others: local writes and merges give the same tables. */
function replay(fresh: Engine, schema: AppSchema): void {
  let merged = 0;
  inTransactions(fresh, () => {
    const select = fresh.prepare(
      `SELECT ${LOG_ENTRY_COLUMNS} FROM rowmesh_log WHERE merged > ? ORDER BY merged LIMIT 1`,
    );
    select.bindInteger(1, merged);
    if (!select.step()) return false;
    const entry = entryAt(select);
    select.reset();
    merged = entry.merged ?? merged + 1;
    const { header, payload } = entry;
    mergeRows(fresh, schema, header.site, rowsOf(fresh, header, payload));
    return true;
  });
}

/** Calls `step` until it is false. */
function inTransactions(engine: Engine, step: () => boolean): void {
  for (let more = true; more;) {
    engine.prepare("BEGIN IMMEDIATE").run();
    for (let count = 0; more && count < TRANSACTION_ROWS; count++) more = step();
    engine.prepare("COMMIT").run();
  }
}

function assertSame(before: string, after: string): void {
  if (before === after) return;
  throw new MeshError(
    "ERR_DATABASE_CORRUPT",
    `the log gives other tables (${after}) than the file holds (${before}); the file is unchanged`,
  );
}
