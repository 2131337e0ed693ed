/** Rules W1 to W5 of docs/PROTOCOL.md, over every codec there is. */
import { isDeepStrictEqual } from "node:util";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { codecs } from "./codecs.ts";
import { canonical, fuzz } from "./fuzz.ts";

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

const SEEDS = process.env["FUZZ_SEED"] === undefined ? [1, 2] : [Number(process.env["FUZZ_SEED"])];
/** For each decoder and seed; `npm run soak` takes many more. */
const INPUTS = Number(process.env["FUZZ_INPUTS"] ?? 5_600);

describe.each(codecs)("$name", (codec) => {
  test.each(SEEDS)(
    "[W2] any bytes are canonical or refused with a code, seed %i",
    { timeout: 60_000 + INPUTS },
    (seed) => {
      const { inputs, acceptedBent, crashes, firstCrash } = fuzz(codec, seed, INPUTS);
      expect({ inputs, crashes, firstCrash }).toEqual({
        inputs: INPUTS,
        crashes: 0,
        firstCrash: null,
      });
      expect(acceptedBent).toBeGreaterThan(INPUTS / 100);
    },
  );
});
