/**
 * Runs on the wire: cut into frames by the sender, put together again by the receiver. A run is
 * opaque here but for its first fields, which say whose versions it holds.
 *
 * @module
 */

import { ByteReader, notCanonical } from "../protocol/bytes.ts";
import { decodeHeader } from "../protocol/changeset.ts";
import { HASH_BYTES, PUBLIC_KEY_BYTES } from "../protocol/ids.ts";
import {
  DEPENDENCY_HASH_BYTES,
  FRAME_BYTES_MAX,
  PART_BYTES,
  RUN_CHANGESETS_MAX,
  VERSION_MAX,
} from "../protocol/limits.ts";
import { encodeMessage, type PartMessage } from "../protocol/messages.ts";
import { type ChangesetRange, readStream } from "../protocol/version-vector.ts";

/** Type byte and want id. */
const RUN_FRAME_BYTES = 8;
/** As `protocol/changeset-run.ts` reads it. */
const HEADER_BYTES_MAX = 4 * 1024;

/** What a run claims to hold; needs its first bytes only. @throws MeshError */
export function rangeOfRun(bytes: Uint8Array): ChangesetRange {
  const reader = new ByteReader(bytes);
  const chain = readStream(reader);
  reader.raw(PUBLIC_KEY_BYTES);
  const first = reader.varint(VERSION_MAX);
  reader.raw(HASH_BYTES);
  const count = reader.varint(RUN_CHANGESETS_MAX);
  const { site } = decodeHeader(reader.sized(HEADER_BYTES_MAX));
  if (first === 0 || count === 0) throw notCanonical("empty run");
  return { site, ...chain, first, last: first + count - 1 };
}

/** What a broadcast claims to hold: one version. @throws MeshError */
export function rangeOfBroadcast(bytes: Uint8Array): ChangesetRange {
  const reader = new ByteReader(bytes);
  reader.raw(DEPENDENCY_HASH_BYTES);
  const { site, stream, version } = decodeHeader(reader.sized(HEADER_BYTES_MAX));
  return { site, stream, first: version, last: version };
}

/** One frame, or parts of `PART_BYTES`. */
export function framesOfRun(want: number, run: Uint8Array): readonly Uint8Array[] {
  if (run.length <= FRAME_BYTES_MAX - RUN_FRAME_BYTES) {
    return [encodeMessage({ type: "run", want, run })];
  }
  const frames: Uint8Array[] = [];
  for (let offset = 0; offset < run.length; offset += PART_BYTES) {
    const bytes = run.subarray(offset, offset + PART_BYTES);
    frames.push(encodeMessage({ type: "part", want, totalBytes: run.length, offset, bytes }));
  }
  return frames;
}

/** The half of a run that has arrived. */
export interface PartialRun {
  readonly want: number;
  readonly totalBytes: number;
  readonly parts: Uint8Array[];
  heldBytes: number;
}

/** The run so far with one part more, or null where the part does not continue it. */
export function addPart(partial: PartialRun | null, part: PartMessage): PartialRun | null {
  const { want, totalBytes, offset, bytes } = part;
  // Full parts only: a million parts of one byte would cost far more than their bytes.
  const isLast = offset + bytes.length === totalBytes;
  if (bytes.length !== PART_BYTES && !isLast) return null;
  const run = offset === 0 ? { want, totalBytes, parts: [], heldBytes: 0 } : partial;
  if (run === null || run.want !== want) return null;
  if (run.totalBytes !== totalBytes || run.heldBytes !== offset) return null;
  run.parts.push(bytes.slice());
  run.heldBytes += bytes.length;
  return run;
}

/** @returns the run when all of it is there. */
export function wholeRun({ totalBytes, heldBytes, parts }: PartialRun): Uint8Array | null {
  if (heldBytes < totalBytes) return null;
  const run = new Uint8Array(totalBytes);
  let at = 0;
  for (const part of parts) {
    run.set(part, at);
    at += part.length;
  }
  return run;
}
