/** A profile that exists twice: each copy takes a key of its own by itself, and nothing is lost. */
import { expect, test, vi } from "vitest";
import type { ReplicaDatabase } from "../../src/db/replica-database.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import type { Storage } from "../../src/db/storage.ts";
import { decodeRun } from "../../src/protocol/changeset-run.ts";
import type { Random } from "../../src/seams.ts";
import { verifyRun } from "../../src/signing/verified-changeset.ts";
import { copyStorage, ed25519, MESH, openReplica } from "../fixtures/replicas.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { createSimulatedDisk } from "../../src/testing/simulated-disk.ts";

vi.setConfig({ testTimeout: 60_000 });

/** All that `from` claims, branch by branch, as its receivers would verify it. */
async function carry(from: ReplicaDatabase, to: ReplicaDatabase): Promise<void> {
  for (const { floor, head, beyond: _, ...name } of from.vector()) {
    const range = { ...name, first: floor + 1, last: head };
    const { runs } = await from.read(range, 1_000_000);
    for (const run of runs) {
      const { verified, refused } = await verifyRun(ed25519, decodeRun(run), MESH);
      expect(refused).toBeNull();
      await to.append(verified);
    }
  }
}

async function carryAll(replicas: readonly ReplicaDatabase[]): Promise<void> {
  for (let round = 0; round < 3; round++) {
    for (const from of replicas) {
      for (const to of replicas) if (from !== to) await carry(from, to);
    }
  }
}

const insert = (db: ReplicaDatabase, id: string) =>
  db.exec("INSERT INTO animal (id, name) VALUES (?, 'x')", [id]);

const idsOf = async (db: ReplicaDatabase): Promise<string[]> =>
  (await db.query<{ id: string }>("SELECT id FROM animal ORDER BY id")).map(({ id }) => id);

let lastKey = 1_000;
const newKey = (): number => (lastKey += 1);

const compareNames = (a: object, b: object): number =>
  JSON.stringify(a) < JSON.stringify(b) ? -1 : 1;

/** Everybody holds the same log and the same tables with exactly these rows. */
async function expectSame(
  replicas: readonly ReplicaDatabase[],
  ids: readonly string[],
  { rebuild = true }: { readonly rebuild?: boolean } = {},
): Promise<void> {
  const vectors = new Set<string>();
  const hashes = new Set<string>();
  for (const db of replicas) {
    expect(await idsOf(db)).toEqual([...ids].sort());
    expect(db.counts()).toMatchObject({ held: 0, parked: 0, void: 0 });
    vectors.add(JSON.stringify([...db.vector()].sort(compareNames)));
    hashes.add(await db.stateHash());
    if (rebuild) await db.rebuild();
    hashes.add(await db.stateHash());
  }
  expect(vectors.size).toBe(1);
  expect(hashes.size).toBe(1);
}

async function copiedProfile(): Promise<readonly [Storage, Storage]> {
  const storage = createMemoryStorage();
  const first = await openReplica(1, { storage });
  await insert(first, "before");
  await first.close();
  return [storage, await copyStorage(storage)];
}

test("[L13] each copy of a profile takes a key of its own when the logs meet, and says so", async () => {
  const storages = await copiedProfile();
  const [first, clone] = (await Promise.all(
    storages.map((storage) => openReplica(1, { storage, newKey })),
  )) as [ReplicaDatabase, ReplicaDatabase];
  const former = first.signer.siteId;
  const third = await openReplica(3);
  const told: string[] = [];
  first.onNewKey(() => told.push(first.signer.siteId));
  await insert(first, "first");
  await insert(clone, "clone");
  await carry(clone, third);
  expect(first.signer.siteId).toBe(former);
  await carry(third, first);
  expect(first.signer.siteId).not.toBe(former);
  expect(told).toEqual([first.signer.siteId]);
  expect(first.counts().formerKeys).toEqual([
    { formerSiteId: former, siteId: first.signer.siteId, takenMs: 1_700_000_000_000 },
  ]);
  await carry(first, clone);
  const sites = new Set([former, first.signer.siteId, clone.signer.siteId]);
  expect(sites.size).toBe(3);
  const ids = ["before", "first", "clone"];
  for (let round = 0; round < 3; round++) {
    for (const [name, db] of Object.entries({ first, clone, third })) {
      await insert(db, `${name}${round}`);
      ids.push(`${name}${round}`);
    }
    await carryAll([first, clone, third]);
  }
  for (const db of [first, clone, third]) {
    // The old key signed "before" and one of either copy, and nothing since.
    expect(db.counts().forks).toEqual([
      expect.objectContaining({
        siteId: former,
        version: 2,
        headers: expect.objectContaining({ length: 2 }),
      }),
    ]);
    const versions = db
      .vector()
      .filter(({ site }) => site === former)
      .map(({ head }) => head);
    expect(versions).toEqual([2, 2]);
  }
  expect(first.counts().formerKeys).toHaveLength(1);
  await expectSame([first, clone, third], ids);
  for (const db of [first, clone, third]) await db.close();
});

