/**
 * Reading and writing bytes so that every value has exactly one encoding: minimal LEB128 varints,
 * whole reads, nothing trailing. The reader throws `ERR_NOT_CANONICAL` on anything else, before it
 * allocates what a length claims.
 *
 * @module
 */

import { MeshError } from "./errors.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

const SURROGATE = /[\ud800-\udfff]/;
const LONE_SURROGATE =
  /(?:[\ud800-\udbff](?![\udc00-\udfff]))|(?:(?<![\ud800-\udbff])[\udc00-\udfff])/;

/** UTF-8 of a well-formed string. @throws MeshError ERR_NOT_CANONICAL on a lone surrogate. */
export function encodeText(text: string): Uint8Array<ArrayBuffer> {
  if (SURROGATE.test(text) && LONE_SURROGATE.test(text)) {
    throw notCanonical("text with a lone surrogate");
  }
  return encoder.encode(text);
}

export class ByteWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView<ArrayBuffer>;
  #length = 0;

  constructor(capacityBytes = 256) {
    this.#bytes = new Uint8Array(capacityBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get length(): number {
    return this.#length;
  }

  #reserve(count: number): number {
    const at = this.#length;
    const needed = at + count;
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.#length = needed;
    return at;
  }

  u8(value: number): this {
    const at = this.#reserve(1);
    this.#bytes[at] = value;
    return this;
  }

  /** LEB128 of an integer in [0, 2^53). */
  varint(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`varint of ${value}`);
    let rest = value;
    while (rest >= 0x80) {
      this.u8((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    return this.u8(rest);
  }

  raw(bytes: Uint8Array): this {
    const at = this.#reserve(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  /** A varint length, then the bytes. */
  sized(bytes: Uint8Array): this {
    return this.varint(bytes.length).raw(bytes);
  }

  text(text: string): this {
    return this.sized(encodeText(text));
  }

  /** The UTF-8 of a text known to be ASCII: what most cells hold, without a detour by TextEncoder. */
  ascii(text: string): this {
    const at = this.#reserve(text.length);
    for (let i = 0; i < text.length; i++) this.#bytes[at + i] = text.charCodeAt(i);
    return this;
  }

  float64(value: number): this {
    const at = this.#reserve(8);
    this.#view.setFloat64(at, value);
    return this;
  }

  /** The `count` low bytes of a two's complement integer, big-endian. */
  int(value: bigint, count: number): this {
    const at = this.#reserve(count);
    let rest = value;
    for (let i = count - 1; i >= 0; i--) {
      this.#bytes[at + i] = Number(rest & 0xffn);
      rest >>= 8n;
    }
    return this;
  }

  /** The bytes written so far, copied out. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  /** Takes the first `count` bytes out, in pieces of `pieceBytes`; copies. */
  takePieces(count: number, pieceBytes: number): Uint8Array<ArrayBuffer>[] {
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    for (let at = 0; at < count; at += pieceBytes) {
      pieces.push(this.#bytes.slice(at, Math.min(count, at + pieceBytes)));
    }
    this.#bytes.copyWithin(0, count, this.#length);
    this.#length -= count;
    return pieces;
  }
}

/** Bytes that come in pieces: only what one value spans is held together. */
export interface BytePieces {
  /** Of all pieces. */
  readonly bytes: number;
  readonly pieces: Iterable<Uint8Array>;
}

export class ByteReader {
  #bytes: Uint8Array;
  #view: DataView;
  #at = 0;
  /** Before `#bytes`, and in the pieces behind it. */
  #before = 0;
  #behind: number;
  readonly #pieces: Iterator<Uint8Array> | null;

  constructor(source: Uint8Array | BytePieces) {
    const isWhole = source instanceof Uint8Array;
    this.#bytes = isWhole ? source : new Uint8Array(0);
    this.#view = viewOf(this.#bytes);
    this.#behind = isWhole ? 0 : source.bytes;
    this.#pieces = isWhole ? null : source.pieces[Symbol.iterator]();
  }

  get offset(): number {
    return this.#before + this.#at;
  }

  get remaining(): number {
    return this.#bytes.length - this.#at + this.#behind;
  }

  /** To be called before `#bytes` is looked at: it may replace them. */
  #take(count: number): number {
    if (count > this.#bytes.length - this.#at) this.#join(count);
    const at = this.#at;
    this.#at += count;
    return at;
  }

  /** What is left of `#bytes` and so many pieces that `count` bytes are together. */
  #join(count: number): void {
    if (count > this.remaining) throw notCanonical("truncated");
    const parts = [this.#bytes.subarray(this.#at)];
    let length = this.#bytes.length - this.#at;
    while (length < count) {
      const next = this.#pieces?.next();
      if (next === undefined || next.done === true) throw notCanonical("truncated");
      parts.push(next.value);
      length += next.value.length;
      this.#behind -= next.value.length;
    }
    this.#before += this.#at;
    this.#at = 0;
    this.#bytes = concatBytes(parts);
    this.#view = viewOf(this.#bytes);
  }

  u8(): number {
    const at = this.#take(1);
    return this.#bytes[at] as number;
  }

  /** A minimal LEB128 varint in [0, max]. */
  varint(max: number): number {
    let value = 0;
    let scale = 1;
    for (let count = 1; ; count++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (value > max) throw new MeshError("ERR_LIMIT", `number above ${max}`);
      if (byte < 0x80) {
        if (byte === 0 && count > 1) throw notCanonical("overlong varint");
        return value;
      }
      if (count === 8) throw notCanonical("varint too long");
      scale *= 0x80;
    }
  }

  /** A view, not a copy, of the next `count` bytes. */
  raw(count: number): Uint8Array {
    const at = this.#take(count);
    return this.#bytes.subarray(at, at + count);
  }

  sized(max: number): Uint8Array {
    return this.raw(this.varint(max));
  }

  text(maxBytes: number): string {
    return this.utf8(this.varint(maxBytes));
  }

  /** The next `count` bytes as well-formed UTF-8, a byte order mark kept. */
  utf8(count: number): string {
    const bytes = this.raw(count);
    return decodeText(bytes);
  }

  float64(): number {
    const at = this.#take(8);
    return this.#view.getFloat64(at);
  }

  /** `count` bytes of big-endian two's complement. */
  int(count: number): bigint {
    const at = this.#take(count);
    if (count === 0) return 0n;
    // Numbers are exact to 2^53, and several times faster than bigints.
    const exact = Math.min(count, 6);
    let high = ((this.#bytes[at] as number) << 24) >> 24;
    for (let i = 1; i < exact; i++) high = high * 0x100 + (this.#bytes[at + i] as number);
    let value = BigInt(high);
    for (let i = exact; i < count; i++)
      value = (value << 8n) | BigInt(this.#bytes[at + i] as number);
    return value;
  }

  /** @throws MeshError ERR_NOT_CANONICAL when bytes are left. */
  end(): void {
    if (this.remaining !== 0) throw notCanonical(`${this.remaining} trailing bytes`);
  }
}

const viewOf = ({ buffer, byteOffset, byteLength }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength);

/** The same array when only one of them holds anything. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const filled = parts.filter(({ length }) => length > 0);
  if (filled.length === 1) return filled[0] as Uint8Array;
  const joined = new Uint8Array(filled.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of filled) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Well-formed UTF-8 only; a leading byte order mark is text like any other. */
function decodeText(bytes: Uint8Array): string {
  const short = bytes.length < 24 ? asciiText(bytes) : null;
  if (short !== null) return short;
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    throw notCanonical("malformed UTF-8");
  }
  // TextDecoder swallows a leading byte order mark.
  return bytes.length >= 3 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf
    ? `\ufeff${text}`
    : text;
}

/** Faster than TextDecoder for the short texts that most cells hold; null when not ASCII. */
function asciiText(bytes: Uint8Array): string | null {
  let text = "";
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    if (byte >= 0x80) return null;
    text += String.fromCharCode(byte);
  }
  return text;
}

export function notCanonical(why: string): MeshError {
  return new MeshError("ERR_NOT_CANONICAL", why);
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Lexicographic, unsigned: the order of every sorted list in the format. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
