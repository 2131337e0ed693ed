import { expect, test } from "vitest";
import { packKey } from "../../src/db/packed-key.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import type { DatabaseChange, ReplicaDatabase } from "../../src/db/replica-database.ts";
import type { Dependency, VerifiedChangeset } from "../../src/protocol/changeset.ts";
import { decodeBroadcast, decodeRun } from "../../src/protocol/changeset-run.ts";
import { DRAFT_MESH, fromHex, meshId, ZERO_HASH } from "../../src/protocol/ids.ts";
import { BEYOND_RANGES_MAX, DEPENDENCIES_MAX } from "../../src/protocol/limits.ts";
import { decodePayload } from "../../src/protocol/payload.ts";
import { verifyRun } from "../../src/signing/verified-changeset.ts";
import { forge, rowPayload } from "../fixtures/forge.ts";
import {
  ANIMALS,
  ANIMALS_2,
  changesetsOf,
  ed25519,
  entryOf,
  INVITE,
  MESH,
  openReplica,
  pull,
  signerOf,
} from "../fixtures/replicas.ts";

const insert = (db: ReplicaDatabase, id: string): Promise<number> =>
  db.exec("INSERT INTO animal (id, name) VALUES (?, ?)", [id, db.signer.siteId]);
const ids = async (db: ReplicaDatabase): Promise<unknown[]> =>
  (await db.query("SELECT id FROM animal ORDER BY id")).map(({ id }) => id);
const ownOf = (db: ReplicaDatabase, first = 1): Promise<readonly VerifiedChangeset[]> =>
  changesetsOf(db, db.signer.siteId, first);
const causeOf = (changeset: VerifiedChangeset): Dependency => ({
  site: changeset.header.site,
  version: changeset.header.version,
  hashPrefix: fromHex(changeset.headerHash).slice(0, 8),
});
const animalPayload = (id: string): Uint8Array =>
  rowPayload(0, {
    primaryKey: packKey([id]),
    cells: [{ column: 1, columnVersion: 1, value: "forged" }],
  });

test("[L1] one transaction is one changeset with all its rows; none when nothing changed", async () => {
  const a = await openReplica(1);
  await a.transaction(async (tx) => {
    await insert({ ...a, ...tx }, "x");
    await tx.exec("INSERT INTO tag VALUES (x'01')");
    await tx.exec("UPDATE animal SET legs = 4");
  });
  await a.exec("UPDATE animal SET legs = 4");
  await a.exec("DELETE FROM tag WHERE id = x'ff'");
  await a.transaction(async (tx) => {
    await tx.query("SELECT * FROM animal");
  });
  await a.query("INSERT INTO tag VALUES (x'02') RETURNING id");
  const own = await ownOf(a);
  expect(own.map(({ header }) => header.version)).toEqual([1, 2]);
  const payloads = own.map(({ payload }) => decodePayload(payload));
  expect(
    payloads.map(({ tables }) => tables.map(({ table, rows }) => [table, rows.length])),
  ).toEqual([
    [
      [0, 1],
      [2, 1],
    ],
    [[2, 1]],
  ]);
  expect(payloads.map(({ schemaHash }) => schemaHash === null)).toEqual([false, true]);
  await a.close();
});

test("[L2] an authentic changeset is logged once, served, and claimed by its hash", async () => {
  const a = await openReplica(1);
  const b = await openReplica(2);
  const c = await openReplica(3);
  await insert(a, "x");
  const [first] = (await ownOf(a)) as [VerifiedChangeset];
  expect(await b.append([first, first])).toEqual([{ verdict: "applied" }, { verdict: "known" }]);
  expect(await b.append([first])).toEqual([{ verdict: "known" }]);
  expect(entryOf(b, a.signer.siteId)).toMatchObject({
    head: 1,
    headHash: first.headerHash.slice(0, 32),
  });
  expect(b.authorOf(a.signer.siteId)).toBe(a.signer.publicKey);
  expect(b.hashOf(a.signer.siteId, "data", 1)).toBe(first.headerHash);
  expect(b.hashOf(a.signer.siteId, "data", 2)).toBeNull();
  // Relayed by b, verified by c: the bytes are the author's.
  await pull(b, c);
  expect(await ids(c)).toEqual(["x"]);
  for (const db of [a, b, c]) await db.close();
});

