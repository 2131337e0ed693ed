/** Rules W1 to W5 of docs/PROTOCOL.md, over every codec there is. */
import { isDeepStrictEqual } from "node:util";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MeshError } from "../../src/protocol/errors.ts";
import { toHex } from "../../src/protocol/ids.ts";
import { type Codec, codecs } from "./codecs.ts";

describe.each(codecs)("$name", (codec) => {
  test("[W1] what is encoded decodes to the same value", () => {
    fc.assert(
      fc.property(codec.values, (value) => {
        // toEqual tells 5n from 5 and 0 from -0.
        expect(codec.decode(codec.encode(value))).toEqual(value);
      }),
      { numRuns: 300 },
    );
  });

  test("[W1] nothing may be missing or trail", () => {
    fc.assert(
      fc.property(codec.values, fc.nat(), fc.nat(255), (value, cut, extra) => {
        const bytes = codec.encode(value);
        const shorter = bytes.subarray(0, cut % bytes.length);
        const longer = Uint8Array.of(...bytes, extra);
        // A run or part message ends with opaque bytes: shorter or longer is another message.
        for (const damaged of [shorter, longer]) {
          const same = canonical(codec, damaged) && isDeepStrictEqual(codec.decode(damaged), value);
          expect(same).toBe(false);
        }
      }),
      { numRuns: 100 },
    );
  });
});

/** @returns whether the bytes were accepted. Throws unless they are canonical or refused with a code. */
function canonical(codec: Codec, bytes: Uint8Array): boolean {
  let value: unknown;
  try {
    value = codec.decode(bytes);
  } catch (error) {
    const expected =
      error instanceof MeshError &&
      ["ERR_NOT_CANONICAL", "ERR_LIMIT", "ERR_UNKNOWN_FORMAT"].includes(error.code);
    if (!expected) throw new Error(`${codec.name} of ${toHex(bytes)}`, { cause: error });
    return false;
  }
  const again = codec.encode(value);
  if (toHex(again) !== toHex(bytes)) {
    throw new Error(`${codec.name} of ${toHex(bytes)} re-encodes to ${toHex(again)}`);
  }
  return true;
}

/** sfc32: a real 32-bit generator, and a hundred times faster here than drawing each byte. */
function sfc32(seed: number): (bound: number) => number {
  let [a, b, c, counter] = [seed, 0x9e3779b9, 0x243f6a88, 1];
  const next = (): number => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  for (let i = 0; i < 12; i++) next();
  return (bound) => Math.floor((next() / 2 ** 32) * bound);
}

type Below = (bound: number) => number;
const INTERESTING = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff];

const randomBytes = (below: Below): Uint8Array =>
  Uint8Array.from({ length: below(1 << (1 + below(8))) }, () =>
    below(3) === 0 ? (INTERESTING[below(INTERESTING.length)] as number) : below(256),
  );

/** Half of them near the start, where counts and flags are. */
const position = (bytes: Uint8Array, below: Below): number =>
  below(below(2) === 0 ? Math.min(bytes.length, 70) : bytes.length);

const mutations: readonly ((bytes: Uint8Array, below: Below, other: Uint8Array) => Uint8Array)[] = [
  (bytes, below) => {
    const at = position(bytes, below);
    return bytes.map((byte, i) => (i === at ? byte ^ (1 << below(8)) : byte));
  },
  (bytes, below) => {
    const at = position(bytes, below);
    const value = INTERESTING[below(INTERESTING.length)] as number;
    return bytes.map((byte, i) => (i === at ? value : byte));
  },
  (bytes, below) => bytes.slice(0, position(bytes, below)),
  (bytes, below) => Uint8Array.of(...bytes, ...randomBytes(below)),
  (bytes, below, other) => {
    const at = position(bytes, below);
    return Uint8Array.of(...bytes.subarray(0, at), ...other.subarray(position(other, below)));
  },
  (bytes, below) => {
    const at = position(bytes, below);
    return Uint8Array.of(...bytes.subarray(0, at), ...bytes.subarray(at + 1 + below(8)));
  },
  (bytes, below) => {
    const at = position(bytes, below);
    return Uint8Array.of(...bytes.subarray(0, at + below(16)), ...bytes.subarray(at));
  },
];

const SEEDS = process.env["FUZZ_SEED"] === undefined ? [1, 2] : [Number(process.env["FUZZ_SEED"])];
const INPUTS_PER_CODEC_AND_SEED = 5_600;

describe.each(codecs)("$name", (codec) => {
  test.each(SEEDS)(
    "[W2] any bytes are canonical or refused with a code, seed %i",
    { timeout: 60_000 },
    (seed) => {
      const below = sfc32(seed);
      const valid = fc.sample(codec.values, { numRuns: 200, seed }).map(codec.encode);
      const pick = (): Uint8Array => valid[below(valid.length)] as Uint8Array;
      const accepted = { random: 0, mutated: 0 };
      for (let i = 0; i < INPUTS_PER_CODEC_AND_SEED / 2; i++) {
        accepted.random += Number(canonical(codec, randomBytes(below)));
        let bytes = pick();
        for (let count = 1 + below(2); count > 0 && bytes.length > 0; count--) {
          const mutate = mutations[below(mutations.length)] as (typeof mutations)[0];
          bytes = mutate(bytes, below, pick());
        }
        accepted.mutated += Number(canonical(codec, bytes));
      }
      // Else the mutations never get past the first check, and the property says nothing.
      expect(accepted.mutated).toBeGreaterThan(100);
    },
  );
});
