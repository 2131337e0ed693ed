/**
 * Real signatures for many devices in one process: made at once, without a thread pool, so that
 * their order depends on nothing but the seed; checked once, since every device sees the same bytes.
 *
 * @module
 */

import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { fromHex, toHex } from "../protocol/ids.ts";
import { type Ed25519, mayBeValid } from "../signing/ed25519.ts";
import { createNobleEd25519 } from "../signing/ed25519-noble.ts";

const noble = createNobleEd25519({ pause: async () => {} });
const REMEMBERED_MAX = 20_000;
const KEYS_MAX = 1_000;
/** RFC 8410 §7 and §4: the structures around a secret key and a public key. */
const PKCS8_PREFIX = fromHex("302e020100300506032b657004220420");
const SPKI_PREFIX = fromHex("302a300506032b6570032100");

const secretKeys = new Map<string, KeyObject>();
const publicKeys = new Map<string, KeyObject>();
const verified = new Map<string, boolean>();

/** Shared by all devices of a process. What `node:crypto` refuses is asked again of the reference. */
export const simEd25519: Ed25519 = {
  ...noble,
  sign: async (message, secretKey) =>
    new Uint8Array(
      sign(
        null,
        message,
        remember(secretKeys, KEYS_MAX, toHex(secretKey), () =>
          createPrivateKey({
            key: Buffer.concat([PKCS8_PREFIX, secretKey]),
            format: "der",
            type: "pkcs8",
          }),
        ),
      ),
    ),
  verify: async (signature, message, publicKey) => {
    const key = `${toHex(signature)}${toHex(publicKey)}${toHex(message)}`;
    const known = verified.get(key);
    if (known !== undefined) return known;
    const isValid =
      isValidInNode(signature, message, publicKey) ||
      (await noble.verify(signature, message, publicKey));
    remember(verified, REMEMBERED_MAX, key, () => isValid);
    return isValid;
  },
};

function isValidInNode(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  if (!mayBeValid(signature, publicKey)) return false;
  const key = remember(publicKeys, KEYS_MAX, toHex(publicKey), () =>
    createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: "der", type: "spki" }),
  );
  return verify(null, message, key, signature);
}

function remember<T>(map: Map<string, T>, max: number, key: string, make: () => T): T {
  let value = map.get(key);
  if (value === undefined) {
    if (map.size >= max) map.clear();
    map.set(key, (value = make()));
  }
  return value;
}
