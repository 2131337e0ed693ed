import { expect, test } from "vitest";
import { openEngine } from "../../src/db/engine.ts";
import { writeMeta } from "../../src/db/database-file.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import { openReplica, pull, syncAll } from "../fixtures/replicas.ts";

test("two replicas that wrote apart hold the same tables", async () => {
  const a = await openReplica(1);
  const b = await openReplica(2);
  await a.exec("INSERT INTO animal (id, name) VALUES (?, ?)", ["x", "heron"]);
  await b.transaction(async (tx) => {
    await tx.exec("INSERT INTO animal (id, name, legs) VALUES (?, ?, ?)", ["y", "fox", 4]);
    await tx.exec("INSERT INTO sighting (place, day, count) VALUES ('pond', 3, 2)");
  });
  await pull(a, b);
  await b.exec("DELETE FROM animal WHERE id = 'x'");
  expect(await pull(b, a)).toEqual([{ verdict: "applied" }, { verdict: "applied" }]);
  await a.exec("INSERT INTO animal (id, weight) VALUES ('x', 5)");
  await syncAll([a, b]);
  expect(await b.query("SELECT id, name, legs, weight FROM animal ORDER BY id")).toEqual([
    { id: "x", name: null, legs: null, weight: 5 },
    { id: "y", name: "fox", legs: 4, weight: null },
  ]);
  expect(await a.stateHash()).toBe(await b.stateHash());
  expect(a.vector().length).toBe(2);
  await a.rebuild();
  expect(await a.stateHash()).toBe(await b.stateHash());
  await a.exec("INSERT INTO animal (id, weight) VALUES ('z', 5)");
  await pull(a, b);
  expect(await a.stateHash()).toBe(await b.stateHash());
  await a.close();
  await b.close();
});

test("a file of another format is refused and left as it is", async () => {
  const storage = createMemoryStorage();
  await (await openReplica(1, { storage })).close();
  const reopen = async (format: bigint): Promise<void> => {
    const files = await storage.openFiles(0);
    const engine = await openEngine({
      wasm: await compileSqliteInNode(),
      files,
      atomicity: storage.atomicity,
    });
    writeMeta(engine, "format", format);
    engine.close();
  };
  await reopen(1n);
  await expect(openReplica(1, { storage })).rejects.toMatchObject({ code: "ERR_UNKNOWN_FORMAT" });
  await reopen(2n);
  await (await openReplica(1, { storage })).close();
});
