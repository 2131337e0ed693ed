/** What every Ed25519 backend promises: rules S5 and S6 of docs/PROTOCOL.md. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromHex, toHex } from "../../src/protocol/ids.ts";
import type { Ed25519 } from "../../src/signing/ed25519.ts";
import { verifyStrict } from "../../src/signing/ed25519-noble.ts";
import { torsionGrid } from "./ed25519-edge-cases.ts";
import vectors from "../vectors/ed25519.json" with { type: "json" };

export function ed25519Contract(name: string, create: () => Promise<Ed25519>): void {
  describe(`Ed25519: ${name}`, () => {
    test("[S5] RFC 8032 §7.1", async () => {
      const ed25519 = await create();
      for (const vector of vectors.rfc8032) {
        const secretKey = fromHex(vector.secretKey);
        const signature = await ed25519.sign(fromHex(vector.message), secretKey);
        expect(toHex(await ed25519.publicKeyOf(secretKey))).toBe(vector.publicKey);
        expect(toHex(signature)).toBe(vector.signature);
      }
    });

    test("[S5] every known edge case is judged as defined", async () => {
      const ed25519 = await create();
      const wrong = [];
      for (const vector of [...vectors.rfc8032, ...vectors.edgeCases, ...torsionGrid()]) {
        const { signature, message, publicKey, valid } = vector;
        const verdict = await ed25519.verify(
          fromHex(signature),
          fromHex(message),
          fromHex(publicKey),
        );
        if (verdict !== valid) wrong.push(vector.name);
      }
      expect(wrong).toEqual([]);
    });

    test("[S5] wrong lengths are refused, not thrown", async () => {
      const ed25519 = await create();
      const honest = vectors.edgeCases[0];
      if (honest === undefined) throw new RangeError("no vectors");
      const signature = fromHex(honest.signature);
      const message = fromHex(honest.message);
      const key = fromHex(honest.publicKey);
      expect(await ed25519.verify(signature, message, key)).toBe(true);
      for (const cut of [0, 1, 31, 32, 63]) {
        expect(await ed25519.verify(signature.subarray(0, cut), message, key)).toBe(false);
      }
      for (const cut of [0, 31]) {
        expect(await ed25519.verify(signature, message, key.subarray(0, cut))).toBe(false);
      }
      expect(await ed25519.verify(Uint8Array.of(...signature, 0), message, key)).toBe(false);
      expect(await ed25519.verify(signature, message, Uint8Array.of(...key, 0))).toBe(false);
    });

    test("[S6] damage is judged as the reference judges it", async () => {
      const ed25519 = await create();
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom(...vectors.edgeCases.filter((vector) => vector.valid)),
          fc.constantFrom("signature", "message", "publicKey"),
          fc.nat(511),
          async (vector, part, bit) => {
            const damaged = { ...vector, [part]: flipped(vector[part], bit) };
            const signature = fromHex(damaged.signature);
            const message = fromHex(damaged.message);
            const publicKey = fromHex(damaged.publicKey);
            const verdict = await ed25519.verify(signature, message, publicKey);
            expect(verdict).toBe(verifyStrict(signature, message, publicKey));
            expect(verdict).toBe(false);
          },
        ),
        { numRuns: 150 },
      );
    });
  });
}

function flipped(hex: string, bit: number): string {
  const bytes = fromHex(hex);
  const at = (bit >> 3) % bytes.length;
  bytes[at] = (bytes[at] as number) ^ (1 << (bit & 7));
  return toHex(bytes);
}
