/** Runs in the page: the Ed25519 backends by name, everything as hex. Bundled by ../ed25519.test.ts. */
import { chooseEd25519, createWebCryptoEd25519 } from "../../../src/node/ed25519-webcrypto.ts";
import { yieldToEvents } from "../../../src/node/yield-to-events.ts";
import { fromHex, toHex } from "../../../src/protocol/ids.ts";
import type { Ed25519 } from "../../../src/signing/ed25519.ts";
import { createNobleEd25519 } from "../../../src/signing/ed25519-noble.ts";

export type BackendName = "webcrypto" | "noble" | "chosen";

const noble = createNobleEd25519({ pause: yieldToEvents });
const failing: Ed25519 = {
  publicKeyOf: noble.publicKeyOf,
  sign: () => Promise.reject(new RangeError("the engine failed")),
  verify: () => Promise.reject(new RangeError("the engine failed")),
};
const subtle = globalThis.crypto.subtle as SubtleCrypto | undefined;
const backends: Record<BackendName, Promise<Ed25519>> = {
  webcrypto: Promise.resolve(
    subtle === undefined ? failing : createWebCryptoEd25519(subtle, failing),
  ),
  noble: Promise.resolve(noble),
  chosen: chooseEd25519(),
};

const signingPage = {
  hasSubtle: (): boolean => subtle !== undefined,
  publicKeyOf: async (name: BackendName, secretKey: string): Promise<string> =>
    toHex(await (await backends[name]).publicKeyOf(fromHex(secretKey))),
  sign: async (name: BackendName, message: string, secretKey: string): Promise<string> =>
    toHex(await (await backends[name]).sign(fromHex(message), fromHex(secretKey))),
  verify: async (
    name: BackendName,
    signature: string,
    message: string,
    publicKey: string,
  ): Promise<boolean> =>
    (await backends[name]).verify(fromHex(signature), fromHex(message), fromHex(publicKey)),
};

declare global {
  var signingPage: SigningPage;
}
type SigningPage = typeof signingPage;
globalThis.signingPage = signingPage;
