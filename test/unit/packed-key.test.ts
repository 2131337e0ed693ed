import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { Engine } from "../../src/db/engine.ts";
import { type KeyClass, packKey, unpackKey } from "../../src/db/packed-key.ts";
import { fromHex, toHex } from "../../src/protocol/ids.ts";
import type { StoredValue } from "../../src/protocol/values.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import { openTestEngine } from "./open-test-engine.ts";

const packedBySqlite = (engine: Engine, values: readonly StoredValue[]): Uint8Array => {
  const pack = engine.prepare(`SELECT crsql_pack_columns(${values.map(() => "?").join(", ")})`);
  pack.bindStored(values);
  pack.step();
  const packed = pack.blob(0);
  pack.reset();
  return packed;
};

const integer = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(
    0n,
    127n,
    128n,
    255n,
    256n,
    2n ** 55n,
    2n ** 56n - 1n,
    2n ** 56n,
    -1n,
    -(2n ** 63n),
  ),
);
const text = fc.string({ unit: "grapheme", maxLength: 300 });
const blob = fc.uint8Array({ maxLength: 300 });
const key = fc.array(fc.oneof(integer, text, blob), { minLength: 1, maxLength: 4 });
const classesOf = (values: readonly StoredValue[]): KeyClass[] =>
  values.map((value) => {
    if (typeof value === "bigint") return "INTEGER";
    return typeof value === "string" ? "TEXT" : "BLOB";
  });

test("[M4] keys are packed as cr-sqlite packs them, and unpack to what they were", async () => {
  const engine = await openTestEngine(createMemoryStorage());
  fc.assert(
    fc.property(key, (values) => {
      const packed = packKey(values);
      expect(toHex(packed)).toBe(toHex(packedBySqlite(engine, values)));
      expect(unpackKey(packed, classesOf(values))).toEqual(values);
    }),
  );
});

const repackedOrCode = (bytes: Uint8Array, classes: readonly KeyClass[]): string => {
  try {
    return toHex(packKey(unpackKey(bytes, classes)));
  } catch (error) {
    return (error as { code: string }).code;
  }
};

test("[M4] any bytes are the one packing of a key, or refused", () => {
  const classes = fc.array(fc.constantFrom<KeyClass>("INTEGER", "TEXT", "BLOB"), {
    minLength: 1,
    maxLength: 3,
  });
  const damaged = fc.tuple(key, fc.nat(), fc.nat(255)).map(([values, at, byte]) => {
    const packed = packKey(values);
    packed[at % packed.length] = byte;
    return packed;
  });
  fc.assert(
    fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 20 })), classes, (bytes, expected) => {
      expect(repackedOrCode(bytes, expected)).toBeOneOf([toHex(bytes), "ERR_NOT_CANONICAL"]);
    }),
    { numRuns: 2_000 },
  );
});

test("[M4] the examples of cr-sqlite", () => {
  expect(toHex(packKey([1n, "ab", Uint8Array.of(0, 255)]))).toBe("0309010b0261620c0200ff");
  expect(toHex(packKey([0n]))).toBe("0101");
  expect(toHex(packKey([128n]))).toBe("010980");
  expect(toHex(packKey([2n ** 53n + 1n]))).toBe("013920000000000001");
  expect(toHex(packKey([""]))).toBe("0103");
  expect(() => unpackKey(fromHex("0109ff00"), ["INTEGER"])).toThrow(/ERR_NOT_CANONICAL/);
});
