/**
 * Ed25519 in plain JavaScript over @noble/ed25519: the reference, and the backend of pages without
 * `crypto.subtle`. Signing is noble's; verifying uses its point arithmetic but not its `verify`,
 * whose equation is multiplied by the cofactor and so accepts signatures that OpenSSL and
 * BoringSSL refuse (docs/decisions/0002-strict-ed25519.md).
 *
 * @module
 */

import { etc, getPublicKey, hashes, Point, sign } from "@noble/ed25519";
import { sha512 } from "@noble/hashes/sha2.js";
import { equalBytes } from "../protocol/bytes.ts";
import { toHex } from "../protocol/ids.ts";
import { type Ed25519, mayBeValid } from "./ed25519.ts";
import { multiplesOf, type Multiples, multiply } from "./multiples.ts";

export interface NobleEd25519Options {
  /**
   * Awaited after every few operations, so that one large batch does not hold a worker: the arithmetic
   * is synchronous, and a promise alone does not let events in.
   */
  readonly pause: () => Promise<void>;
}

/** Operations between two pauses: about 4 ms on a laptop, 30 ms on an old phone. */
const OPERATIONS_PER_PAUSE = 16;
/** Authors whose multiples are kept, at 130 KB each: enough for runs that arrive interleaved. */
const AUTHORS_KEPT_MAX = 32;
/** A table costs as much as two verifications: made at the third by one key. */
const USES_BEFORE_TABLE = 2;

export function createNobleEd25519({ pause }: NobleEd25519Options): Ed25519 {
  hashes.sha512 = sha512;
  const multiplier = createMultiplier();
  let operations = 0;
  const breathe = async (): Promise<void> => {
    operations++;
    if (operations % OPERATIONS_PER_PAUSE === 0) await pause();
  };
  return {
    publicKeyOf: async (secretKey) => new Uint8Array(getPublicKey(secretKey)),
    sign: async (message, secretKey) => {
      await breathe();
      return new Uint8Array(sign(message, secretKey));
    },
    verify: async (signature, message, publicKey) => {
      await breathe();
      return verifyStrict(signature, message, publicKey, multiplier);
    },
  };
}

const ORDER: bigint = Point.CURVE().n;

/** [k]A, or null where A is on no point of the curve. */
type Multiply = (publicKey: Uint8Array, k: bigint) => Point | null;

/** RFC 8032 §5.1.7 without cofactor: encode([S]B − [k]A) must be the bytes of R. */
export function verifyStrict(
  signature: Uint8Array,
  message: Uint8Array,
  publicKey: Uint8Array,
  multiplyKey: Multiply = (key, k) => decodePoint(key)?.multiply(k, false) ?? null,
): boolean {
  if (!mayBeValid(signature, publicKey)) return false;
  const encodedR = signature.subarray(0, 32);
  const s = littleEndian(signature.subarray(32));
  const k = littleEndian(sha512(etc.concatBytes(encodedR, publicKey, message))) % ORDER;
  const product = multiplyKey(publicKey, k);
  if (product === null) return false;
  return equalBytes(Point.BASE.multiply(s, false).subtract(product).toBytes(), encodedR);
}

/** Remembers the latest authors, and the multiples of those that come back. */
function createMultiplier(): Multiply {
  const authors = new Map<string, { point: Point; uses: number; multiples: Multiples | null }>();
  return (publicKey, k) => {
    const name = toHex(publicKey);
    let author = authors.get(name);
    if (author === undefined) {
      const point = decodePoint(publicKey);
      if (point === null) return null;
      author = { point, uses: 0, multiples: null };
      // A Map iterates in the order of insertion: the least lately used goes.
      const [oldest] = authors.size < AUTHORS_KEPT_MAX ? [] : authors.keys();
      if (oldest !== undefined) authors.delete(oldest);
    } else authors.delete(name);
    authors.set(name, author);
    author.uses++;
    if (author.multiples === null && author.uses > USES_BEFORE_TABLE) {
      author.multiples = multiplesOf(author.point);
    }
    if (author.multiples === null) return author.point.multiply(k, false);
    return multiply(author.multiples, k);
  };
}

function decodePoint(bytes: Uint8Array): Point | null {
  try {
    return Point.fromBytes(bytes, false);
  } catch {
    return null;
  }
}

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(
    `0x${etc.bytesToHex(Uint8Array.from(bytes, (_, i) => bytes[bytes.length - 1 - i] as number))}`,
  );
}
