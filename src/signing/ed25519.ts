/**
 * Ed25519 as rowmesh needs it, and what "valid" means: one definition for every backend, because
 * replicas that disagree about one signature disagree about the data for ever.
 *
 * Valid is RFC 8032 §5.1.7 with its open points closed (docs/decisions/0002-strict-ed25519.md):
 * S < L, A and R canonical encodings of points outside the small subgroup, and the equation
 * without cofactor, [S]B = R + [k]A. {@link mayBeValid} checks the part that implementations skip.
 * The contract suite is test/contracts/ed25519.ts.
 *
 * @module
 */

import { fromHex, PUBLIC_KEY_BYTES, SIGNATURE_BYTES } from "../protocol/ids.ts";

/** The 32-byte seed of RFC 8032 §5.1.5, not the expanded 64 bytes. */
export const SECRET_KEY_BYTES = 32;

/** Accepts and refuses exactly the same signatures as every other backend. */
export interface Ed25519 {
  readonly publicKeyOf: (secretKey: Uint8Array) => Promise<Uint8Array<ArrayBuffer>>;
  /** Nothing may depend on the signature being deterministic. */
  readonly sign: (message: Uint8Array, secretKey: Uint8Array) => Promise<Uint8Array<ArrayBuffer>>;
  /** Never rejects because of what the bytes are: wrong lengths and impossible points are false. */
  readonly verify: (
    signature: Uint8Array,
    message: Uint8Array,
    publicKey: Uint8Array,
  ) => Promise<boolean>;
}

/** Little-endian, like everything in Ed25519. p = 2^255 − 19. */
const FIELD_PRIME = fieldElement(0xed, 0xff, 0x7f);
/** L = 2^252 + 27742317777372353535851937790883648493, the order of the base point. */
const GROUP_ORDER = fromHex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
/** y of a point of order 8; the other one is p − y. */
const ORDER_8_Y = fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05");
/**
 * The y of all eight points of the small subgroup: 1 (identity), p − 1 (order 2), 0 (order 4, two
 * signs of x) and two of order 8 (two signs each).
 */
const SMALL_ORDER_Y: readonly Uint8Array[] = [
  fieldElement(0x01, 0, 0),
  fieldElement(0xec, 0xff, 0x7f),
  fieldElement(0x00, 0, 0),
  ORDER_8_Y,
  subtractFrom(FIELD_PRIME, ORDER_8_Y),
];

/**
 * What can be told without arithmetic on the curve: lengths, S < L, and that A and R are canonical
 * and not of small order. False is final; true still needs the equation. About 1 µs.
 */
export function mayBeValid(signature: Uint8Array, publicKey: Uint8Array): boolean {
  return (
    signature.length === SIGNATURE_BYTES &&
    publicKey.length === PUBLIC_KEY_BYTES &&
    isBelow(signature.subarray(32), GROUP_ORDER, 0xff) &&
    mayBePoint(publicKey) &&
    mayBePoint(signature.subarray(0, 32))
  );
}

/** y < p, and y of no small-order point. The top bit is the sign of x: x = 0 only has small order. */
const mayBePoint = (bytes: Uint8Array): boolean =>
  isBelow(bytes, FIELD_PRIME, 0x7f) && !SMALL_ORDER_Y.some((y) => isField(bytes, y));

/** Unsigned little-endian comparison of 32 bytes, the top byte masked. */
function isBelow(bytes: Uint8Array, bound: Uint8Array, topMask: number): boolean {
  for (let i = 31; i >= 0; i--) {
    const byte = (bytes[i] as number) & (i === 31 ? topMask : 0xff);
    const limit = bound[i] as number;
    if (byte !== limit) return byte < limit;
  }
  return false;
}

function isField(bytes: Uint8Array, y: Uint8Array): boolean {
  for (let i = 0; i < 31; i++) if (bytes[i] !== y[i]) return false;
  return ((bytes[31] as number) & 0x7f) === y[31];
}

function fieldElement(first: number, middle: number, last: number): Uint8Array {
  const bytes = new Uint8Array(32).fill(middle);
  bytes[0] = first;
  bytes[31] = last;
  return bytes;
}

function subtractFrom(from: Uint8Array, value: Uint8Array): Uint8Array {
  let borrow = 0;
  return from.map((byte, i) => {
    const difference = byte - (value[i] as number) - borrow;
    borrow = difference < 0 ? 1 : 0;
    return difference & 0xff;
  });
}
