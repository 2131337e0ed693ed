/**
 * Text and bytes in and out of a WebAssembly heap. One scratch buffer serves all bindings, and
 * SQLite copies what it is given (SQLITE_TRANSIENT): in a merge no slower than keeping bound
 * memory alive ourselves (docs/decisions/0003-storage-and-pragmas.md).
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";
import type { Pointer, SqliteModule } from "./sqlite-wasm.ts";

/** Below this many bytes or UTF-16 units a plain loop beats TextEncoder and TextDecoder. */
const SHORT_TEXT = 40;
const SCRATCH_BYTES_MIN = 4_096;
/** A scratch beyond this is given back after use, so that one large value does not stay allocated. */
const SCRATCH_BYTES_KEPT = 1_048_576;

const LONE_SURROGATE = /\p{Surrogate}/u;

export interface Heap {
  /** Writes text as UTF-8. Valid until the next `put…`. @throws ERR_SQL on a lone surrogate */
  readonly putText: (text: string) => { readonly pointer: Pointer; readonly bytes: number };
  /** Never NULL, not even for no bytes. Valid until the next `put…`. */
  readonly putBytes: (bytes: Uint8Array) => Pointer;
  /** NUL-terminated text that stays until it is freed. */
  readonly allocateText: (text: string) => { readonly pointer: Pointer; readonly bytes: number };
  readonly text: (pointer: Pointer, bytes: number) => string;
  /** Up to the NUL. */
  readonly cString: (pointer: Pointer) => string;
  readonly bytes: (pointer: Pointer, bytes: number) => Uint8Array<ArrayBuffer>;
  readonly pointerAt: (pointer: Pointer) => number;
}

export const createHeap = (wasm: SqliteModule): Heap => {
  let scratch: Pointer = 0;
  let scratchBytes = 0;
  const reserve = (bytes: number): Pointer => {
    const wanted = Math.max(bytes, SCRATCH_BYTES_MIN);
    const isTooLarge = scratchBytes > SCRATCH_BYTES_KEPT && bytes <= SCRATCH_BYTES_KEPT;
    if (wanted <= scratchBytes && !isTooLarge) return scratch;
    if (scratch !== 0) wasm._free(scratch);
    scratchBytes = 0;
    scratch = 0;
    scratch = allocate(wasm, wanted);
    scratchBytes = wanted;
    return scratch;
  };
  const written = { pointer: 0, bytes: 0 };
  return {
    putText: (text) => {
      written.pointer = reserve(text.length * 3);
      written.bytes = writeText(wasm, written.pointer, text);
      return written;
    },
    putBytes: (bytes) => {
      const pointer = reserve(bytes.length);
      wasm.HEAPU8.set(bytes, pointer);
      return pointer;
    },
    allocateText: (value) => {
      assertWellFormed(value);
      const encoded = encoder.encode(value);
      const pointer = allocate(wasm, encoded.length + 1);
      wasm.HEAPU8.set(encoded, pointer);
      wasm.HEAPU8[pointer + encoded.length] = 0;
      return { pointer, bytes: encoded.length };
    },
    text: (pointer, bytes) => readText(wasm, pointer, bytes),
    cString: (pointer) => {
      const end = wasm.HEAPU8.indexOf(0, pointer);
      return readText(wasm, pointer, end - pointer);
    },
    bytes: (pointer, bytes) => wasm.HEAPU8.slice(pointer, pointer + bytes),
    pointerAt: (pointer) => wasm.HEAPU32[pointer >>> 2] as number,
  };
};

const encoder = new TextEncoder();
// Without ignoreBOM a leading U+FEFF would be eaten.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** @returns bytes written: at most three for each UTF-16 unit */
const writeText = (wasm: SqliteModule, pointer: Pointer, text: string): number => {
  const { length } = text;
  const heap = wasm.HEAPU8;
  if (length <= SHORT_TEXT) {
    let at = 0;
    for (; at < length; at += 1) {
      const unit = text.charCodeAt(at);
      if (unit > 0x7f) break;
      heap[pointer + at] = unit;
    }
    if (at === length) return length;
  }
  assertWellFormed(text);
  return encoder.encodeInto(text, heap.subarray(pointer, pointer + length * 3)).written;
};

const readText = (wasm: SqliteModule, pointer: Pointer, bytes: number): string => {
  const heap = wasm.HEAPU8;
  if (bytes <= SHORT_TEXT) {
    let short = "";
    let at = pointer;
    const end = pointer + bytes;
    for (; at < end; at += 1) {
      const unit = heap[at] as number;
      if (unit > 0x7f) break;
      short += String.fromCharCode(unit);
    }
    if (at === end) return short;
  }
  return decoder.decode(heap.subarray(pointer, pointer + bytes));
};

/** @throws ERR_SQL when the WebAssembly memory (2 GiB at most) cannot grow. */
const allocate = (wasm: SqliteModule, bytes: number): Pointer => {
  const pointer = wasm._malloc(bytes);
  if (pointer === 0) throw new MeshError("ERR_SQL", `out of memory for a value of ${bytes} bytes`);
  return pointer;
};

/** UTF-8 has no lone surrogates; replacing them silently would change the author's data. */
const assertWellFormed = (text: string): void => {
  if (LONE_SURROGATE.test(text)) {
    throw new MeshError("ERR_SQL", "text holds a lone surrogate, which no UTF-8 can carry");
  }
};