test("[L13] the new key stays: after reopening, a rebuild, and a second copy", async () => {
  let [storage, copied] = await copiedProfile();
  const third = await openReplica(3);
  const ids = ["before"];
  for (let generation = 0; generation < 3; generation++) {
    let first = await openReplica(1, { storage, newKey });
    let clone = await openReplica(1, { storage: copied, newKey });
    expect(first.signer.siteId).toBe(clone.signer.siteId);
    for (const [name, db] of Object.entries({ first, clone })) {
      await insert(db, `${name}${generation}`);
      ids.push(`${name}${generation}`);
    }
    await carryAll([third, first, clone]);
    const sites = [first.signer.siteId, clone.signer.siteId];
    await first.rebuild();
    await first.close();
    await clone.close();
    first = await openReplica(1, { storage, newKey });
    clone = await openReplica(1, { storage: copied, newKey });
    expect([first.signer.siteId, clone.signer.siteId]).toEqual(sites);
    expect(first.counts().formerKeys).toHaveLength(generation + 1);
    await insert(first, `more${generation}`);
    ids.push(`more${generation}`);
    await carryAll([third, first, clone]);
    await expectSame([third, first, clone], ids);
    await first.close();
    await clone.close();
    copied = await copyStorage(storage);
  }
  await third.close();
});

/** What nobody else has: written with no peer in sight. */
const writeAlone = async (db: ReplicaDatabase, ids: readonly string[]): Promise<void> => {
  await db.offer("off");
  for (const id of ids) await insert(db, id);
};

test("[L13] unreleased work is signed again with the new key: same rows and causes, merged once", async () => {
  const storages = await copiedProfile();
  const [first, clone] = (await Promise.all(
    storages.map((storage) => openReplica(1, { storage, newKey })),
  )) as [ReplicaDatabase, ReplicaDatabase];
  const third = await openReplica(3);
  await insert(first, "first");
  await insert(clone, "clone");
  await insert(third, "third");
  await carry(third, clone);
  await writeAlone(clone, ["alone1", "alone2", "alone3"]);
  const before: (string | number)[][] = [];
  const stop = new AbortController();
  for await (const event of clone.events({ signal: stop.signal })) {
    before.push([event.checkpoint, event.wallClockMs, ...event.tables.map(({ rows }) => rows)]);
    if (event.checkpoint === 6) stop.abort();
  }
  await carry(first, clone);
  const { siteId } = clone.signer;
  // One without rows names what the old key signed last, then the three.
  expect(clone.authors().find((author) => author.siteId === siteId)).toMatchObject({
    version: 4,
    local: true,
  });
  await clone.offer("on");
  const after: (string | number)[][] = [];
  const events = clone.events();
  for await (const event of events) {
    const known = before.find(([checkpoint]) => checkpoint === event.checkpoint);
    const { checkpoint, wallClockMs, tables } = event;
    if (known !== undefined)
      after.push([checkpoint, wallClockMs, ...tables.map(({ rows }) => rows)]);
    if (event.checkpoint === 8) break;
  }
  expect(after).toEqual(before);
  await carryAll([third, first, clone]);
  await expectSame(
    [third, first, clone],
    ["before", "first", "clone", "third", "alone1", "alone2", "alone3"],
  );
  for (const db of [first, clone, third]) await db.close();
});

test("[L7] what a copy released as it is here, too, is known and not signed twice", async () => {
  const storage = createMemoryStorage();
  let first = await openReplica(1, { storage });
  await insert(first, "before");
  await writeAlone(first, ["a", "b", "c"]);
  await first.close();
  const copied = await copyStorage(storage);
  first = await openReplica(1, { storage, newKey });
  const clone = await openReplica(1, { storage: copied, mesh: null, newKey });
  const { siteId } = first.signer;
  await insert(first, "first");
  await insert(clone, "clone");
  const { runs } = await first.read({ site: siteId, stream: "data", first: 5, last: 5 }, 1_000);
  const { verified } = await verifyRun(ed25519, decodeRun(runs[0] as Uint8Array), MESH);
  // Its predecessor is here, unreleased: the same bytes.
  expect(await clone.append(verified)).toEqual([{ verdict: "applied" }]);
  expect(clone.vector()).toMatchObject([{ site: siteId, head: 5 }]);
  await clone.offer("on");
  expect(first.signer.siteId).toBe(siteId);
  await carry(clone, first);
  // One log, as if one device had written it: nothing contradicts. But it was written elsewhere while
  // this copy was in use, so this one leaves the key to the other.
  expect(first.signer.siteId).not.toBe(siteId);
  expect(clone.signer.siteId).toBe(siteId);
  expect(clone.vector()).toMatchObject([{ site: siteId, head: 6 }]);
  await expectSame([first, clone], ["before", "a", "b", "c", "first", "clone"]);
  expect(first.counts().forks).toEqual([]);
  await first.close();
  await clone.close();
});

