/** Outbound and inbound streams without a carrier: the test hands the packages over. */
import { expect, test } from "vitest";
import type { Mesh } from "../../src/node/api.ts";
import type { OutboundPackage } from "../../src/streams/streams.ts";
import { decodePackage, encodePackage } from "../../src/protocol/stream-packet.ts";
import { meshId } from "../../src/protocol/ids.ts";
import { temporaryDirectory } from "../unit/temporary-directory.ts";
import { collect, idsOf, NOTES, openAlone, openMeshes, write } from "./meshes.ts";

const verdictsOf = async (mesh: Mesh, packages: readonly OutboundPackage[], from?: string) => {
  const inbound = mesh.inboundStream(from === undefined ? {} : { from });
  const verdicts: string[] = [];
  for (const { bytes } of packages) {
    const { outcomes } = await inbound.accept(bytes);
    verdicts.push(...outcomes.map(({ verdict, code }) => code ?? verdict));
  }
  return verdicts;
};
const once = (mesh: Mesh, options: Parameters<Mesh["outboundStream"]>[0] = {}) =>
  collect(mesh.outboundStream({ mode: "once", ...options }));
const twoMeshes = async (): Promise<readonly [Mesh, Mesh]> => {
  const [a, b] = await openMeshes(2);
  return [a, b as Mesh];
};

test("[T1] a stream carries what the replica holds, its own drafts' successors and others' work", async () => {
  const [a, b, c] = (await openMeshes(3)) as readonly [Mesh, Mesh, Mesh];
  await write(a, "a");
  await verdictsOf(b, await once(a));
  await write(b, "b");
  expect(await verdictsOf(c, await once(b))).toEqual(["applied", "applied"]);
  expect(await idsOf(c)).toBe("a b");
  await expect.poll(() => c.status().digest === b.status().digest).toBe(true);
});

test("[T2] the position moves with ack only, and survives the process", async () => {
  const directory = temporaryDirectory();
  const storage = { directory };
  const first = await openAlone({ storage });
  const join = await first.invite();
  const b = await openAlone({ join });
  await write(first, "1");
  expect(await once(first, { to: "b" })).toHaveLength(1);
  const [again] = await once(first, { to: "b" });
  expect(await verdictsOf(b, [again as OutboundPackage])).toEqual(["applied"]);
  await again?.ack();
  expect(await once(first, { to: "b" })).toHaveLength(0);
  expect(await once(first, { to: "c" })).toHaveLength(1);
  await first.close();

  const second = await openAlone({ storage });
  expect(await once(second, { to: "b" })).toHaveLength(0);
  await second.rebuild();
  await write(second, "2");
  const [next, ...rest] = await once(second, { to: "b" });
  expect(rest).toEqual([]);
  expect(next?.changesets).toBe(1);
});

test("[T2] a receipt moves the position by what was kept, no further", async () => {
  const [a, b] = await twoMeshes();
  for (let i = 0; i < 3; i++) await write(a, `${i}`);
  const [one, two] = await once(a, { bytesMax: 1 });
  const { receipt } = await b.inboundStream().accept((two as OutboundPackage).text());
  // What is on the receipt is the second alone, whichever package it answers.
  await one?.ack(receipt.text());
  const left = await once(a, { bytesMax: 1 });
  expect(left).toHaveLength(3);
  const named = await once(a, { bytesMax: 1, to: "b" });
  await named[0]?.ack(receipt.bytes);
  expect(await once(a, { bytesMax: 1, to: "b" })).toHaveLength(2);
  await expect(named[0]?.ack(Uint8Array.of(9))).rejects.toMatchObject({
    code: "ERR_UNKNOWN_FORMAT",
  });
});

