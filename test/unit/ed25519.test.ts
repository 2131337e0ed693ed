import { readFileSync, writeFileSync } from "node:fs";
import { webcrypto } from "node:crypto";
import { Point } from "@noble/ed25519";
import { expect, test } from "vitest";
import { chooseEd25519InNode } from "../../src/node/ed25519-node.ts";
import { chooseEd25519, createWebCryptoEd25519 } from "../../src/node/ed25519-webcrypto.ts";
import { passesSelfTest } from "../../src/node/ed25519-self-test.ts";
import { yieldToEvents } from "../../src/node/yield-to-events.ts";
import type { Ed25519 } from "../../src/signing/ed25519.ts";
import { createNobleEd25519 } from "../../src/signing/ed25519-noble.ts";
import { multiplesOf, multiply } from "../../src/signing/multiples.ts";
import { ed25519EdgeCases } from "../contracts/ed25519-edge-cases.ts";
import { ed25519Contract } from "../contracts/ed25519.ts";

const FILE = "test/vectors/ed25519.json";
const noble = createNobleEd25519({ pause: yieldToEvents });
const never: Ed25519 = {
  publicKeyOf: noble.publicKeyOf,
  sign: () => Promise.reject(new RangeError("the engine failed")),
  verify: () => Promise.reject(new RangeError("the engine failed")),
};

ed25519Contract("noble", () => Promise.resolve(noble));
ed25519Contract("Node's WebCrypto, alone", () =>
  Promise.resolve(createWebCryptoEd25519(webcrypto.subtle as SubtleCrypto, never)),
);
ed25519Contract("chosen", () => chooseEd25519());
ed25519Contract("chosen in Node", () => chooseEd25519InNode());

test("the edge cases are the ones in the vectors", () => {
  const vectors = JSON.parse(readFileSync(FILE, "utf8")) as { edgeCases: unknown };
  const edgeCases = ed25519EdgeCases();
  if (process.env["UPDATE_VECTORS"] === "1") {
    writeFileSync(FILE, `${JSON.stringify({ ...vectors, edgeCases }, null, 2)}\n`);
  }
  expect(vectors.edgeCases).toEqual(edgeCases);
});

test("[S6] multiples by table are multiples", () => {
  const torsion = Point.fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05");
  const { n } = Point.CURVE();
  const scalars = [0n, 1n, 7n, 8n, 9n, 15n, 16n, 0x88n, 0x89n, n - 1n, n / 2n, 2n ** 252n];
  for (let i = 0n; i < 40n; i++) scalars.push(0x9e3779b97f4a7c15f39cc0605cedc834n ** (3n + i) % n);
  for (const point of [Point.BASE, torsion, Point.BASE.multiply(77n).add(torsion)]) {
    const multiples = multiplesOf(point);
    for (const scalar of scalars) {
      const expected = point.multiply(scalar, false).toHex();
      expect(multiply(multiples, scalar).toHex()).toBe(expected);
    }
  }
});

test("[S6] more authors than are remembered", async () => {
  const few = createNobleEd25519({ pause: yieldToEvents });
  const message = new Uint8Array(9);
  const signed = await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      const secretKey = new Uint8Array(32).fill(i);
      const publicKey = await few.publicKeyOf(secretKey);
      return { publicKey, signature: await few.sign(message, secretKey) };
    }),
  );
  for (const [i, { publicKey, signature }] of [...signed, ...signed].entries()) {
    const other = signed[(i + 1) % signed.length]?.signature ?? signature;
    expect(await few.verify(signature, message, publicKey)).toBe(true);
    expect(await few.verify(other, message, publicKey)).toBe(false);
  }
});

test("[S6] an engine with the cofactor, one that throws and one that says yes are not trusted", async () => {
  const lenient: Ed25519 = { ...noble, verify: () => Promise.resolve(true) };
  expect(await passesSelfTest(noble, noble)).toBe(true);
  expect(await passesSelfTest(lenient, noble)).toBe(false);
  const forger: Ed25519 = { ...noble, sign: () => Promise.resolve(new Uint8Array(64)) };
  expect(await passesSelfTest(forger, noble)).toBe(false);

  let asked = 0;
  const lacking = { importKey: () => Promise.reject(new Error(`unknown ${asked++}`)) };
  const without = await chooseEd25519(lacking as unknown as SubtleCrypto);
  const askedByTest = asked;
  const key = new Uint8Array(32).fill(1);
  const signature = await without.sign(key, key);
  expect(await without.verify(signature, key, await noble.publicKeyOf(key))).toBe(true);
  expect(askedByTest).toBeGreaterThan(0);
  expect(asked).toBe(askedByTest);
});

test("a batch on the reference lets other work in", async () => {
  let pauses = 0;
  const counted = createNobleEd25519({ pause: () => (pauses++, yieldToEvents()) });
  const bytes = new Uint8Array(64);
  await Promise.all(Array.from({ length: 64 }, () => counted.verify(bytes, bytes, bytes)));
  expect(pauses).toBe(4);
});