/** Any number of copies, any order, now and then a restart. @returns rows typed, and all in the end */
async function history(random: Random) {
  const storage = createMemoryStorage();
  const number = 10_000 + random.below(1_000_000);
  const source = await openReplica(number, { storage });
  const ids = ["before"];
  await insert(source, "before");
  if (random.below(2) === 0) await writeAlone(source, ["unreleased"]);
  if ((await idsOf(source)).length > 1) ids.push("unreleased");
  await source.close();
  const storages: Storage[] = [storage];
  for (let copies = 1 + random.below(3); copies > 0; copies--) {
    storages.push(await copyStorage(storage));
  }
  const open = (at: number) =>
    openReplica(number, {
      storage: storages[at] as Storage,
      newKey,
      ...(at % 2 === 1 ? { mesh: null } : {}),
    });
  const replicas = await Promise.all(storages.map((_, at) => open(at)));
  const bystander = await openReplica(number + 1);
  for (let step = 0; step < 30; step++) {
    const at = random.below(replicas.length);
    const db = replicas[at] as ReplicaDatabase;
    const what = random.below(8);
    if (what < 3) {
      ids.push(`${at}-${step}`);
      await insert(db, `${at}-${step}`);
    } else if (what === 3) await carry(db, bystander);
    else if (what === 4) await carry(bystander, db);
    else if (what === 5) await db.offer(random.below(2) === 0 ? "on" : "off");
    else if (what === 6) {
      await db.close();
      replicas[at] = await open(at);
    } else await carry(db, replicas[random.below(replicas.length)] as ReplicaDatabase);
  }
  const all = [bystander, ...replicas];
  for (let round = 0; round < 3; round++) {
    await carryAll(all);
    for (const db of all) await db.offer("on");
  }
  await carryAll(all);
  return { all, ids };
}

test.each(Array.from({ length: 6 }, (_, at) => at + 1))(
  "[L13] random copies in random order end the same, with every row (seed %i)",
  async (seed) => {
    const { all, ids } = await history(createSeededRandom(seed));
    await expectSame(all, ids);
    // Copies that wrote in turns are one device to everybody; those that contradicted are not.
    for (const { siteId } of all[0]?.counts().forks ?? []) {
      expect(all.map(({ signer }) => signer.siteId)).not.toContain(siteId);
    }
    for (const db of all) await db.close();
  },
  60_000,
);

const contentsOf = async (storage: Storage): Promise<readonly Uint8Array[]> => {
  const { database, journal } = await storage.openFiles(0);
  return [database, journal].map((device) => {
    const bytes = new Uint8Array(device.size());
    device.read(bytes, 0);
    return bytes;
  });
};

test.each([1, 2, 3, 4])(
  "[L13] the power may go at any moment of taking the key: one key or the other, every row (part %i of 4)",
  async (part) => {
    const [storage, copied] = await copiedProfile();
    const first = await openReplica(1, { storage, newKey });
    const clone = await openReplica(1, { storage: copied, newKey });
    const former = first.signer.siteId;
    await insert(first, "first");
    await insert(clone, "clone");
    await writeAlone(clone, ["alone1", "alone2"]);
    await clone.close();
    const contents = await contentsOf(copied);
    const random = createSeededRandom(part);
    const keys = { former: 0, taken: 0 };
    // Every fourth of the writes, truncates and flushes, until it is through before its turn comes.
    for (let moment = part - 1, through = false; !through; moment += 4) {
      const disk = createSimulatedDisk((bound) => random.below(bound));
      const files = await disk.storage.openFiles(0);
      for (const [at, device] of [files.database, files.journal].entries()) {
        device.write(contents[at] as Uint8Array, 0);
        device.flush();
      }
      const dying = await openReplica(1, { storage: disk.storage, mesh: null, newKey });
      disk.losePowerAfter(moment);
      await carry(first, dying).catch(() => undefined);
      through = !disk.hasLostPower();
      disk.losePower();
      await dying.close();
      const after = await openReplica(1, { storage: disk.storage, mesh: null, newKey });
      keys[after.signer.siteId === former ? "former" : "taken"]++;
      expect(await idsOf(after)).toEqual(
        expect.arrayContaining(["alone1", "alone2", "before", "clone"]),
      );
      await insert(after, "after");
      const third = await openReplica(3);
      await carry(first, after);
      expect(after.signer.siteId).not.toBe(former);
      await after.offer("on");
      await carryAll([third, after]);
      // "first" is here, and a branch: the old key wrote twice under version 2, not once more.
      expect(third.counts().forks).toMatchObject([{ siteId: former, version: 2 }]);
      const byFormer = third.vector().filter(({ site }) => site === former);
      expect(byFormer.map(({ head }) => head)).toEqual([2, 2]);
      const ids = ["before", "first", "clone", "alone1", "alone2", "after"];
      // The simulated disk has one generation.
      await expectSame([third, after], ids, { rebuild: false });
      await third.close();
      await after.close();
    }
    expect(keys.former).toBeGreaterThan(0);
    expect(keys.taken).toBeGreaterThan(0);
    await first.close();
  },
  60_000,
);
