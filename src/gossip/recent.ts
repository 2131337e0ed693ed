/**
 * Recent: which versions are new here, so that gossip is passed on only while it is. Remembered for
 * 30 to 60 s: longer than gossip takes to reach everybody, shorter than gossipsub itself knows
 * what it has seen (120 s), so that a message sent again later ends at the first honest peer.
 *
 * @module
 */

import { type AuthorStream, mainOf, type VersionVector } from "../protocol/version-vector.ts";

const SPAN_MS = 30_000;

export interface Recent {
  /** Call before the entry in `ours` changes. */
  readonly changing: (key: AuthorStream, nowMs: number) => void;
  /** Whether this version came to us a short while ago. */
  readonly isNew: (key: AuthorStream, version: number, nowMs: number) => boolean;
}

export function createRecent(ours: VersionVector): Recent {
  /** Heads before the changes of this span and of the one before. */
  let heads = new Map<AuthorStream, number>();
  let before = new Map<AuthorStream, number>();
  let sinceMs = 0;

  function turn(nowMs: number): void {
    if (nowMs - sinceMs < SPAN_MS) return;
    before = nowMs - sinceMs < 2 * SPAN_MS ? heads : new Map();
    heads = new Map();
    sinceMs = nowMs;
  }

  return {
    changing: (key, nowMs) => {
      turn(nowMs);
      // Which branch a broadcast is of cannot be told from its bytes.
      const main = mainOf(key);
      const head = ours.get(key)?.head ?? 0;
      heads.set(main, Math.min(head, heads.get(main) ?? head));
    },
    isNew: (key, version, nowMs) => {
      turn(nowMs);
      const main = mainOf(key);
      return version > (before.get(main) ?? heads.get(main) ?? Number.POSITIVE_INFINITY);
    },
  };
}
