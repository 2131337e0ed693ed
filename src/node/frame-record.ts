/**
 * What goes over the frame stream, in each direction: records.
 *
 * ```text
 * record    = length frame | 0 credit
 * length    = LEB128, 1 … FRAME_BYTES_MAX     frame = that many bytes
 * credit    = LEB128, 0 … LINK_WINDOW_BYTES   window given back; 0 says "I am alive"
 * ```
 * LEB128 in its shortest form. Each side starts with a window of LINK_WINDOW_BYTES; a frame costs
 * its bytes and FRAME_COST_BYTES of it, and gets them back when the receiver has handled it.
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";
import { FRAME_BYTES_MAX, FRAME_COST_BYTES, LINK_WINDOW_BYTES } from "../protocol/limits.ts";

export type FrameRecord =
  | { readonly type: "frame"; readonly bytes: Uint8Array }
  | { readonly type: "credit"; readonly bytes: number };

/** What a frame takes from the window. */
export const frameCost = (frame: Uint8Array): number => frame.length + FRAME_COST_BYTES;

/** @throws RangeError when empty or above FRAME_BYTES_MAX: the caller's bug. */
export function assertFrame(frame: Uint8Array): void {
  if (frame.length === 0 || frame.length > FRAME_BYTES_MAX) {
    throw new RangeError(`a frame has 1 to ${FRAME_BYTES_MAX} bytes, not ${frame.length}`);
  }
}

/** @throws RangeError as {@link assertFrame}. */
export function encodeFrame(frame: Uint8Array): Uint8Array {
  assertFrame(frame);
  const prefix = leb128(frame.length);
  const record = new Uint8Array(prefix.length + frame.length);
  record.set(prefix);
  record.set(frame, prefix.length);
  return record;
}

export const encodeCredit = (bytes: number): Uint8Array => Uint8Array.of(0, ...leb128(bytes));

function leb128(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  bytes.push(rest);
  return bytes;
}

/** Cuts a byte stream into records, whatever the sizes of the pieces. Holds at most one frame. */
export class FrameRecordReader {
  #state: "length" | "frame" | "credit" = "length";
  #number = 0;
  #digits = 0;
  #frame = new Uint8Array(0);
  #filled = 0;

  /** True between the first and the last byte of a record. */
  get isPartial(): boolean {
    return this.#state !== "length" || this.#digits > 0;
  }

  /** Of a frame that is not whole, how many are here. */
  get partialBytes(): number {
    return this.#state === "frame" ? this.#filled : 0;
  }

  /**
   * The records that `piece` completes, oldest first.
   * @throws MeshError ERR_LIMIT on a frame or credit that is too large, ERR_NOT_CANONICAL on a
   * number with padding. The reader is of no use afterwards.
   */
  push(piece: Uint8Array): FrameRecord[] {
    const records: FrameRecord[] = [];
    let at = 0;
    while (at < piece.length) {
      if (this.#state === "frame") {
        const part = piece.subarray(at, at + this.#frame.length - this.#filled);
        this.#frame.set(part, this.#filled);
        this.#filled += part.length;
        at += part.length;
        if (this.#filled === this.#frame.length) {
          records.push({ type: "frame", bytes: this.#frame });
          this.#state = "length";
        }
      } else {
        const number = this.#digit(piece[at++]!);
        if (number !== null) this.#begin(number, records);
      }
    }
    return records;
  }

  #digit(byte: number): number | null {
    if (this.#digits === 3 && byte >= 0x80) throw new MeshError("ERR_LIMIT", "record length");
    this.#number += (byte & 0x7f) * 2 ** (7 * this.#digits);
    this.#digits++;
    if (byte >= 0x80) return null;
    if (byte === 0 && this.#digits > 1) throw new MeshError("ERR_NOT_CANONICAL", "padded length");
    const number = this.#number;
    this.#number = 0;
    this.#digits = 0;
    return number;
  }

  #begin(number: number, records: FrameRecord[]): void {
    if (this.#state === "credit") {
      if (number > LINK_WINDOW_BYTES) throw new MeshError("ERR_LIMIT", `credit ${number}`);
      records.push({ type: "credit", bytes: number });
      this.#state = "length";
    } else if (number === 0) {
      this.#state = "credit";
    } else {
      if (number > FRAME_BYTES_MAX) throw new MeshError("ERR_LIMIT", `frame of ${number} bytes`);
      this.#frame = new Uint8Array(number);
      this.#filled = 0;
      this.#state = "frame";
    }
  }
}
