/**
 * Place queue: authors of one peer whose outline came when there was no place for it. They are asked
 * for again when there is one, in the order in which they came, as many as there are places: else
 * each of a hundred would come again and again for the place of one (rule AE21).
 *
 * @module
 */

import type { PeerId } from "../protocol/ids.ts";
import { INCOMING_STALLED_MS, NEW_AUTHORS_CLAIMED_MAX } from "../protocol/limits.ts";
import type { AuthorStream } from "../protocol/version-vector.ts";
import type { IncomingView } from "./incoming.ts";
import type { PeerView } from "./peer-view.ts";

/** As many as one peer may claim that we do not know. */
const WAITING_MAX = NEW_AUTHORS_CLAIMED_MAX;

const NONE: ReadonlySet<AuthorStream> = new Set();

export interface PlaceQueue {
  /**
   * Whether an outline of such a payload may go into the store now. Once in {@link INCOMING_STALLED_MS}
   * the store is asked whatever we think: what has stalled there gives way.
   */
  readonly mayBring: (payloadBytes: number, nowMs: number) => boolean;
  /** Behind all others. */
  readonly add: (key: AuthorStream, payloadBytes: number, nowMs: number) => void;
  readonly delete: (key: AuthorStream) => void;
  readonly has: (key: AuthorStream) => boolean;
  /** Those of which there is a place for an outline, or the first one to try. */
  readonly awake: (nowMs: number) => ReadonlySet<AuthorStream>;
}

export interface PlaceQueueOptions {
  readonly peer: PeerId;
  readonly view: PeerView;
  readonly incoming: IncomingView;
}

export function createPlaceQueue({ peer, view, incoming }: PlaceQueueOptions): PlaceQueue {
  const payloadBytesByKey = new Map<AuthorStream, number>();
  let awake = new Set<AuthorStream>();
  /** As `incoming.freed` said when `awake` was last made. */
  let freed = -1;
  /** When one may go to the store without a place; null while nobody waits. */
  let tryMs: number | null = null;

  const isWaiting = (key: AuthorStream): boolean => payloadBytesByKey.has(key);

  function wake(): void {
    awake = new Set();
    let bytes = 0;
    for (const [key, payloadBytes] of payloadBytesByKey) {
      if (!view.lacking().has(key)) {
        payloadBytesByKey.delete(key);
        continue;
      }
      bytes += payloadBytes;
      if (!incoming.mayBring(peer, { places: awake.size + 1, bytes })) return;
      awake.add(key);
    }
  }

  return {
    mayBring: (bytes, nowMs) => {
      if (incoming.mayBring(peer, { places: 1, bytes })) return true;
      if (tryMs === null || nowMs < tryMs) return false;
      tryMs = nowMs + INCOMING_STALLED_MS;
      return true;
    },
    add: (key, payloadBytes, nowMs) => {
      tryMs ??= nowMs + INCOMING_STALLED_MS;
      payloadBytesByKey.delete(key);
      payloadBytesByKey.set(key, payloadBytes);
      const [oldest] = payloadBytesByKey.keys();
      if (payloadBytesByKey.size > WAITING_MAX && oldest !== undefined) {
        payloadBytesByKey.delete(oldest);
      }
    },
    delete: (key) => {
      payloadBytesByKey.delete(key);
      if (payloadBytesByKey.size === 0) tryMs = null;
    },
    has: isWaiting,
    awake: (nowMs) => {
      if (payloadBytesByKey.size === 0) return NONE;
      // One that somebody else brought meanwhile needs no place.
      const isAnyLacking = [...awake].some((key) => isWaiting(key) && view.lacking().has(key));
      if (freed !== incoming.freed() || !isAnyLacking) wake();
      freed = incoming.freed();
      const [first] = payloadBytesByKey.keys();
      const isDue = tryMs !== null && nowMs >= tryMs;
      return isDue && first !== undefined ? new Set([...awake, first]) : awake;
    },
  };
}
