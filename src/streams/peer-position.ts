/**
 * What the other end of a stream is known to hold. Kept in the database under the name the app gives
 * that end, and shared by the streams to it and from it, so that nothing is sent back to where it
 * came from.
 *
 * @module
 */

import { encodeText } from "../protocol/bytes.ts";
import { MeshError } from "../protocol/errors.ts";
import type { MeshId } from "../protocol/ids.ts";
import { PEER_NAME_BYTES_MAX } from "../protocol/limits.ts";
import { decodePosition, encodePosition } from "../protocol/stream-packet.ts";
import type {
  AuthorStream,
  ChangesetRange,
  VectorEntry,
  VersionRange,
} from "../protocol/version-vector.ts";
import type { StreamStore } from "../seams.ts";
import type { StreamPeer } from "./streams.ts";
import { createVersionSet, uniteRanges, type VersionSet } from "./version-set.ts";

export interface PeerPosition {
  /** Held, or on the way from there. */
  readonly get: (key: AuthorStream) => readonly VersionRange[];
  readonly add: (ranges: readonly ChangesetRange[]) => void;
  readonly addEntries: (entries: readonly VectorEntry[]) => void;
  /** Forgets everything else: the other end may be a new device under an old name. */
  readonly replace: (entries: readonly VectorEntry[]) => void;
  /** These are just arriving from there. Returns what to call when they have been looked at. */
  readonly arriving: (ranges: readonly ChangesetRange[]) => () => void;
  /** Durable when it resolves; of a position without a name nothing is kept. */
  readonly save: () => Promise<void>;
}

export interface PeerPositions {
  /** @throws MeshError ERR_OPTION_INVALID */
  readonly open: (peer: StreamPeer | undefined, mesh: MeshId) => Promise<PeerPosition>;
}

export function createPeerPositions(store: StreamStore): PeerPositions {
  const byName = new Map<string, Promise<PeerPosition>>();
  const byObject = new WeakMap<object, PeerPosition>();
  return {
    open: async (peer, mesh) => {
      if (typeof peer !== "string") {
        const unnamed = byObject.get(peer ?? {}) ?? createPosition(async () => undefined);
        if (peer !== undefined) byObject.set(peer, unnamed);
        return unnamed;
      }
      assertName(peer);
      const known = byName.get(peer);
      if (known !== undefined) return known;
      const position = load(store, peer, mesh);
      byName.set(peer, position);
      position.catch(() => byName.delete(peer));
      return position;
    },
  };
}

function assertName(name: string): void {
  if (name !== "" && encodeText(name).length <= PEER_NAME_BYTES_MAX) return;
  throw new MeshError("ERR_OPTION_INVALID", `a peer's name has 1 to ${PEER_NAME_BYTES_MAX} bytes`);
}

async function load(store: StreamStore, name: string, mesh: MeshId): Promise<PeerPosition> {
  const kept = await store.peerPosition(name);
  const position = createPosition((entries) =>
    store.keepPeerPosition(name, encodePosition({ mesh, entries })),
  );
  // Bytes come out of a worker as they went in.
  if (kept !== null) position.addEntries(decodePosition(kept).entries);
  return position;
}

function createPosition(keep: (entries: readonly VectorEntry[]) => Promise<void>): PeerPosition {
  const held = createVersionSet();
  const arriving = new Set<VersionSet>();
  let changes = 0;
  let saved = 0;
  let saving: Promise<void> = Promise.resolve();

  async function save(): Promise<void> {
    if (saved >= changes) return;
    const upTo = changes;
    await keep(held.entries());
    saved = upTo;
  }

  return {
    get: (key) => {
      let ranges = held.get(key);
      for (const set of arriving) ranges = uniteRanges(ranges, set.get(key));
      return ranges;
    },
    add: (ranges) => {
      changes++;
      for (const range of ranges) held.add(range);
    },
    addEntries: (entries) => {
      changes++;
      for (const entry of entries) held.addEntry(entry);
    },
    replace: (entries) => {
      changes++;
      held.clear();
      for (const entry of entries) held.addEntry(entry);
    },
    arriving: (ranges) => {
      const set = createVersionSet();
      for (const range of ranges) set.add(range);
      arriving.add(set);
      return () => arriving.delete(set);
    },
    save: () => {
      // One after another: the last one written is the newest.
      saving = saving.then(save, save);
      return saving;
    },
  };
}
