/** The simulator's disk keeps to the rules of a storage, in both styles, and breaks as they may. */
import { describe, expect, test } from "vitest";
import type { FileDevice } from "../../src/db/storage.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { createSimulatedDisk } from "../../src/testing/simulated-disk.ts";
import { STORAGE_RULES } from "../contracts/storage.ts";

const STYLES = ["file", "commit"] as const;
/** It has no lock, and is not opened. */
const RULES = STORAGE_RULES.filter((rule) => rule.durableOnly === undefined);

describe.each(STYLES)("by %s", (atomicity) => {
  test.each(RULES)("$name", { timeout: 60_000 }, async ({ run }) => {
    const disk = createSimulatedDisk(createSeededRandom(1).below, atomicity);
    const place = { open: async () => disk.storage };
    await expect(run(place, await compileSqliteInNode())).resolves.toBeUndefined();
  });
});

const contents = (device: FileDevice): readonly number[] => {
  const into = new Uint8Array(device.size());
  device.read(into, 0);
  return [...into];
};

test("by commit all that was written is there, or nothing, and flushing changes nothing", async () => {
  const disk = createSimulatedDisk(createSeededRandom(1).below, "commit");
  const { storage } = disk;
  const { database } = await storage.openFiles(0);
  database.write(Uint8Array.of(1, 2, 3), 0);
  await storage.commit();
  database.write(new Uint8Array(100_000).fill(7), 1);
  database.flush();
  expect([...(disk.copy().files.get(0)?.[0] ?? [])]).toEqual([1, 2, 3]);
  disk.losePower();
  expect(contents((await storage.openFiles(0)).database)).toEqual([1, 2, 3]);
});

test("by commit nothing is durable after a commit that failed, until the files are opened again", async () => {
  const disk = createSimulatedDisk(createSeededRandom(1).below, "commit");
  const { storage } = disk;
  const { database } = await storage.openFiles(0);
  disk.setFree(10);
  database.write(new Uint8Array(11), 0);
  await expect(storage.commit()).rejects.toMatchObject({ code: "ERR_STORAGE_FULL" });
  disk.setFree(null);
  await expect(storage.commit()).rejects.toMatchObject({ code: "ERR_STORAGE_FULL" });
  const again = (await storage.openFiles(0)).database;
  expect(again.size()).toBe(0);
  again.write(Uint8Array.of(5), 0);
  await storage.commit();
  disk.losePower();
  expect(contents((await storage.openFiles(0)).database)).toEqual([5]);
});