test("[L2] a changeset of another mesh is refused, and not logged", async () => {
  const a = await openReplica(1);
  const stranger = await forge(9, animalPayload("x"), { mesh: meshId("cd".repeat(32)) });
  expect(await a.append([stranger])).toEqual([{ verdict: "refused", code: "ERR_WRONG_MESH" }]);
  expect(a.vector()).toEqual([]);
  expect(a.counts().refusedByCode.get("ERR_WRONG_MESH")).toBe(1);
  await a.close();
});

test("[L3] what lies beyond a gap is logged and claimed, and merged when the gap closes", async () => {
  const storage = createMemoryStorage();
  const a = await openReplica(1);
  let b = await openReplica(2, { storage });
  for (const id of ["a", "b", "c", "d", "e"]) await insert(a, id);
  const own = await ownOf(a);
  const [first, second, third, , fifth] = own as VerifiedChangeset[];
  expect(await b.append([third, fifth] as VerifiedChangeset[])).toEqual([
    { verdict: "held" },
    { verdict: "held" },
  ]);
  expect(entryOf(b, a.signer.siteId)).toMatchObject({
    head: 0,
    beyond: [
      { first: 3, last: 3 },
      { first: 5, last: 5 },
    ],
  });
  expect(await ids(b)).toEqual([]);
  expect(b.counts().held).toBe(2);
  await b.close();
  b = await openReplica(2, { storage });
  expect(entryOf(b, a.signer.siteId)?.beyond).toEqual([
    { first: 3, last: 3 },
    { first: 5, last: 5 },
  ]);
  expect(await b.append([second, first] as VerifiedChangeset[])).toEqual([
    { verdict: "applied" },
    { verdict: "applied" },
  ]);
  expect(await ids(b)).toEqual(["a", "b", "c"]);
  expect(entryOf(b, a.signer.siteId)).toMatchObject({ head: 3, beyond: [{ first: 5, last: 5 }] });
  await pull(a, b);
  expect(await ids(b)).toEqual(["a", "b", "c", "d", "e"]);
  expect(b.counts()).toMatchObject({ held: 0, forks: [] });
  await a.close();
  await b.close();
});

test("[L3] ranges beyond a gap are bounded: the rest is asked for again", async () => {
  const a = await openReplica(1);
  const b = await openReplica(2);
  for (let id = 0; id < 2 * BEYOND_RANGES_MAX + 4; id++) await insert(a, `${id}`);
  const odd = (await ownOf(a)).filter(({ header }) => header.version % 2 === 1).slice(1);
  const outcomes = await b.append(odd);
  expect(outcomes.filter(({ verdict }) => verdict === "held").length).toBe(BEYOND_RANGES_MAX);
  expect(outcomes.at(-1)).toEqual({ verdict: "later", code: "ERR_BUSY" });
  await pull(a, b);
  expect(await b.stateHash()).toBe(await a.stateHash());
  await a.close();
  await b.close();
});

test("[L4] a second content under one version is a branch: merged, and shown as proof", async () => {
  const a = await openReplica(1);
  const one = await forge(9, animalPayload("one"));
  const two = await forge(9, animalPayload("two"));
  const afterTwo = await forge(9, animalPayload("three"), {
    version: 2,
    previousHash: two.headerHash,
  });
  expect(await a.append([one, two, afterTwo])).toEqual([
    { verdict: "applied" },
    { verdict: "applied" },
    { verdict: "applied" },
  ]);
  expect(await ids(a)).toEqual(["one", "three", "two"]);
  const { siteId } = await signerOf(9);
  const proof = { siteId, version: 1, headers: [one.headerHash, two.headerHash].sort() };
  expect(a.counts().forks).toEqual([proof]);
  await a.rebuild();
  expect(a.counts().forks).toEqual([proof]);
  await a.close();
});

test("[L4] what was held beyond a gap and does not link to it is let go, and asked for again", async () => {
  const storage = createMemoryStorage();
  let a = await openReplica(1, { storage });
  const one = await forge(9, animalPayload("one"));
  const other = await forge(9, animalPayload("other"));
  const second = await forge(9, animalPayload("second"), {
    version: 2,
    previousHash: other.headerHash,
  });
  const { siteId } = await signerOf(9);
  expect(await a.append([second, one])).toEqual([{ verdict: "held" }, { verdict: "applied" }]);
  expect(entryOf(a, siteId)).toMatchObject({ head: 1, beyond: [] });
  const proper = await forge(9, animalPayload("proper"), {
    version: 2,
    previousHash: one.headerHash,
  });
  expect(await a.append([proper])).toEqual([{ verdict: "applied" }]);
  expect(await ids(a)).toEqual(["one", "proper"]);
  expect(a.counts().forks).toEqual([]);
  const unknown = { verdict: "later", code: "ERR_UNKNOWN_PREDECESSOR" };
  expect(await a.append([second, other, second])).toEqual([
    unknown,
    { verdict: "applied" },
    { verdict: "applied" },
  ]);
  expect(await ids(a)).toEqual(["one", "other", "proper", "second"]);
  await a.close();
  a = await openReplica(1, { storage });
  const heads = a.vector().filter(({ site }) => site === siteId);
  expect(heads.map(({ head, beyond }) => ({ head, beyond }))).toEqual([
    { head: 2, beyond: [] },
    { head: 2, beyond: [] },
  ]);
  await a.close();
});

