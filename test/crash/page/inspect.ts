/** Looks into a database that nobody has open: with the engine alone, before rowmesh does. */
import { openEngine, type Engine } from "../../../src/db/engine.ts";
import { openIndexedDbStorage } from "../../../src/db/storage-indexeddb.ts";
import { openOpfsStorage } from "../../../src/db/storage-opfs.ts";
import { compileSqliteInBrowser } from "../../../src/db/wasm-browser.ts";
import type { Found } from "../ledger.ts";
import { databaseName } from "./notes.ts";

function texts(engine: Engine, sql: string): string[] {
  const statement = engine.prepare(sql);
  const all: string[] = [];
  while (statement.step()) all.push(statement.text(0));
  return all;
}

async function inspect(kind: "opfs" | "indexeddb"): Promise<Found> {
  const open = kind === "opfs" ? openOpfsStorage : openIndexedDbStorage;
  const storage = await open(databaseName(kind));
  const engine = await openEngine({
    wasm: await compileSqliteInBrowser(),
    files: await storage.openFiles(storage.generation()),
    atomicity: storage.atomicity,
  });
  const integrity = texts(engine, "PRAGMA integrity_check").join("\n");
  // Killed before the tables were made.
  const isEmpty = texts(engine, "SELECT name FROM sqlite_master WHERE name = 'note'").length === 0;
  const found = isEmpty
    ? { rows: [], versions: [], halves: 0 }
    : {
        rows: texts(engine, "SELECT id FROM note"),
        versions: texts(
          engine,
          `SELECT lower(hex(site)) || ' ' || version || ' ' || lower(hex(header_hash))
           FROM rowmesh_log JOIN rowmesh_author ON rowmesh_author.id = author`,
        ),
        halves: texts(engine, "SELECT entry FROM note GROUP BY entry HAVING count(*) <> max(parts)")
          .length,
      };
  engine.close();
  await storage.close();
  return { integrity, ...found };
}

addEventListener("message", ({ data }: MessageEvent<"opfs" | "indexeddb">) => {
  void inspect(data)
    .catch((error: unknown) => ({
      integrity: String(error),
      rows: [],
      versions: [],
      halves: 0,
    }))
    .then((found) => postMessage(found));
});