test("[T3] a position from the other end replaces what was known of it", async () => {
  const [a, b] = await twoMeshes();
  for (let i = 0; i < 4; i++) await write(a, `${i}`);
  const sent = await once(a, { to: "b", bytesMax: 1 });
  await verdictsOf(b, sent.slice(0, 3));
  for (const each of sent) await each.ack();
  expect(await once(a, { to: "b" })).toHaveLength(0);
  const { bytes } = await b.inboundStream().position();
  const [missing] = await once(a, { to: "b", since: bytes });
  expect(missing?.changesets).toBe(1);
  const other = await openAlone();
  await other.invite();
  const foreign = await other.inboundStream().position();
  await expect(once(a, { since: foreign.text() })).rejects.toMatchObject({
    code: "ERR_WRONG_MESH",
  });
});

test("[T3] somebody who holds more of our log than we do gets nothing of it until it is back", async () => {
  const directory = temporaryDirectory();
  const a = await openAlone({ storage: { directory } });
  const join = await a.invite();
  const b = await openAlone({ join });
  await write(a, "1");
  await verdictsOf(b, await once(a));
  const { cpSync } = await import("node:fs");
  await a.close();
  const backup = temporaryDirectory();
  cpSync(directory, backup, { recursive: true });
  const later = await openAlone({ storage: { directory } });
  await write(later, "2");
  await verdictsOf(b, await once(later));
  await later.close();

  const rewound = await openAlone({ storage: { directory: backup } });
  await write(rewound, "3");
  const since = (await b.inboundStream().position()).bytes;
  expect(await once(rewound, { since })).toHaveLength(0);
  const back = await once(b, { since: (await rewound.inboundStream().position()).bytes });
  expect(await verdictsOf(rewound, back)).toEqual(["applied"]);
  expect(await verdictsOf(b, await once(rewound, { since }))).toEqual(["applied"]);
  expect([await idsOf(rewound), await idsOf(b)]).toEqual(["1 2 3", "1 2 3"]);
  expect(b.status().forks).toEqual([]);
});

test("[T4] excludeSites and localOnly leave authors out", async () => {
  const [a, b] = await twoMeshes();
  await write(a, "a");
  await verdictsOf(b, await once(a));
  await write(b, "b");
  const count = async (options: Parameters<Mesh["outboundStream"]>[0]) =>
    (await once(b, options)).reduce((sum, { changesets }) => sum + changesets, 0);
  expect(await count({})).toBe(2);
  expect(await count({ localOnly: true })).toBe(1);
  expect(await count({ excludeSites: [a.siteId] })).toBe(1);
  expect(await count({ excludeSites: [a.siteId, b.siteId] })).toBe(0);
});

test("[T5] packages keep to their size, but for a larger changeset alone in one", async () => {
  const [a, b] = await twoMeshes();
  for (let i = 0; i < 40; i++) await write(a, `s${i}`, "x".repeat(500));
  await write(a, "large", "y".repeat(20_000));
  for (let i = 0; i < 40; i++) await write(a, `t${i}`, "x".repeat(500));
  const packages = await once(a, { bytesMax: 4_096 });
  const over = packages.filter(({ bytes }) => bytes.length > 4_096 + 256);
  expect(over.map(({ changesets }) => changesets)).toEqual([1]);
  expect(packages.length).toBeGreaterThan(10);
  expect(new Set(await verdictsOf(b, packages))).toEqual(new Set(["applied"]));
  for (const bytesMax of [0, 1.5, 2 ** 40]) {
    await expect(once(a, { bytesMax })).rejects.toMatchObject({ code: "ERR_OPTION_INVALID" });
  }
});

test("[T6] packages in any order, any number of times, end in the same tables", async () => {
  const [a, b] = await twoMeshes();
  for (let i = 0; i < 9; i++) await write(a, `${i}`);
  const packages = await once(a, { bytesMax: 1 });
  expect(packages).toHaveLength(9);
  const shuffled = [8, 3, 3, 0, 5, 1, 8, 7, 2, 6, 4, 0].map((i) => packages[i] as OutboundPackage);
  await verdictsOf(b, shuffled);
  expect(await idsOf(b)).toBe("0 1 2 3 4 5 6 7 8");
  expect(await b.stateHash()).toBe(await a.stateHash());
});

