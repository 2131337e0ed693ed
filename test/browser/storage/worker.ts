/** The contract and a few crashes, in the kind of worker that owns a database. */
import { openDB } from "idb";
import { openEngine, type Engine } from "../../../src/db/engine.ts";
import type { Storage } from "../../../src/db/storage.ts";
import { openIndexedDbStorage } from "../../../src/db/storage-indexeddb.ts";
import { openOpfsStorage } from "../../../src/db/storage-opfs.ts";
import { compileSqliteInBrowser } from "../../../src/db/wasm-browser.ts";
import { isMeshError } from "../../../src/protocol/errors.ts";
import { STORAGE_RULES } from "../../contracts/storage.ts";

export type Backend = "opfs" | "indexeddb";

export type Call =
  | { readonly type: "contract"; readonly backend: Backend }
  | { readonly type: "open"; readonly backend: Backend; readonly name: string }
  /** One transaction of three rows; answers with the number of rows now. */
  | { readonly type: "write"; readonly bytes: number }
  | { readonly type: "count" }
  | { readonly type: "recover" }
  | { readonly type: "takeOver"; readonly name: string };

const openers: Readonly<Record<Backend, (name: string) => Promise<Storage>>> = {
  opfs: openOpfsStorage,
  indexeddb: openIndexedDbStorage,
};

let storage: Storage | null = null;
let engine: Engine | null = null;

const runContract = async (backend: Backend): Promise<Record<string, string>> => {
  const results: Record<string, string> = {};
  const wasm = await compileSqliteInBrowser();
  for (const [index, rule] of STORAGE_RULES.entries()) {
    try {
      await rule.run({ open: async () => openers[backend](`contract-${index}`) }, wasm);
      results[rule.name] = "ok";
    } catch (error) {
      results[rule.name] =
        error instanceof Error ? `${error.message}\n${error.stack}` : String(error);
    }
  }
  return results;
};

const open = async (backend: Backend, name: string): Promise<number> => {
  storage = await openers[backend](name);
  engine = await openEngine({
    wasm: await compileSqliteInBrowser(),
    files: await storage.openFiles(storage.generation()),
    atomicity: storage.atomicity,
  });
  engine.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY NOT NULL, x BLOB) STRICT");
  await storage.commit();
  return count();
};

const opened = (): { readonly engine: Engine; readonly storage: Storage } => {
  if (engine === null || storage === null) throw new RangeError("open first");
  return { engine, storage };
};

const count = (): number => {
  const rows = opened().engine.prepare("SELECT count(*) FROM t");
  const check = opened().engine.prepare("PRAGMA integrity_check");
  check.step();
  if (check.text(0) !== "ok") throw new Error(check.text(0));
  rows.step();
  const counted = rows.integer(0);
  check.reset();
  rows.reset();
  return counted;
};

const write = async (bytes: number): Promise<number> => {
  const { engine: writer, storage: disk } = opened();
  writer.prepare("BEGIN IMMEDIATE").run();
  try {
    const insert = writer.prepare("INSERT INTO t (x) VALUES (randomblob(?))");
    for (let row = 0; row < 3; row += 1) {
      insert.bindInteger(1, bytes);
      insert.run();
    }
    writer.prepare("COMMIT").run();
    await disk.commit();
  } finally {
    if (!writer.autocommit()) writer.prepare("ROLLBACK").run();
  }
  return count();
};

/** After a failed commit: a new engine on what the storage holds. */
const recover = async (): Promise<number> => {
  const failed = opened();
  failed.engine.close();
  if (failed.storage.atomicity === "commit") {
    const again = await failed.storage.commit().catch((error: unknown) => error);
    if (!isMeshError(again)) throw new Error("a commit after a failed one must fail");
  }
  engine = await openEngine({
    wasm: await compileSqliteInBrowser(),
    files: await failed.storage.openFiles(failed.storage.generation()),
    atomicity: failed.storage.atomicity,
  });
  return count();
};

/** What a second tab does when the first was too busy to say that it is there. */
const takeOver = async (name: string): Promise<number> => {
  const database = await openDB(`rowmesh-${name}`);
  const epoch = ((await database.get("meta", "epoch")) as number) + 1;
  await database.put("meta", epoch, "epoch");
  database.close();
  return epoch;
};

const answer = async (call: Call): Promise<unknown> => {
  switch (call.type) {
    case "contract":
      return runContract(call.backend);
    case "open":
      return open(call.backend, call.name);
    case "write":
      return write(call.bytes);
    case "count":
      return count();
    case "recover":
      return recover();
    case "takeOver":
      return takeOver(call.name);
  }
};

addEventListener("message", ({ data }: MessageEvent<Call>) => {
  void answer(data)
    .catch((error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }))
    .then((result) => postMessage(result));
});
