/**
 * Keys, signatures and their verification, pure: bytes in, bytes out.
 *
 * @module
 */

export { type Ed25519, SECRET_KEY_BYTES } from "./ed25519.ts";
export { createNobleEd25519, type NobleEd25519Options } from "./ed25519-noble.ts";
export { createGenesis, verifyGenesis, type VerifiedGenesis } from "./genesis.ts";
export { createKeyPair, type KeyPair, meshIdOf, siteIdOf } from "./keys.ts";
export { createSigner, type VerifiedRun, verifyRun } from "./verified-changeset.ts";
