import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openDirectoryStorage } from "../../src/db/storage-directory.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import { STORAGE_RULES } from "../contracts/storage.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

describe("memory storage", () => {
  const rules = STORAGE_RULES.filter((rule) => rule.durableOnly === undefined);
  test.each(rules)("$name", { timeout: 60_000 }, async ({ run }) => {
    const place = { open: async () => createMemoryStorage() };
    await expect(run(place, await compileSqliteInNode())).resolves.toBeUndefined();
  });
});

describe("directory storage", () => {
  test.each(STORAGE_RULES)("$name", { timeout: 60_000 }, async ({ run }) => {
    const directory = join(temporaryDirectory(), "not", "yet", "there");
    const place = { open: async () => openDirectoryStorage(directory) };
    await expect(run(place, await compileSqliteInNode())).resolves.toBeUndefined();
  });

  test("two names of one directory are one lock", async () => {
    const directory = temporaryDirectory();
    const first = await openDirectoryStorage(directory);
    await expect(
      openDirectoryStorage(`${directory}/../${directory.split("/").at(-1)}`),
    ).rejects.toThrow(/ERR_STORAGE_LOCKED/);
    await first.close();
  });

  test("files that are not its own stay", async () => {
    const directory = temporaryDirectory();
    writeFileSync(join(directory, "hub-key"), "secret");
    const storage = await openDirectoryStorage(directory);
    await storage.openFiles(0);
    await storage.destroy();
    expect(readdirSync(directory)).toEqual(["hub-key"]);
  });

  test("a directory deleted under an open database is noticed at the next commit", async () => {
    const directory = temporaryDirectory();
    const storage = await openDirectoryStorage(directory);
    const { database } = await storage.openFiles(0);
    database.write(Uint8Array.of(1), 0);
    rmSync(directory, { recursive: true });
    expect(() => database.flush()).toThrow(/ERR_STORAGE_LOST/);
    await storage.close();
  });
});
