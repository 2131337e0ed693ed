/** The power goes during an upgrade: the file has the old version or the new one, never a part of it. */
import { expect, test } from "vitest";
import type { ReplicaDatabase } from "../../src/db/replica-database.ts";
import type { Schema } from "../../src/db/schema.ts";
import type { FileDevice } from "../../src/db/storage.ts";
import { isMeshError } from "../../src/protocol/errors.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { createSimulatedDisk, type SimulatedDisk } from "../../src/testing/simulated-disk.ts";
import { ANIMALS, ANIMALS_3, openReplica, pull } from "../fixtures/replicas.ts";

const open = ({ storage }: SimulatedDisk, schema: Schema): Promise<ReplicaDatabase> =>
  openReplica(1, { storage, schema });

const OLD = { parked: 2, names: [{ name: "ant" }, { name: "bee" }] };

const rowsOf = (db: ReplicaDatabase): Promise<unknown> =>
  db.query("SELECT * FROM animal ORDER BY id");

/** The bytes of a file of version 1 that holds rows, and parked changes of version 3. */
async function upgradableFile(): Promise<readonly Uint8Array[]> {
  const disk = createSimulatedDisk(() => 0);
  const modern = await openReplica(2, { schema: ANIMALS_3 });
  await modern.exec("INSERT INTO tag VALUES (x'01', 'red')");
  await modern.exec("INSERT INTO trap (id) VALUES ('t')");
  const old = await open(disk, ANIMALS);
  await old.exec("INSERT INTO animal (id, name) VALUES ('a', 'ant'), ('b', 'bee')");
  await pull(modern, old);
  await modern.close();
  await old.close();
  return (await devicesOf(disk)).map((device) => {
    const bytes = new Uint8Array(device.size());
    device.read(bytes, 0);
    return bytes;
  });
}

async function devicesOf({ storage }: SimulatedDisk): Promise<readonly FileDevice[]> {
  const { database, journal } = await storage.openFiles(0);
  return [database, journal];
}

async function diskWith(files: readonly Uint8Array[], seed: number): Promise<SimulatedDisk> {
  const disk = createSimulatedDisk(createSeededRandom(seed).below);
  for (const [at, device] of (await devicesOf(disk)).entries()) {
    device.write(files[at] as Uint8Array, 0);
    device.flush();
  }
  return disk;
}

test("[M13] an upgrade without room fails, and works once there is", async () => {
  const disk = await diskWith(await upgradableFile(), 1);
  let failures = 0;
  for (const free of [0, 4, 16, 64, 256].map((blocks) => blocks * 4096)) {
    disk.setFree(free);
    const opened = await open(disk, ANIMALS_3).catch((error: unknown) => {
      if (!isMeshError(error, "ERR_STORAGE_FULL")) throw error;
      return null;
    });
    if (opened === null) failures++;
    await opened?.close();
  }
  expect(failures).toBeGreaterThan(1);
  disk.setFree(null);
  const db = await open(disk, ANIMALS_3);
  expect(await db.query("SELECT colour FROM tag")).toEqual([{ colour: "red" }]);
  await db.close();
}, 60_000);

test("[M13] the power may go at any moment of an upgrade", async () => {
  const files = await upgradableFile();
  const found = { old: 0, upgraded: 0 };
  let operations = 0;
  for (let whole = false; !whole; operations += 3) {
    const disk = await diskWith(files, operations);
    disk.losePowerAfter(operations);
    try {
      const db = await open(disk, ANIMALS_3);
      whole = true;
      await db.close();
    } catch (error) {
      if (!isMeshError(error) || !disk.hasLostPower()) throw error;
    }
    disk.losePower();
    // The older app opens it exactly when it is still the old one.
    const state = await open(disk, ANIMALS).then(
      async (before) => {
        const { parked } = before.counts();
        const shown = { parked, names: await before.query("SELECT name FROM animal ORDER BY id") };
        await before.close();
        return shown;
      },
      (error: unknown) => (isMeshError(error) ? error.code : error),
    );
    if (state === "ERR_SCHEMA_NEWER") found.upgraded++;
    else found.old++;
    expect([OLD, "ERR_SCHEMA_NEWER"]).toContainEqual(state);
    const db = await open(disk, ANIMALS_3);
    expect(await rowsOf(db)).toMatchObject([
      { name: "ant", tame: 0, speed: 2 },
      { name: "bee", tame: 0, speed: 2 },
    ]);
    expect(db.counts()).toMatchObject({ held: 0, parked: 0 });
    expect(await db.query("SELECT colour FROM tag")).toEqual([{ colour: "red" }]);
    await db.close();
  }
  // Of both some, or the moments are badly chosen.
  expect(found.old).toBeGreaterThan(5);
  expect(found.upgraded).toBeGreaterThan(1);
}, 60_000);