test("[T7] bytes that are no package of this mesh are refused with a code and change nothing", async () => {
  const [a, b] = await twoMeshes();
  await write(a, "a");
  const [whole] = await once(a);
  const { bytes } = whole as OutboundPackage;
  const inbound = b.inboundStream({ from: "a" });
  const codeOf = async (packet: Uint8Array | string) =>
    (await inbound.accept(packet)).outcomes.map(({ verdict, code }) => `${verdict} ${code}`);
  expect(await codeOf(new Uint8Array())).toEqual(["refused ERR_NOT_CANONICAL"]);
  expect(await codeOf("no base64!")).toEqual(["refused ERR_NOT_CANONICAL"]);
  expect(await codeOf(bytes.slice(0, -1))).toEqual(["refused ERR_NOT_CANONICAL"]);
  expect(await codeOf(Uint8Array.of(2, 1))).toEqual(["refused ERR_UNKNOWN_FORMAT"]);
  const { runs } = decodePackage(bytes);
  const foreign = encodePackage({ mesh: meshId("77".repeat(32)), runs });
  expect(await codeOf(foreign)).toEqual(["refused ERR_WRONG_MESH"]);
  const forged = bytes.slice();
  forged[forged.length - 1] = (forged.at(-1) as number) ^ 1;
  expect(await codeOf(forged)).toEqual(["refused ERR_SIGNATURE_INVALID"]);
  expect(await idsOf(b)).toBe("");
  // Nothing of it is remembered of the sender either.
  await b.inboundStream().accept(bytes);
  expect(await idsOf(b)).toBe("a");
  expect(await once(b, { to: "a" })).toHaveLength(1);
});

test("[T8] what came from a named end is not sent back to it, nor after a restart", async () => {
  const directory = temporaryDirectory();
  const a = await openAlone();
  const join = await a.invite();
  const b = await openAlone({ join, storage: { directory } });
  await write(a, "a");
  await verdictsOf(b, await once(a), "a");
  await write(b, "b");
  expect((await once(b, { to: "a" })).map(({ changesets }) => changesets)).toEqual([1]);
  expect((await once(b)).reduce((sum, { changesets }) => sum + changesets, 0)).toBe(2);
  await b.close();
  const again = await openAlone({ storage: { directory } });
  expect((await once(again, { to: "a" })).map(({ changesets }) => changesets)).toEqual([1]);
});

test("[T9] a live stream waits for commits, and ends with its signal or the mesh", async () => {
  const [a, b] = await twoMeshes();
  const controller = new AbortController();
  const stream = a.outboundStream({ signal: controller.signal });
  const first = stream.next();
  await write(a, "1");
  expect((await first).done).toBe(false);
  const second = stream.next();
  await write(a, "2");
  expect((await second).value?.changesets).toBe(1);
  const third = stream.next();
  controller.abort();
  expect((await third).done).toBe(true);
  const open = a.outboundStream();
  await open.next();
  const last = open.next();
  await a.close();
  expect((await last).done).toBe(true);
  await expect(a.inboundStream().accept(new Uint8Array())).rejects.toMatchObject({
    code: "ERR_CLOSED",
  });
  void b;
});

test("[T1] without a mesh there is nothing to stream", async () => {
  const mesh = await openAlone({ schema: NOTES });
  await write(mesh, "draft");
  await expect(once(mesh)).rejects.toMatchObject({ code: "ERR_NO_MESH" });
  await expect(mesh.inboundStream().position()).rejects.toMatchObject({ code: "ERR_NO_MESH" });
  await expect(mesh.importBundle([])).rejects.toMatchObject({ code: "ERR_NO_MESH" });
});
