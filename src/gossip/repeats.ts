/**
 * Repeats: what one peer is served again and again. Cut links and lapsed leases make honest peers
 * ask twice; a peer that goes on asking for what it was given is served slowly, so that its loop
 * costs us one read in a second.
 *
 * @module
 */

import type { HeaderHash } from "../protocol/ids.ts";
import { CHUNKS_MAX, REPEAT_MS, REPEATS_BYTES } from "../protocol/limits.ts";
import {
  type AuthorStream,
  authorStream,
  type ChangesetRange,
} from "../protocol/version-vector.ts";

export interface Repeats {
  /** Of this range these bytes were read, up to `next` or its end. */
  readonly served: (
    range: ChangesetRange,
    bytes: number,
    next: number | null,
    nowMs: number,
  ) => void;
  /** The same of chunks, which come in any order. */
  readonly servedChunk: (
    headerHash: HeaderHash,
    index: number,
    bytes: number,
    nowMs: number,
  ) => void;
  /** When the next read may begin. */
  readonly nextMs: () => number;
}

export function createRepeats(): Repeats {
  /** The first version that was not served yet. */
  const unserved = new Map<AuthorStream, number>();
  /** A bit for each chunk, of changesets that we hold. */
  const servedChunks = new Map<HeaderHash, Uint8Array>();
  let freshBytes = 0;
  let againBytes = 0;
  let nextMs = 0;

  function count(bytes: number, which: "fresh" | "again", nowMs: number): void {
    if (which === "again") againBytes += bytes;
    else freshBytes += bytes;
    if (againBytes > REPEATS_BYTES + 2 * freshBytes) nextMs = nowMs + REPEAT_MS;
  }

  return {
    served: (range, bytes, next, nowMs) => {
      const key = authorStream(range);
      const from = unserved.get(key) ?? 0;
      unserved.set(key, Math.max(from, next ?? range.last + 1));
      count(bytes, range.first < from ? "again" : "fresh", nowMs);
    },
    servedChunk: (headerHash, index, bytes, nowMs) => {
      const served = servedChunks.get(headerHash) ?? new Uint8Array(CHUNKS_MAX / 8);
      servedChunks.set(headerHash, served);
      const at = index >> 3;
      const bit = 1 << (index & 7);
      const before = served[at] ?? 0;
      served[at] = before | bit;
      count(bytes, (before & bit) === 0 ? "fresh" : "again", nowMs);
    },
    nextMs: () => nextMs,
  };
}
