/** Engines on memory storage, closed when the test ends. */
import { onTestFinished } from "vitest";
import type { SqlValue, StoredValue } from "../../src/protocol/values.ts";
import { openEngine, type Engine } from "../../src/db/engine.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import type { Storage } from "../../src/db/storage.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";

export const openTestEngine = async (
  storage: Storage = createMemoryStorage(),
  generation: number = storage.generation(),
): Promise<Engine> => {
  const engine = await openEngine({
    wasm: await compileSqliteInNode(),
    files: await storage.openFiles(generation),
    atomicity: storage.atomicity,
  });
  onTestFinished(() => engine.close());
  return engine;
};

export const storedRows = (engine: Engine, sql: string, ...values: StoredValue[]) => {
  const statement = engine.prepare(sql);
  statement.bindStored(values);
  const rows: StoredValue[][] = [];
  while (statement.step()) rows.push(statement.storedRow());
  return rows;
};

export const gatedRows = (engine: Engine, sql: string, ...values: SqlValue[]) => {
  const { statement } = engine.prepareGated(sql);
  statement.bindSql(values);
  const rows = [];
  while (statement.step()) rows.push(statement.sqlRow());
  return rows;
};
