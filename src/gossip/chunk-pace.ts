/**
 * How many chunks to ask a peer for at once: what is small waits behind about so much.
 *
 * @module
 */

import { WANT_CHUNKS_MAX } from "../protocol/limits.ts";

const CHUNKS_AT_FIRST = 4;
/** A want that takes longer is followed by a smaller one, one that takes half as long by a larger one. */
const CHUNKS_MS = 1_500;

export interface ChunkPace {
  readonly atOnce: () => number;
  /** The last want of chunks was answered. */
  readonly took: (ms: number) => void;
}

export function createChunkPace(): ChunkPace {
  let atOnce = CHUNKS_AT_FIRST;
  return {
    atOnce: () => atOnce,
    took: (ms) => {
      if (ms > CHUNKS_MS) atOnce = Math.max(1, Math.floor(atOnce / 2));
      else if (2 * ms < CHUNKS_MS) atOnce = Math.min(WANT_CHUNKS_MAX, 2 * atOnce);
    },
  };
}
