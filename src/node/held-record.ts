/**
 * Remembers across openings what of our own log others were known to hold, so that a device that
 * was opened far from all others does not take everything it ever wrote for unsent.
 *
 * @module
 */

import type { HeldVersions } from "../gossip/held-elsewhere.ts";
import { encodeText } from "../protocol/bytes.ts";
import type { AuthorStream } from "../protocol/version-vector.ts";
import type { StreamStore } from "../seams.ts";

export interface HeldRecord {
  /** As it was when the database was opened. */
  readonly before: HeldVersions;
  /** Call after anything that may have changed it; keeps the last state within {@link KEEP_MS}. */
  readonly changed: () => void;
  /** Keeps what was not kept yet. */
  readonly close: () => Promise<void>;
}

/** Kept in one small transaction, at most this often. */
const KEEP_MS = 5_000;

/** Beside what named ends of streams hold; no app can give this name. */
const NAME = "";

export async function openHeldRecord(
  store: Pick<StreamStore, "peerPosition" | "keepPeerPosition">,
  held: () => HeldVersions,
): Promise<HeldRecord> {
  const stored = await store.peerPosition(NAME);
  let kept = stored === null ? "[]" : new TextDecoder().decode(stored);
  let timer: ReturnType<typeof setTimeout> | null = null;

  async function keep(): Promise<void> {
    timer = null;
    const text = JSON.stringify([...held()]);
    if (text === kept) return;
    await store.keepPeerPosition(NAME, encodeText(text));
    kept = text;
  }

  return {
    before: new Map(JSON.parse(kept) as [AuthorStream, number][]),
    changed: () => {
      // A full disk, say: what is not remembered counts as unsent until somebody claims it again.
      timer ??= setTimeout(() => void keep().catch(() => undefined), KEEP_MS);
    },
    close: async () => {
      if (timer === null) return;
      clearTimeout(timer);
      await keep().catch(() => undefined);
    },
  };
}
