/** A process to be killed: commits for ever, and says which transaction is durable. */
import { writeSync } from "node:fs";
import { openEngine } from "../../../src/db/engine.ts";
import { openDirectoryStorage } from "../../../src/db/storage-directory.ts";
import { compileSqliteInNode } from "../../../src/db/wasm-node.ts";

const storage = await openDirectoryStorage(process.argv[2] ?? "");
const engine = await openEngine({
  wasm: await compileSqliteInNode(),
  files: await storage.openFiles(storage.generation()),
  atomicity: storage.atomicity,
});
engine.exec(`CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY NOT NULL, tx INTEGER, x BLOB) STRICT;
  SELECT crsql_as_crr('t')`);
const last = engine.prepare("SELECT coalesce(max(tx), 0) FROM t");
last.step();
const first = last.integer(0) + 1;
last.reset();

for (let tx = first; ; tx += 1) {
  engine.prepare("BEGIN IMMEDIATE").run();
  const insert = engine.prepare("INSERT INTO t (id, tx, x) VALUES (?, ?, randomblob(?))");
  for (let row = 0; row < 3; row += 1) {
    insert.bindInteger(1, tx * 3 + row);
    insert.bindInteger(2, tx);
    insert.bindInteger(3, (tx * 7_919) % 9_000);
    insert.run();
  }
  engine.prepare("COMMIT").run();
  await storage.commit();
  writeSync(1, `${tx}\n`);
}
