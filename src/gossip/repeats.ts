/**
 * Repeats: what one peer is served again and again. Cut links and lapsed leases make honest peers
 * ask twice; a peer that goes on asking for what it was given is served slowly, so that its loop
 * costs us one read in a second.
 *
 * @module
 */

import { REPEAT_MS, REPEATS_BYTES } from "../protocol/limits.ts";
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
  /** When the next read may begin. */
  readonly nextMs: () => number;
}

export function createRepeats(): Repeats {
  /** The first version that was not served yet. */
  const unserved = new Map<AuthorStream, number>();
  let freshBytes = 0;
  let againBytes = 0;
  let nextMs = 0;
  return {
    served: (range, bytes, next, nowMs) => {
      const key = authorStream(range);
      const from = unserved.get(key) ?? 0;
      if (range.first < from) againBytes += bytes;
      else freshBytes += bytes;
      unserved.set(key, Math.max(from, next ?? range.last + 1));
      if (againBytes > REPEATS_BYTES + 2 * freshBytes) nextMs = nowMs + REPEAT_MS;
    },
    nextMs: () => nextMs,
  };
}
