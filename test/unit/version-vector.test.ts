/** Rules V1 and V2 of docs/PROTOCOL.md; the range arithmetic against sets of single versions. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ByteReader, ByteWriter } from "../../src/protocol/bytes.ts";
import { isMeshError } from "../../src/protocol/errors.ts";
import { siteId } from "../../src/protocol/ids.ts";
import { VERSION_MAX } from "../../src/protocol/limits.ts";
import {
  countVersions,
  missingVersions,
  readVectorEntry,
  subtractRanges,
  type VectorEntry,
  type VersionRange,
  writeVectorEntry,
} from "../../src/protocol/version-vector.ts";

/** Small enough that ranges meet, touch and swallow one another. */
const UNIVERSE = 40;
const rangesOf = (versions: ReadonlySet<number>): VersionRange[] => {
  const ranges: { first: number; last: number }[] = [];
  for (let version = 0; version <= UNIVERSE; version++) {
    const end = ranges.at(-1);
    if (!versions.has(version)) continue;
    if (end?.last === version - 1) end.last = version;
    else ranges.push({ first: version, last: version });
  }
  return ranges;
};
const setOf = (ranges: readonly VersionRange[]): Set<number> => {
  const versions = new Set<number>();
  for (const { first, last } of ranges) {
    for (let version = first; version <= last; version++) versions.add(version);
  }
  return versions;
};
const versions = fc
  .uniqueArray(fc.integer({ min: 1, max: UNIVERSE }), { maxLength: UNIVERSE })
  .map((list) => new Set(list));

const SITE = siteId("20".repeat(16));
/** Canonical: `beyond` starts at least two after `head`. */
function entryOf(held: ReadonlySet<number>, floor: number): VectorEntry {
  let head = floor;
  while (held.has(head + 1)) head++;
  const beyond = rangesOf(new Set([...held].filter((version) => version > head)));
  const headHash = (head === 0 ? "00" : "0a").repeat(16);
  return { site: SITE, stream: "data", floor, head, headHash, beyond };
}

test("[V1] subtracting ranges is subtracting sets", () => {
  fc.assert(
    fc.property(versions, versions, (a, b) => {
      const rest = subtractRanges(rangesOf(a), rangesOf(b));
      const expected = new Set([...a].filter((version) => !b.has(version)));
      expect(rest).toEqual(rangesOf(expected));
      expect(countVersions(rest)).toBe(expected.size);
    }),
    { numRuns: 2_000 },
  );
});

test("[V1] what is missing is what they hold, can still give, and we lack", () => {
  fc.assert(
    fc.property(versions, versions, fc.nat(10), fc.nat(10), (a, b, ourFloor, floor) => {
      const ours = entryOf(a, ourFloor);
      const theirs = entryOf(b, floor);
      const held = setOf([{ first: 1, last: ours.head }, ...ours.beyond]);
      const offered = setOf([{ first: floor + 1, last: theirs.head }, ...theirs.beyond]);
      const missing = [...offered].filter((version) => !held.has(version));
      expect(setOf(missingVersions(ours, theirs))).toEqual(new Set(missing));
      expect(setOf(missingVersions(undefined, theirs))).toEqual(offered);
      expect(missingVersions(ours, ours)).toEqual([]);
    }),
    { numRuns: 2_000 },
  );
});

test("[V1] the largest claim costs nothing to compare", () => {
  const all = entryOf(new Set(), 0);
  const claim = { ...all, head: VERSION_MAX };
  expect(missingVersions(all, claim)).toEqual([{ first: 1, last: VERSION_MAX }]);
});

const encoded = (entry: VectorEntry): Uint8Array => {
  const writer = new ByteWriter();
  writeVectorEntry(writer, entry);
  return writer.finish();
};
const codeOf = (bytes: Uint8Array): string => {
  try {
    readVectorEntry(new ByteReader(bytes));
  } catch (error) {
    if (isMeshError(error)) return error.code;
    throw error;
  }
  return "accepted";
};

test("[V2] an entry has one form: ranges ascend and never touch the head or one another", () => {
  const entry = entryOf(new Set([1, 2, 3, 5, 7, 8]), 0);
  expect(entry.beyond).toEqual([
    { first: 5, last: 5 },
    { first: 7, last: 8 },
  ]);
  expect(codeOf(encoded(entry))).toBe("accepted");
  // Touching or overlapping ranges have no encoding at all: distances are counted from 2.
  for (const first of [3, 4]) {
    expect(() => encoded({ ...entry, beyond: [{ first, last: 9 }] })).toThrow(RangeError);
  }
  expect(codeOf(encoded({ ...entry, floor: 4 }))).toBe("ERR_NOT_CANONICAL");
  expect(codeOf(encoded({ ...entry, head: 0 }))).toBe("ERR_NOT_CANONICAL");
  const late = { first: VERSION_MAX, last: VERSION_MAX };
  expect(codeOf(encoded({ ...entry, beyond: [late] }))).toBe("accepted");
  const tooLate = { first: VERSION_MAX, last: VERSION_MAX + 1 };
  expect(codeOf(encoded({ ...entry, beyond: [tooLate] }))).toBe("ERR_NOT_CANONICAL");
  const many = Array.from({ length: 33 }, (_, i) => ({ first: 10 + 2 * i, last: 10 + 2 * i }));
  expect(codeOf(encoded({ ...entry, beyond: many }))).toBe("ERR_LIMIT");
});