test("[L5] only what is released is claimed and served; a released version keeps its content", async () => {
  const storage = createMemoryStorage();
  let a = await openReplica(1, { storage, mesh: null });
  const site = a.signer.siteId;
  await a.bindMesh(MESH, INVITE);
  await insert(a, "x");
  await insert(a, "y");
  expect(a.vector()).toEqual([]);
  expect(a.hashOf(site, "data", 2)).not.toBeNull();
  const { runs } = await a.read({ site, stream: "data", first: 1, last: 1 }, 1_000_000);
  expect(decodeRun(runs[0] as Uint8Array).changesets.length).toBe(1);
  expect(entryOf(a, site)?.head).toBe(1);
  await a.close();
  a = await openReplica(1, { storage, mesh: null });
  expect(entryOf(a, site)?.head).toBe(1);
  await a.offer("on");
  expect(entryOf(a, site)?.head).toBe(2);
  const changes: DatabaseChange[] = [];
  a.onChange((change) => changes.push(change));
  await insert(a, "z");
  expect(changes.length).toBe(1);
  expect(changes[0]?.entries).toEqual(a.vector());
  expect([...(changes[0]?.tables ?? [])]).toEqual(["animal"]);
  const broadcast = decodeBroadcast(changes[0]?.broadcasts[0] as Uint8Array);
  expect(broadcast.changeset.header.version).toBe(3);
  expect(broadcast.previousHashPrefix).toEqual(
    fromHex(a.hashOf(site, "data", 2) as string).slice(0, 8),
  );
  await a.offer("off");
  await insert(a, "zz");
  expect(entryOf(a, site)?.head).toBe(3);
  await a.close();
});

test("[L6] drafts are signed for no mesh; binding signs them again with the same rows", async () => {
  const a = await openReplica(1, { mesh: null });
  const site = a.signer.siteId;
  await insert(a, "x");
  await insert(a, "y");
  const draft = a.hashOf(site, "data", 2);
  await a.offer("on");
  expect((await a.read({ site, stream: "data", first: 1, last: 9 }, 1000)).runs).toEqual([]);
  expect(a.vector()).toEqual([]);
  await a.bindMesh(MESH, INVITE);
  expect(a.mesh()).toEqual({ id: MESH, invite: INVITE });
  expect(a.hashOf(site, "data", 2)).not.toBe(draft);
  const own = await ownOf(a);
  expect(own.length).toBe(2);
  const b = await openReplica(2);
  await b.append(own);
  expect(await b.stateHash()).toBe(await a.stateHash());
  await a.bindMesh(MESH, Uint8Array.of(9));
  expect(a.mesh()?.invite).toEqual(Uint8Array.of(9));
  await expect(a.bindMesh(meshId("cd".repeat(32)), INVITE)).rejects.toMatchObject({
    code: "ERR_MESH_DIFFERENT",
  });
  await insert(a, "z");
  await pull(a, b);
  expect(await b.stateHash()).toBe(await a.stateHash());
  const run = (await a.read({ site, stream: "data", first: 1, last: 9 }, 1e6)).runs[0];
  const forDrafts = await verifyRun(ed25519, decodeRun(run as Uint8Array), DRAFT_MESH);
  expect(forDrafts.refused).toEqual({ index: 0, code: "ERR_SIGNATURE_INVALID" });
  await a.close();
  await b.close();
});

