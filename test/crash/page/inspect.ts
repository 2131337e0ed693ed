/** Looks into a database of this origin that nobody has open. */
import { openEngine } from "../../../src/db/engine.ts";
import { openIndexedDbStorage } from "../../../src/db/storage-indexeddb.ts";
import { openOpfsStorage } from "../../../src/db/storage-opfs.ts";
import { compileSqliteInBrowser } from "../../../src/db/wasm-browser.ts";
import { damaged, inspectEngine } from "../inspect-engine.ts";
import type { Found } from "../ledger.ts";
import { databaseName } from "./notes.ts";

const NOTE = { table: "note", id: "id", entry: "entry", parts: "parts" };

async function inspect(kind: "opfs" | "indexeddb"): Promise<Found> {
  const open = kind === "opfs" ? openOpfsStorage : openIndexedDbStorage;
  const storage = await open(databaseName(kind));
  const engine = await openEngine({
    wasm: await compileSqliteInBrowser(),
    files: await storage.openFiles(storage.generation()),
    atomicity: storage.atomicity,
  });
  const found = inspectEngine(engine, NOTE);
  engine.close();
  await storage.close();
  return found;
}

addEventListener("message", ({ data }: MessageEvent<"opfs" | "indexeddb">) => {
  void inspect(data)
    .catch(damaged)
    .then((found) => postMessage(found));
});
