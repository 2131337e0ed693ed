/** The bytes of packets, as they are written into bundles that must stay readable. */
import { expect, test } from "vitest";
import { fromHex, meshId, siteId, toHex } from "../../src/protocol/ids.ts";
import {
  decodePackage,
  decodePosition,
  encodePackage,
  encodePosition,
} from "../../src/protocol/stream-packet.ts";
import { createVersionSet, uniteRanges } from "../../src/streams/version-set.ts";
import { authorStream } from "../../src/protocol/version-vector.ts";

const MESH = meshId("ab".repeat(32));
const SITE = siteId("01".repeat(16));

const start = (kind: string): string => `01${kind}${"ab".repeat(32)}`;

test("[W6] golden packets", () => {
  const runs = [Uint8Array.of(1, 2), Uint8Array.of(3)];
  const packed = `0101${"ab".repeat(32)}020201020103`;
  expect(toHex(encodePackage({ mesh: MESH, runs }))).toBe(packed);
  expect(decodePackage(fromHex(packed))).toEqual({ mesh: MESH, runs });
  const entry = {
    site: SITE,
    stream: "data" as const,
    floor: 0,
    head: 5,
    headHash: "00".repeat(16),
    beyond: [{ first: 8, last: 9 }],
  };
  const position = `0102${"ab".repeat(32)}01${"01".repeat(16)}000005${"00".repeat(16)}010101`;
  expect(toHex(encodePosition({ mesh: MESH, entries: [entry] }))).toBe(position);
  expect(decodePosition(fromHex(position))).toEqual({ mesh: MESH, entries: [entry] });
});

test("[W2] a packet of another kind, without runs, or with unsorted entries is refused", () => {
  const refused = { code: "ERR_NOT_CANONICAL" };
  expect(() => decodePackage(fromHex(`${start("02")}00`))).toThrow(
    expect.objectContaining(refused),
  );
  expect(() => decodePackage(fromHex(`${start("01")}00`))).toThrow(
    expect.objectContaining(refused),
  );
  const entry = `${"01".repeat(16)}000001${"00".repeat(16)}00`;
  expect(() => decodePosition(fromHex(`${start("02")}02${entry}${entry}`))).toThrow(
    expect.objectContaining(refused),
  );
  expect(() => decodePosition(fromHex(`02${start("02").slice(2)}00`))).toThrow(
    expect.objectContaining({ code: "ERR_UNKNOWN_FORMAT" }),
  );
});

test("[T2] what is held is a set: any order gives the same ranges, and no more than an entry may hold", () => {
  const set = createVersionSet();
  for (const first of [9, 3, 1, 2, 5]) {
    set.add({ site: SITE, stream: "data", first, last: first });
  }
  expect(set.get(authorStream({ site: SITE, stream: "data" }))).toEqual([
    { first: 1, last: 3 },
    { first: 5, last: 5 },
    { first: 9, last: 9 },
  ]);
  expect(uniteRanges([{ first: 1, last: 9 }], [{ first: 2, last: 3 }])).toEqual([
    { first: 1, last: 9 },
  ]);
  for (let first = 100; first < 200; first += 2) {
    set.add({ site: SITE, stream: "data", first, last: first });
  }
  const [entry] = set.entries();
  expect([entry?.head, entry?.beyond.length]).toEqual([3, 32]);
});
