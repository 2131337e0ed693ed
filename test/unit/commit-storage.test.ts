/** A replica on a storage that is durable only at `commit()`. */
import { expect, test } from "vitest";
import { openReplica } from "../fixtures/replicas.ts";
import { STORAGE_RULES } from "../contracts/storage.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import { createCommitStorage } from "./commit-storage.ts";

const rules = STORAGE_RULES.filter((rule) => rule.durableOnly === undefined);
test.each(rules)("$name", { timeout: 60_000 }, async ({ run }) => {
  const place = { open: async () => createCommitStorage() };
  await expect(run(place, await compileSqliteInNode())).resolves.toBeUndefined();
});

test("a replica writes, rebuilds and reopens", async () => {
  const storage = createCommitStorage();
  const first = await openReplica(1, { storage });
  await first.exec("INSERT INTO animal (id, name) VALUES ('a', 'heron')");
  await first.rebuild();
  await first.exec("INSERT INTO animal (id, name) VALUES ('b', 'otter')");
  const hash = await first.stateHash();
  await first.close();
  const again = await openReplica(1, { storage });
  expect(await again.stateHash()).toBe(hash);
  expect(await again.query("SELECT id FROM animal ORDER BY id")).toEqual([
    { id: "a" },
    { id: "b" },
  ]);
  await again.close();
});

test("a rebuild starts from nothing, whatever an earlier attempt left", async () => {
  const storage = createMemoryStorage();
  const replica = await openReplica(1, { storage });
  await replica.exec("INSERT INTO animal (id) VALUES ('a')");
  const { database } = await storage.openFiles(storage.generation() + 1);
  database.write(new Uint8Array(8_192).fill(1), 0);
  await replica.rebuild();
  expect(await replica.query("SELECT id FROM animal")).toEqual([{ id: "a" }]);
  await replica.close();
});

test("what a failed commit would have stored is nowhere, and the replica goes on", async () => {
  const storage = createCommitStorage();
  const replica = await openReplica(1, { storage });
  await replica.exec("INSERT INTO animal (id) VALUES ('a')");
  storage.failCommits(true);
  await expect(replica.exec("INSERT INTO animal (id) VALUES ('b')")).rejects.toThrow(
    /ERR_STORAGE_FULL/,
  );
  await expect(replica.rebuild()).rejects.toThrow(/ERR_STORAGE_FULL/);
  expect(await replica.query("SELECT id FROM animal")).toEqual([{ id: "a" }]);
  storage.failCommits(false);
  await replica.rebuild();
  await replica.exec("INSERT INTO animal (id) VALUES ('c')");
  expect(await replica.query("SELECT id FROM animal ORDER BY id")).toEqual([
    { id: "a" },
    { id: "c" },
  ]);
  await replica.close();
});
