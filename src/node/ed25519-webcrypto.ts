/**
 * Ed25519 by `crypto.subtle`: several times faster than JavaScript, and off the calling thread.
 * Engines differ in what they skip (docs/decisions/0002-strict-ed25519.md), so the checks of
 * `signing/ed25519.ts` run first, and {@link chooseEd25519} takes an engine only if it then answers
 * as the reference does.
 *
 * @module
 */

import { fromHex, toHex } from "../protocol/ids.ts";
import { type Ed25519, mayBeValid } from "../signing/ed25519.ts";
import { createNobleEd25519 } from "../signing/ed25519-noble.ts";
import { passesSelfTest } from "./ed25519-self-test.ts";
import { yieldToEvents } from "./yield-to-events.ts";

/** Public keys kept imported: importing costs about half of a verification. */
const IMPORTED_KEYS_MAX = 1_024;
/** RFC 8410 §7: a PKCS #8 structure around the 32 bytes that follow. */
const PKCS8_PREFIX = fromHex("302e020100300506032b657004220420");

/** The fastest backend of this machine that accepts exactly what the others accept. */
export async function chooseEd25519(
  subtle: SubtleCrypto | undefined = globalThis.crypto?.subtle,
): Promise<Ed25519> {
  const reference = createNobleEd25519({ pause: yieldToEvents });
  if (subtle === undefined) return reference;
  const alone = createWebCryptoEd25519(subtle, NO_REFERENCE);
  const trusted = await passesSelfTest(alone, reference).catch(() => false);
  return trusted ? createWebCryptoEd25519(subtle, reference) : reference;
}

/** So that the self-test hears the engine itself, not what steps in for it. */
const NO_REFERENCE: Ed25519 = {
  publicKeyOf: () => Promise.reject(new RangeError("no reference")),
  sign: () => Promise.reject(new RangeError("no reference")),
  verify: () => Promise.reject(new RangeError("no reference")),
};

/**
 * `reference` makes public keys (once per replica) and steps in when the engine throws: what an
 * engine cannot import or check is decided as everywhere else.
 */
export function createWebCryptoEd25519(subtle: SubtleCrypto, reference: Ed25519): Ed25519 {
  const publicKeys = new Map<string, Promise<CryptoKey>>();
  const secretKeys = new WeakMap<Uint8Array, Promise<CryptoKey>>();
  return {
    publicKeyOf: reference.publicKeyOf,
    sign: async (message, secretKey) => {
      try {
        let key = secretKeys.get(secretKey);
        if (key === undefined) {
          key = importSecretKey(subtle, secretKey);
          secretKeys.set(secretKey, key);
        }
        return new Uint8Array(await subtle.sign("Ed25519", await key, plain(message)));
      } catch {
        return reference.sign(message, secretKey);
      }
    },
    verify: async (signature, message, publicKey) => {
      if (!mayBeValid(signature, publicKey)) return false;
      try {
        const name = toHex(publicKey);
        let key = publicKeys.get(name);
        if (key === undefined) {
          key = subtle.importKey("raw", plain(publicKey), "Ed25519", false, ["verify"]);
          remember(publicKeys, name, key);
        }
        return await subtle.verify("Ed25519", await key, plain(signature), plain(message));
      } catch {
        return reference.verify(signature, message, publicKey);
      }
    },
  };
}

function remember(
  keys: Map<string, Promise<CryptoKey>>,
  name: string,
  key: Promise<CryptoKey>,
): void {
  // A Map iterates in the order of insertion: the oldest goes.
  for (const oldest of keys.keys()) {
    if (keys.size < IMPORTED_KEYS_MAX) break;
    keys.delete(oldest);
  }
  keys.set(name, key);
}

async function importSecretKey(subtle: SubtleCrypto, secretKey: Uint8Array): Promise<CryptoKey> {
  const pkcs8 = new Uint8Array(PKCS8_PREFIX.length + secretKey.length);
  pkcs8.set(PKCS8_PREFIX);
  pkcs8.set(secretKey, PKCS8_PREFIX.length);
  return subtle.importKey("pkcs8", pkcs8, "Ed25519", false, ["sign"]);
}

/** WebCrypto refuses views of shared memory, and the types know it. */
const plain = (bytes: Uint8Array): Uint8Array<ArrayBuffer> =>
  bytes.buffer instanceof ArrayBuffer ? (bytes as Uint8Array<ArrayBuffer>) : new Uint8Array(bytes);
