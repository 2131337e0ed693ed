import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  encodeCredit,
  encodeFrame,
  type FrameRecord,
  FrameRecordReader,
} from "../../src/node/frame-record.ts";
import { isMeshError } from "../../src/protocol/errors.ts";
import { toHex } from "../../src/protocol/ids.ts";
import { FRAME_BYTES_MAX, LINK_WINDOW_BYTES } from "../../src/protocol/limits.ts";

const readAll = (pieces: readonly Uint8Array[]): FrameRecord[] => {
  const reader = new FrameRecordReader();
  return pieces.flatMap((piece) => reader.push(piece));
};

const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (isMeshError(error)) return error.code;
    throw error;
  }
  return "none";
};

test("golden records", () => {
  expect(toHex(encodeFrame(Uint8Array.of(0xaa, 0xbb)))).toBe("02aabb");
  expect(toHex(encodeFrame(new Uint8Array(128)).subarray(0, 3))).toBe("800100");
  expect(toHex(encodeFrame(new Uint8Array(FRAME_BYTES_MAX)).subarray(0, 3))).toBe("808010");
  expect(toHex(encodeCredit(0))).toBe("0000");
  expect(toHex(encodeCredit(LINK_WINDOW_BYTES))).toBe("00808040");
});

test("records survive being cut anywhere", () => {
  const record = fc.oneof(
    fc
      .uint8Array({ minLength: 1, maxLength: 300 })
      .map((bytes) => ({ type: "frame", bytes }) as const),
    fc
      .integer({ min: 0, max: LINK_WINDOW_BYTES })
      .map((bytes) => ({ type: "credit", bytes }) as const),
  );
  const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 });
  fc.assert(
    fc.property(fc.array(record), sizes, (records, cuts) => {
      const bytes = Buffer.concat(
        records.map((each) =>
          each.type === "frame" ? encodeFrame(each.bytes) : encodeCredit(each.bytes),
        ),
      );
      const pieces: Uint8Array[] = [];
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const size = cuts[i % cuts.length]!;
        pieces.push(Uint8Array.from(bytes.subarray(at, at + size)));
        at += size;
      }
      expect(readAll(pieces)).toEqual(records);
    }),
  );
});

test("any bytes end in records or a MeshError, and hold at most one frame", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      expect(["none", "ERR_LIMIT", "ERR_NOT_CANONICAL"]).toContain(codeOf(() => readAll([bytes])));
    }),
    { numRuns: 2_000 },
  );
});

test.each([
  ["a frame one byte too long", [0x81, 0x80, 0x10], "ERR_LIMIT"],
  ["a length of five digits", [0x80, 0x80, 0x80, 0x80, 0x01], "ERR_LIMIT"],
  ["a padded length", [0x82, 0x00], "ERR_NOT_CANONICAL"],
  ["a padded zero", [0x80, 0x00], "ERR_NOT_CANONICAL"],
  ["a padded credit", [0x00, 0x80, 0x00], "ERR_NOT_CANONICAL"],
  ["more credit than there is window", [0x00, 0x81, 0x80, 0x40], "ERR_LIMIT"],
])("%s is refused", (_what, bytes, code) => {
  expect(codeOf(() => readAll([Uint8Array.from(bytes)]))).toBe(code);
});

test("an empty or too large frame is the caller's bug", () => {
  expect(() => encodeFrame(new Uint8Array(0))).toThrow(RangeError);
  expect(() => encodeFrame(new Uint8Array(FRAME_BYTES_MAX + 1))).toThrow(RangeError);
});

test("a record is partial from its first byte to its last", () => {
  const reader = new FrameRecordReader();
  const states = [...encodeFrame(Uint8Array.of(1, 2)), ...encodeCredit(300)].map((byte) => {
    reader.push(Uint8Array.of(byte));
    return reader.isPartial;
  });
  expect(states).toEqual([true, true, false, true, true, false]);
});