test("[L7] a rewound replica takes back what it had released, and its new work follows", async () => {
  const peer = await openReplica(2);
  const before = await openReplica(1);
  await insert(before, "a");
  await pull(before, peer);
  const backup = await changesetsOf(peer, before.signer.siteId);
  await insert(before, "b");
  await before.exec("UPDATE animal SET name = 'late' WHERE id = 'a'");
  await pull(before, peer);
  await before.close();

  // The same key on a disk that knows of version 1 only, with new work that nobody has seen.
  const rewound = await openReplica(1, { mesh: null });
  await rewound.bindMesh(MESH, INVITE);
  await rewound.append(backup);
  expect(rewound.vector().map(({ head }) => head)).toEqual([1]);
  await insert(rewound, "c");
  await rewound.exec("UPDATE animal SET legs = 3 WHERE id = 'a'");
  const { siteId } = rewound.signer;
  const suffix = await changesetsOf(peer, siteId, 2);
  expect(await rewound.append(suffix)).toEqual([{ verdict: "applied" }, { verdict: "applied" }]);
  expect(await rewound.append(suffix)).toEqual([{ verdict: "known" }, { verdict: "known" }]);
  expect(await ids(rewound)).toEqual(["a", "b", "c"]);
  expect(entryOf(rewound, siteId)?.head).toBe(3);
  await rewound.offer("on");
  expect(entryOf(rewound, siteId)?.head).toBe(5);
  await pull(rewound, peer);
  expect(await peer.stateHash()).toBe(await rewound.stateHash());
  expect(await peer.query("SELECT name, legs FROM animal WHERE id = 'a'")).toEqual([
    { name: "late", legs: 3 },
  ]);
  expect(peer.counts().forks).toEqual([]);
  const hash = await rewound.stateHash();
  await rewound.rebuild();
  expect(await rewound.stateHash()).toBe(hash);
  await insert(rewound, "d");
  await pull(rewound, peer);
  expect(await peer.stateHash()).toBe(await rewound.stateHash());
  await rewound.close();
  await peer.close();
});

test("[L7] own work that comes back waits for its cause", async () => {
  const a = await openReplica(1);
  await insert(a, "x");
  const [first] = (await ownOf(a)) as [VerifiedChangeset];
  const cause = await forge(9, animalPayload("cause"));
  const lost = await forge(1, animalPayload("lost"), {
    version: 2,
    previousHash: first.headerHash,
    dependencies: [causeOf(cause)],
  });
  const beyond = await forge(1, animalPayload("beyond"), {
    version: 3,
    previousHash: lost.headerHash,
  });
  expect(await a.append([beyond])).toEqual([{ verdict: "later", code: "ERR_UNKNOWN_PREDECESSOR" }]);
  expect(await a.append([lost])).toEqual([{ verdict: "held" }]);
  expect(await ids(a)).toEqual(["x"]);
  await insert(a, "y");
  expect((await ownOf(a)).map(({ header }) => header.version)).toEqual([1, 2, 3]);
  expect(a.counts()).toMatchObject({ held: 2, parked: 0 });
  expect(await a.append([cause])).toEqual([{ verdict: "applied" }]);
  expect(await ids(a)).toEqual(["cause", "lost", "x", "y"]);
  expect(a.counts()).toMatchObject({ held: 0, parked: 0 });
  await insert(a, "z");
  expect((await ownOf(a)).at(-1)?.header).toMatchObject({ version: 4, dependencies: [] });
  // Local work is not merged a second time when its turn comes: no number of the order is skipped.
  const order: number[] = [];
  for await (const { checkpoint } of a.events()) {
    order.push(checkpoint);
    if (order.length === 5) break;
  }
  expect(order).toEqual([1, 2, 3, 4, 5]);
  await a.close();
});

test("[L8] a replica without schema logs, serves and claims, and has no tables; later it has", async () => {
  const storage = createMemoryStorage();
  const a = await openReplica(1);
  const b = await openReplica(2);
  let hub = await openReplica(3, { schema: null, storage });
  await insert(a, "x");
  await pull(a, b);
  await insert(b, "y");
  expect(await pull(b, hub)).toEqual([{ verdict: "applied" }, { verdict: "applied" }]);
  expect(hub.counts()).toMatchObject({ held: 0, parked: 0 });
  await expect(hub.query("SELECT * FROM animal")).rejects.toMatchObject({ code: "ERR_SQL" });
  const c = await openReplica(4);
  await pull(hub, c);
  expect(await ids(c)).toEqual(["x", "y"]);
  await hub.close();
  hub = await openReplica(3, { storage });
  expect(await ids(hub)).toEqual(["x", "y"]);
  expect(await hub.stateHash()).toBe(await c.stateHash());
  for (const db of [a, b, c, hub]) await db.close();
});

