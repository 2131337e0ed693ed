/**
 * Vector feed: tells one peer what we hold, all of it once, then what changed since, many changes
 * in one frame. The peer can so keep an exact view of our vector, which digests check.
 *
 * @module
 */

import { FRAME_BYTES_MAX, VECTOR_ENTRIES_MAX } from "../protocol/limits.ts";
import { encodeMessage } from "../protocol/messages.ts";
import type { AuthorStream, VectorEntry, VersionVector } from "../protocol/version-vector.ts";

/** Upper bound of one entry on the wire: fixed fields, and a pair of varints for each range. */
const ENTRY_BYTES_MAX = 64;
const RANGE_BYTES_MAX = 16;

export interface VectorFeed {
  /** Everything, instead of what was going to be told. */
  readonly startOver: () => void;
  readonly changed: (key: AuthorStream) => void;
  /** The next frame, or null when the peer was told everything. */
  readonly frame: () => Uint8Array | null;
  readonly hasMore: () => boolean;
}

export function createVectorFeed(ours: VersionVector): VectorFeed {
  let untold = new Set<AuthorStream>();
  let part: "first" | "more" = "more";

  function frame(): Uint8Array | null {
    if (untold.size === 0 && part === "more") return null;
    const entries: VectorEntry[] = [];
    let room = FRAME_BYTES_MAX - ENTRY_BYTES_MAX;
    for (const key of untold) {
      const entry = ours.get(key);
      if (entry === undefined) throw new RangeError(`no entry ${key}`);
      room -= ENTRY_BYTES_MAX + RANGE_BYTES_MAX * entry.beyond.length;
      if (room < 0 || entries.length >= VECTOR_ENTRIES_MAX) break;
      entries.push(entry);
      untold.delete(key);
    }
    const message = encodeMessage({ type: "vector", part, entries });
    part = "more";
    return message;
  }

  return {
    startOver: () => {
      untold = new Set(ours.keys());
      part = "first";
    },
    changed: (key) => untold.add(key),
    frame,
    hasMore: () => untold.size > 0 || part === "first",
  };
}
