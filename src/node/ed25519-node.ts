/**
 * Ed25519 in Node: verifying through `crypto.subtle`, which spreads a batch over threads; signing
 * through `node:crypto`, which does one at once. A local transaction waits for its one signature,
 * and handing it to a thread and back costs ten times the signature itself.
 *
 * @module
 */

import { createPrivateKey, type KeyObject, sign } from "node:crypto";
import { fromHex } from "../protocol/ids.ts";
import type { Ed25519 } from "../signing/ed25519.ts";
import { chooseEd25519 } from "./ed25519-webcrypto.ts";

/** RFC 8410 §7: a PKCS #8 structure around the 32 bytes that follow. */
const PKCS8_PREFIX = fromHex("302e020100300506032b657004220420");

export async function chooseEd25519InNode(): Promise<Ed25519> {
  const backend = await chooseEd25519();
  const keys = new WeakMap<Uint8Array, KeyObject>();
  return {
    ...backend,
    sign: async (message, secretKey) => {
      let key = keys.get(secretKey);
      if (key === undefined) {
        key = importSecretKey(secretKey);
        keys.set(secretKey, key);
      }
      return new Uint8Array(sign(null, message, key));
    },
  };
}

function importSecretKey(secretKey: Uint8Array): KeyObject {
  const der = Buffer.concat([PKCS8_PREFIX, secretKey]);
  return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
}