test("[L9] a changeset names the maximal settled versions of others, and nothing implied", async () => {
  const a = await openReplica(1);
  const b = await openReplica(2);
  const storage = createMemoryStorage();
  let c = await openReplica(3, { storage });
  await insert(a, "a");
  await pull(a, b);
  await insert(b, "b");
  await pull(b, c);
  await insert(c, "c");
  const [ofB] = (await ownOf(b)) as [VerifiedChangeset];
  const [ofA] = (await ownOf(a)) as [VerifiedChangeset];
  const [ofC] = (await ownOf(c)) as [VerifiedChangeset];
  expect(ofA.header.dependencies).toEqual([]);
  expect(ofB.header.dependencies).toEqual([causeOf(ofA)]);
  expect(ofC.header.dependencies).toEqual([causeOf(ofB)]);
  await insert(a, "a2");
  await pull(a, c);
  await insert(c, "c2");
  expect((await ownOf(c))[1]?.header.dependencies.map(({ site }) => site)).toEqual([
    a.signer.siteId,
  ]);
  await insert(c, "c3");
  expect((await ownOf(c))[2]?.header.dependencies).toEqual([]);
  await c.close();
  c = await openReplica(3, { storage });
  await insert(c, "c4");
  expect((await ownOf(c))[3]?.header.dependencies).toEqual([]);
  for (const db of [a, b, c]) await db.close();
});

test("[L9] more causes than fit are folded into row-less changesets first", async () => {
  const a = await openReplica(1);
  const count = 2 * DEPENDENCIES_MAX + 3;
  for (let at = 0; at < count; at++) {
    await a.append([await forge(7000 + at, animalPayload(`n${at}`))]);
  }
  await insert(a, "x");
  const own = await ownOf(a);
  expect(own.map(({ header }) => header.dependencies.length)).toEqual([64, 64, 3]);
  expect(own.map(({ payload }) => decodePayload(payload).tables.length)).toEqual([0, 0, 1]);
  const b = await openReplica(2);
  await b.append(own);
  expect(b.counts().held).toBe(3);
  await pull(a, b);
  expect(await b.stateHash()).toBe(await a.stateHash());
  await a.close();
  await b.close();
});

test("[M1] a changeset is merged only after its causes, exact to the hash", async () => {
  const a = await openReplica(1);
  const cause = await forge(11, animalPayload("cause"));
  const effect = await forge(12, animalPayload("effect"), { dependencies: [causeOf(cause)] });
  const next = await forge(12, animalPayload("next"), {
    version: 2,
    previousHash: effect.headerHash,
  });
  const wrong = await forge(13, animalPayload("wrong"), {
    dependencies: [{ ...causeOf(cause), hashPrefix: new Uint8Array(8) }],
  });
  expect(await a.append([effect, next, wrong])).toEqual([
    { verdict: "held" },
    { verdict: "held" },
    { verdict: "held" },
  ]);
  expect(await ids(a)).toEqual([]);
  expect(a.counts().held).toBe(3);
  expect(await a.append([cause])).toEqual([{ verdict: "applied" }]);
  expect(await ids(a)).toEqual(["cause", "effect", "next"]);
  expect(a.counts().held).toBe(1);
  await a.close();
});

test("[M2] a void changeset is settled: what was written on top of it is merged", async () => {
  const a = await openReplica(1);
  const bad = await forge(11, animalPayload("x").slice(0, -1));
  const next = await forge(11, animalPayload("next"), { version: 2, previousHash: bad.headerHash });
  const effect = await forge(12, animalPayload("effect"), { dependencies: [causeOf(bad)] });
  expect(await a.append([effect, next, bad])).toEqual([
    { verdict: "applied" },
    { verdict: "applied" },
    { verdict: "void", code: "ERR_ROWS_INVALID" },
  ]);
  expect(await ids(a)).toEqual(["effect", "next"]);
  await a.close();
});

test("[M4] a CHECK that fails on a value is a CHECK that is broken", async () => {
  const tables = [
    "CREATE TABLE animal (id TEXT PRIMARY KEY NOT NULL, name TEXT, legs INTEGER CHECK (abs(legs) < 9)) STRICT",
  ];
  const a = await openReplica(1, { schema: { version: 1, tables } });
  const least = rowPayload(0, {
    primaryKey: packKey(["x"]),
    cells: [{ column: 2, columnVersion: 1, value: -(2n ** 63n) }],
  });
  expect(await a.append([await forge(9, least)])).toEqual([
    { verdict: "void", code: "ERR_ROWS_INVALID" },
  ]);
  const local = a.exec("INSERT INTO animal VALUES ('y', '', ?)", [-(2n ** 63n)]);
  await expect(local).rejects.toMatchObject({ code: "ERR_SQL" });
  await insert(a, "z");
  expect((await ownOf(a)).length).toBe(1);
  await a.close();
});

