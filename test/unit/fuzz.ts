/** Hostile bytes for one decoder: random ones, and valid ones bent. */
import { appendFileSync } from "node:fs";
import * as fc from "fast-check";
import { MeshError } from "../../src/protocol/errors.ts";
import { toHex } from "../../src/protocol/ids.ts";
import type { Codec } from "./codecs.ts";

/** How a decoder may refuse. */
const REFUSALS = new Set<string>(["ERR_NOT_CANONICAL", "ERR_LIMIT", "ERR_UNKNOWN_FORMAT"]);

/** @returns whether the bytes were accepted. Throws unless they are canonical or refused with a code. */
export function canonical(codec: Codec, bytes: Uint8Array): boolean {
  let value: unknown;
  try {
    value = codec.decode(bytes);
  } catch (error) {
    if (error instanceof MeshError && REFUSALS.has(error.code)) return false;
    throw new Error(`${codec.name} of ${toHex(bytes)}`, { cause: error });
  }
  const again = codec.encode(value);
  if (Buffer.compare(again, bytes) !== 0) {
    throw new Error(`${codec.name} of ${toHex(bytes)} re-encodes to ${toHex(again)}`);
  }
  return true;
}

export interface FuzzReport {
  readonly decoder: string;
  readonly seed: number;
  readonly inputs: number;
  /** Bent inputs that were still valid: else the bending never gets past the first check. */
  readonly acceptedBent: number;
  /** Inputs that ended in anything but a value that encodes to them, or a refusal. */
  readonly crashes: number;
  readonly firstCrash: string | null;
}

/** The same inputs for the same seed. Also appended as JSON to the file that `FUZZ_REPORT` names. */
export function fuzz(codec: Codec, seed: number, inputs: number): FuzzReport {
  const below = sfc32(seed);
  const valid = fc.sample(codec.values, { numRuns: 200, seed }).map(codec.encode);
  /** What was bent and is still valid, to be bent further. */
  const bent = valid.slice();
  const pick = (): Uint8Array => {
    const from = below(3) === 0 ? bent : valid;
    return from[below(from.length)] as Uint8Array;
  };
  let acceptedBent = 0;
  let crashes = 0;
  let firstCrash: string | null = null;
  const isAccepted = (bytes: Uint8Array): boolean => {
    try {
      return canonical(codec, bytes);
    } catch (error) {
      crashes++;
      firstCrash ??= `${String(error)}: ${String((error as Error).cause)}`;
      return false;
    }
  };
  const { stackTraceLimit } = Error;
  // A stack costs more than the decoding.
  Error.stackTraceLimit = 0;
  for (let i = 0; i < inputs; i++) {
    if (i % 4 === 0) {
      isAccepted(randomBytes(below));
      continue;
    }
    let bytes = pick();
    for (let count = 1 + below(3); count > 0 && bytes.length > 0; count--) {
      bytes = (bends[below(bends.length)] as Bend)(bytes, below, pick());
    }
    if (!isAccepted(bytes)) continue;
    acceptedBent++;
    if (bytes.length < BENT_BYTES_MAX) bent[below(bent.length)] = bytes;
  }
  Error.stackTraceLimit = stackTraceLimit;
  const report = { decoder: codec.name, seed, inputs, acceptedBent, crashes, firstCrash };
  const path = process.env["FUZZ_REPORT"];
  if (path !== undefined) appendFileSync(path, `${JSON.stringify(report)}\n`);
  return report;
}

/** Else repeating makes them ever longer. */
const BENT_BYTES_MAX = 1_024;

type Below = (bound: number) => number;

/** sfc32: a real 32-bit generator, and a hundred times faster here than drawing each byte. */
function sfc32(seed: number): Below {
  let [a, b, c, counter] = [seed, 0x9e3779b9, 0x243f6a88, 1];
  const next = (): number => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  for (let i = 0; i < 12; i++) next();
  return (bound) => Math.floor((next() / 2 ** 32) * bound);
}

const INTERESTING = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff];
/** Varints at the edges: 0 in two bytes, 2^14, 2^31, 2^32, 2^40, 2^48, 2^53 - 1, 2^63, never ending. */
const VARINTS = [
  [0x80, 0],
  [0x80, 0x80, 1],
  [0x80, 0x80, 0x80, 0x80, 8],
  [0x80, 0x80, 0x80, 0x80, 0x10],
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x20],
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f],
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
];

function randomBytes(below: Below): Uint8Array {
  const bytes = new Uint8Array(below(1 << (1 + below(8))));
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = below(3) === 0 ? (INTERESTING[below(INTERESTING.length)] as number) : below(256);
  }
  return bytes;
}

/** Half of them near the start, where counts and flags are. */
const position = (bytes: Uint8Array, below: Below): number =>
  below(below(2) === 0 ? Math.min(bytes.length, 70) : bytes.length);

function joined(...parts: readonly ArrayLike<number>[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

type Bend = (bytes: Uint8Array, below: Below, other: Uint8Array) => Uint8Array;

const setByte = (bytes: Uint8Array, at: number, value: number): Uint8Array => {
  const copy = bytes.slice();
  copy[at] = value;
  return copy;
};

const bends: readonly Bend[] = [
  // One bit.
  (bytes, below) => {
    const at = position(bytes, below);
    return setByte(bytes, at, (bytes[at] as number) ^ (1 << below(8)));
  },
  // One byte.
  (bytes, below) =>
    setByte(bytes, position(bytes, below), INTERESTING[below(INTERESTING.length)] as number),
  // One more or one less: counts, sizes, numbers that must ascend.
  (bytes, below) => {
    const at = position(bytes, below);
    return setByte(bytes, at, (bytes[at] as number) + 1 - 2 * below(2));
  },
  // Cut short.
  (bytes, below) => bytes.slice(0, position(bytes, below)),
  // Trailing bytes.
  (bytes, below) => joined(bytes, randomBytes(below)),
  // The beginning of one, the end of another.
  (bytes, below, other) =>
    joined(
      bytes.subarray(0, position(bytes, below)),
      other.length === 0 ? [] : other.subarray(position(other, below)),
    ),
  // Some bytes left out.
  (bytes, below) => {
    const at = position(bytes, below);
    return joined(bytes.subarray(0, at), bytes.subarray(at + 1 + below(8)));
  },
  // Some bytes twice.
  (bytes, below) => {
    const at = position(bytes, below);
    return joined(bytes.subarray(0, at + below(16)), bytes.subarray(at));
  },
  // Another number in a number's place.
  (bytes, below) => {
    const at = position(bytes, below);
    const varint = VARINTS[below(VARINTS.length)] as number[];
    return joined(bytes.subarray(0, at), varint, bytes.subarray(at + 1));
  },
];
