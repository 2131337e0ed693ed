/**
 * Signatures on which Ed25519 implementations are known to disagree ("Taming the many EdDSAs",
 * SSR 2020; ZIP 215), made from points and scalars rather than copied, so that what each one tests
 * can be read here. `test/vectors/ed25519.json` holds their bytes.
 */
import { etc, hashes, Point, utils } from "@noble/ed25519";
import { sha512 } from "@noble/hashes/sha2.js";

hashes.sha512 = sha512;

export interface Ed25519Vector {
  readonly name: string;
  /** Hex, like all that follows. Where present, `signature` is what it makes (RFC 8032). */
  readonly secretKey?: string;
  readonly publicKey: string;
  readonly message: string;
  readonly signature: string;
  readonly valid: boolean;
}

const { n: ORDER, p: PRIME } = Point.CURVE();
/** Generates the small subgroup of order 8. */
const TORSION = Point.fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05");
const NONCE = 12345678901234567890n;
const R = Point.BASE.multiply(NONCE);

const torsion = (i: number): Point => (i % 8 === 0 ? Point.ZERO : TORSION.multiply(BigInt(i % 8)));
const encode = (point: Point): Uint8Array => new Uint8Array(point.toBytes());
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** The same y, the other sign of x. */
const signBit = (bytes: Uint8Array): Uint8Array =>
  bytes.map((byte, i) => (i === 31 ? byte ^ 0x80 : byte));

function littleEndian(value: bigint): Uint8Array {
  return etc.hexToBytes(value.toString(16).padStart(64, "0")).toReversed();
}

function challenge(encodedR: Uint8Array, publicKey: Uint8Array, message: Uint8Array): bigint {
  const hash = sha512(etc.concatBytes(encodedR, publicKey, message));
  return BigInt(`0x${etc.bytesToHex(hash.toReversed())}`) % ORDER;
}

/** The first of the messages "0", "1", … whose challenge satisfies `wanted`. */
function messageWhere(
  encodedR: Uint8Array,
  publicKey: Uint8Array,
  wanted: (k: bigint) => boolean,
): Uint8Array {
  for (let i = 0; i < 10_000; i++) {
    const message = utf8(String(i));
    if (wanted(challenge(encodedR, publicKey, message))) return message;
  }
  throw new RangeError("no such message");
}

/** Every A + iT with every R + jT over a few messages: valid exactly where j + ki ≡ 0 (mod 8). */
export function torsionGrid(): Ed25519Vector[] {
  const { scalar, point } = utils.getExtendedPublicKey(new Uint8Array(32).fill(10));
  const grid: Ed25519Vector[] = [];
  for (let cell = 0; cell < 192; cell++) {
    const [i, j, turn] = [cell & 7, (cell >> 3) & 7, cell >> 6];
    const message = utf8(`${turn}`);
    const a = encode(point.add(torsion(i)));
    const r = encode(R.add(torsion(j)));
    const k = challenge(r, a, message);
    grid.push({
      name: `A + ${i}T, R + ${j}T, message ${turn}`,
      publicKey: etc.bytesToHex(a),
      message: etc.bytesToHex(message),
      signature: etc.bytesToHex(etc.concatBytes(r, littleEndian((NONCE + k * scalar) % ORDER))),
      valid: (BigInt(j) + k * BigInt(i)) % 8n === 0n,
    });
  }
  return grid;
}

