/**
 * Signatures on which Ed25519 implementations disagree, asked of an engine before it is trusted.
 * Made with the secret scalar of the seed 0x09 × 32 and points of the 8-torsion; how, is in
 * test/unit/ed25519-edge-cases.ts.
 *
 * @module
 */

import { fromHex } from "../protocol/ids.ts";
import type { Ed25519 } from "../signing/ed25519.ts";

interface SelfTestCase {
  readonly publicKey: string;
  readonly signature: string;
  readonly message: string;
  readonly valid: boolean;
}

const KEY = "fd1724385aa0c75b64fb78cd602fa1d991fdebf76b13c58ed702eac835e9f618";
/** The same key plus a point of order 8. */
const MIXED_KEY = "641034cc8126e0c47b25ead437da64962a17840ca764095da5131a7a2aaf92ee";
const R = "7767a3242dc9b58bbc68488c1265cc6cc5f26c6f3c88a5d55e901b0734dca572";
const MIXED_R = "b15bf26424d1b69dd33b7a9e57db5de4a2aadea4a2a051efd9bfd6af74165d2b";

const CASES: readonly SelfTestCase[] = [
  {
    publicKey: KEY,
    signature: `${R}eb85353fe3d1a2db40d0b6eade9f8e1a386208619aa96ef73e1255bcbc973901`,
    message: "726f776d657368",
    valid: true,
  },
  {
    publicKey: KEY,
    signature: `${R}eb85353fe3d1a2db40d0b6eade9f8e1a386208619aa96ef73e1255bcbc973901`,
    message: "726f776d657369",
    valid: false,
  },
  // Valid only when the equation is multiplied by the cofactor.
  {
    publicKey: KEY,
    signature: `${MIXED_R}f7e295652b6d4f571804afda8aea5dbef434490364da451836a06a1125489d00`,
    message: "726f776d657368",
    valid: false,
  },
  {
    publicKey: MIXED_KEY,
    signature: `${R}41cf3438766fde4317d90d657376c2c314a089b0baf58f1b5893b4fa51f9bd0e`,
    message: "6d30",
    valid: false,
  },
  // The torsion cancels: valid, unless an engine refuses such keys.
  {
    publicKey: MIXED_KEY,
    signature: `${R}c8ac9345825b57d37eea8fafd6956fb1dd1fc64af97363c114b7353d5c30fe07`,
    message: "6d31",
    valid: true,
  },
  {
    publicKey: MIXED_KEY,
    signature: `${MIXED_R}3ba48ab4defe80b4f39fab74f56aeb77dda613477a424f05db2aa2fa45d6e40c`,
    message: "6d3132",
    valid: true,
  },
];

const SEED = new Uint8Array(32).fill(9);

/** Whether `candidate` judges every case as the definition says, and signs what `reference` accepts. */
export async function passesSelfTest(candidate: Ed25519, reference: Ed25519): Promise<boolean> {
  const verdicts = await Promise.all(
    CASES.map(({ publicKey, signature, message }) =>
      candidate.verify(fromHex(signature), fromHex(message), fromHex(publicKey)),
    ),
  );
  if (verdicts.some((verdict, i) => verdict !== CASES[i]?.valid)) return false;
  const signature = await candidate.sign(SEED, SEED);
  return reference.verify(signature, SEED, fromHex(KEY));
}