test("[M3] a newer schema's changes wait, with what depends on them, until the upgrade", async () => {
  const storage = createMemoryStorage();
  let old = await openReplica(1, { storage });
  const modern = await openReplica(2, { schema: ANIMALS_2 });
  const third = await openReplica(3);
  await insert(old, "kept");
  await pull(old, modern);
  await modern.exec("UPDATE animal SET tame = 1");
  await modern.exec("INSERT INTO trap VALUES ('t', 'pond')");
  expect(await pull(modern, old)).toEqual([
    { verdict: "parked", code: "ERR_SCHEMA_NEWER" },
    { verdict: "parked" },
  ]);
  const [parkedOne] = (await ownOf(modern)) as [VerifiedChangeset];
  const effect = await forge(12, animalPayload("effect"), { dependencies: [causeOf(parkedOne)] });
  expect(await old.append([effect])).toEqual([{ verdict: "held" }]);
  expect(old.counts()).toMatchObject({ held: 1, parked: 2, parkedCode: "ERR_SCHEMA_NEWER" });
  // It goes on writing and forwarding.
  await insert(old, "later");
  await pull(old, third);
  expect(third.counts().parked).toBe(2);
  await old.close();
  old = await openReplica(1, { storage, schema: ANIMALS_2 });
  expect(old.counts()).toMatchObject({ held: 0, parked: 0 });
  await pull(old, modern);
  expect(await old.stateHash()).toBe(await modern.stateHash());
  expect(await old.query("SELECT id, tame FROM animal ORDER BY id")).toEqual([
    { id: "effect", tame: 0 },
    { id: "kept", tame: 1 },
    { id: "later", tame: 0 },
  ]);
  await old.exec("UPDATE animal SET tame = 1 WHERE id = 'later'");
  const last = (await ownOf(old)).at(-1) as VerifiedChangeset;
  expect(decodePayload(last.payload)).toMatchObject({ schemaVersion: 2 });
  expect(decodePayload(last.payload).schemaHash).not.toBeNull();
  await pull(old, modern);
  expect(await old.stateHash()).toBe(await modern.stateHash());
  const hash = await old.stateHash();
  await old.rebuild();
  expect(await old.stateHash()).toBe(hash);
  await old.close();
  await expect(openReplica(1, { storage })).rejects.toMatchObject({ code: "ERR_SCHEMA_NEWER" });
  await modern.close();
  await third.close();
});

test("[M3] another schema under one version parks its author, nobody else", async () => {
  const a = await openReplica(1);
  const tables = [...ANIMALS.tables, "CREATE TABLE more (id TEXT PRIMARY KEY NOT NULL) STRICT"];
  const other = { version: 1, tables };
  const b = await openReplica(2, { schema: other });
  await insert(b, "b");
  await insert(b, "c");
  expect(await pull(b, a)).toEqual([
    { verdict: "parked", code: "ERR_SCHEMA_MISMATCH" },
    { verdict: "parked" },
  ]);
  await insert(a, "a");
  expect(await ids(a)).toEqual(["a"]);
  expect(a.counts()).toMatchObject({ parked: 2, parkedCode: "ERR_SCHEMA_MISMATCH" });
  await a.close();
  await b.close();
});

test("[M7] rebuild keeps log, heads, checkpoints and identity", async () => {
  const a = await openReplica(1);
  const b = await openReplica(2);
  await insert(b, "b");
  await pull(b, a);
  await insert(a, "a");
  const held = await forge(12, animalPayload("held"), {
    version: 2,
    previousHash: a.hashOf(a.signer.siteId, "data", 1) ?? ZERO_HASH,
  });
  await a.append([held]);
  const before = [a.vector(), a.counts(), a.authors(), a.mesh()];
  const events = a.events();
  const first = (await events.next()).value;
  await a.rebuild();
  expect([a.vector(), a.counts(), a.authors(), a.mesh()]).toEqual(before);
  const rest = a.events({ since: first?.checkpoint ?? 0 });
  expect((await rest.next()).value).toMatchObject({
    siteId: a.signer.siteId,
    version: 1,
    local: true,
  });
  await insert(a, "after");
  expect((await rest.next()).value).toMatchObject({
    version: 2,
    tables: [{ table: "animal", rows: 1 }],
  });
  await a.close();
  await b.close();
});