export function ed25519EdgeCases(): Ed25519Vector[] {
  const { scalar, point } = utils.getExtendedPublicKey(new Uint8Array(32).fill(9));
  const key = encode(point);
  const vectors: Ed25519Vector[] = [];
  /** Signs with `scalar` for whatever R and A are given as. */
  const add = (
    name: string,
    valid: boolean,
    {
      r = encode(R),
      a = key,
      nonce = NONCE,
      secret = scalar,
      message = utf8("rowmesh"),
      plus = 0n,
    },
  ): void => {
    const s = littleEndian(((nonce + challenge(r, a, message) * secret) % ORDER) + plus);
    vectors.push({
      name,
      publicKey: etc.bytesToHex(a),
      message: etc.bytesToHex(message),
      signature: etc.bytesToHex(etc.concatBytes(r, s)),
      valid,
    });
  };

  add("honest", true, {});
  add("S + L", false, { plus: ORDER });
  add("S + 2L", false, { plus: 2n * ORDER });
  add("S + 8L, its top bits set", false, { plus: 8n * ORDER });

  for (let i = 1; i < 8; i++) {
    const r = encode(R.add(torsion(i)));
    add(`R + ${i}T: valid only with the cofactor`, false, { r });
  }
  for (let i = 1; i < 8; i++) {
    const a = encode(point.add(torsion(i)));
    const r = encode(R);
    const vanishes = (k: bigint) => (k * BigInt(i)) % 8n === 0n;
    add(`A + ${i}T, torsion left over: valid only with the cofactor`, false, {
      a,
      message: messageWhere(r, a, (k) => !vanishes(k)),
    });
    add(`A + ${i}T, torsion vanishes`, true, { a, message: messageWhere(r, a, vanishes) });
    const both = encode(R.add(torsion(i)));
    const cancels = (k: bigint) => (BigInt(i) + k * BigInt(i)) % 8n === 0n;
    add(`A + ${i}T and R + ${i}T, torsion cancels`, true, {
      a,
      r: both,
      message: messageWhere(both, a, cancels),
    });
  }
  for (let i = 0; i < 8; i++) addSmallOrder(i);
  addNonCanonical();
  return vectors;

  function addSmallOrder(i: number): void {
    const a = encode(torsion(i));
    const vanishes = (k: bigint) => (k * BigInt(i)) % 8n === 0n;
    const message = messageWhere(encode(R), a, vanishes);
    add(`A = ${i}T signs what it never saw`, false, { a, secret: 0n, message });
    add(`R = ${i}T`, false, { r: a, nonce: 0n });
    add(`A = R = ${i}T, S = 0`, false, {
      a,
      r: a,
      nonce: 0n,
      secret: 0n,
      message: messageWhere(a, a, (k) => vanishes(k + 1n)),
    });
  }

  function addNonCanonical(): void {
    const identity = encode(Point.ZERO);
    const order2 = encode(torsion(4));
    const encodings: [string, Uint8Array][] = [
      ["y = p (order 4)", littleEndian(PRIME)],
      ["y = p, sign set", signBit(littleEndian(PRIME))],
      ["y = p + 1 (identity)", littleEndian(PRIME + 1n)],
      ["y = p + 1, sign set", signBit(littleEndian(PRIME + 1n))],
      ["identity, sign set", signBit(identity)],
      ["order 2, sign set", signBit(order2)],
    ];
    for (const [name, bytes] of encodings) {
      const message = messageWhere(encode(R), bytes, (k) => k % 8n === 0n);
      add(`A non-canonical: ${name}`, false, { a: bytes, secret: 0n, message });
      add(`R non-canonical: ${name}`, false, { r: bytes, nonce: 0n });
    }
    // Points of large order whose y also fits as y + p. Nobody knows their secret scalar: the
    // best a forger can do is S = nonce with a challenge that vanishes, which it does not.
    for (const y of [3n, 4n, 5n, 6n, 9n, 10n, 14n, 15n, 16n, 18n]) {
      add(`A = y ${y} as p + ${y}`, false, { a: littleEndian(PRIME + y), secret: 0n });
      add(`R = y ${y} as p + ${y}`, false, { r: littleEndian(PRIME + y) });
    }
    add("A on no point (y = 2)", false, { a: littleEndian(2n) });
    add("R on no point (y = 2)", false, { r: littleEndian(2n) });
    add("A all ones", false, { a: new Uint8Array(32).fill(0xff) });
    add("R all ones", false, { r: new Uint8Array(32).fill(0xff) });
  }
}
