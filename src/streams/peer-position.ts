/**
 * What the other end of a stream is known to hold. Kept in the database under the name the app gives
 * that end, and shared by the streams to it and from it, so that nothing is sent back to where it
 * came from.
 *
 * Two things are known. What that end *claims*, author by author, in its own names of branches: the
 * hashes of its heads tell what that is here. And what was *kept* of what went there or came from
 * there: versions, of authors with one chain only.
 *
 * @module
 */

import { ByteReader, ByteWriter, encodeText } from "../protocol/bytes.ts";
import { MeshError } from "../protocol/errors.ts";
import type { MeshId } from "../protocol/ids.ts";
import {
  PEER_NAME_BYTES_MAX,
  POSITION_BYTES_MAX,
  VECTOR_ENTRIES_PER_PEER_MAX,
} from "../protocol/limits.ts";
import { decodePosition, encodePosition } from "../protocol/stream-packet.ts";
import {
  type AuthorStream,
  type ChangesetRange,
  countVersions,
  mainStream,
  type VectorEntry,
} from "../protocol/version-vector.ts";
import type { StreamStore } from "../seams.ts";
import type { StreamPeer } from "./streams.ts";
import { createVersionSet, heldRanges, type VersionSet } from "./version-set.ts";

export interface PeerPosition {
  /** All that it says of each author it names. */
  readonly claimed: () => readonly VectorEntry[];
  /** Held there, or on the way from there: of authors with one chain here. */
  readonly kept: () => readonly VectorEntry[];
  /** Of authors with one chain here. */
  readonly add: (ranges: readonly ChangesetRange[]) => void;
  /** All that the other end holds of these authors. */
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

/** The claims and what was kept, each as a position. */
async function load(store: StreamStore, name: string, mesh: MeshId): Promise<PeerPosition> {
  const stored = await store.peerPosition(name);
  const position = createPosition((claimed, kept) => {
    const parts = [claimed, kept].map((entries) => encodePosition({ mesh, entries }));
    const writer = new ByteWriter();
    for (const part of parts) writer.sized(part);
    return store.keepPeerPosition(name, writer.finish());
  });
  if (stored === null) return position;
  const reader = new ByteReader(stored);
  position.addEntries(decodePosition(reader.sized(POSITION_BYTES_MAX)).entries);
  for (const entry of decodePosition(reader.sized(POSITION_BYTES_MAX)).entries) {
    const { site, stream } = entry;
    for (const { first, last } of heldRanges(entry)) position.add([{ site, stream, first, last }]);
  }
  return position;
}

type Keep = (claimed: readonly VectorEntry[], kept: readonly VectorEntry[]) => Promise<void>;

function createPosition(keep: Keep): PeerPosition {
  const claims = new Map<AuthorStream, readonly VectorEntry[]>();
  const held = createVersionSet();
  const arriving = new Set<VersionSet>();
  let changes = 0;
  let saved = 0;
  let saving: Promise<void> = Promise.resolve();

  const claimed = (): readonly VectorEntry[] => [...claims.values()].flat();

  async function save(): Promise<void> {
    if (saved >= changes) return;
    const upTo = changes;
    await keep(claimed(), held.entries());
    saved = upTo;
  }

  function addEntries(entries: readonly VectorEntry[]): void {
    changes++;
    let room = VECTOR_ENTRIES_PER_PEER_MAX - claimed().length;
    for (const [main, claim] of byMain(entries)) {
      const before = claims.get(main) ?? [];
      if (isOlder(claim, before)) continue;
      room -= claim.length - before.length;
      if (room < 0) return;
      claims.set(main, claim);
    }
  }

  return {
    claimed,
    kept: () => [held, ...arriving].flatMap((set) => set.entries()),
    add: (ranges) => {
      changes++;
      for (const range of ranges) held.add(range);
    },
    addEntries,
    replace: (entries) => {
      held.clear();
      claims.clear();
      addEntries(entries);
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

/** In the order of their authors' first entries. */
export function byMain(entries: readonly VectorEntry[]): Map<AuthorStream, VectorEntry[]> {
  const groups = new Map<AuthorStream, VectorEntry[]>();
  for (const entry of entries) {
    const main = mainStream(entry);
    const group = groups.get(main);
    if (group === undefined) groups.set(main, [entry]);
    else group.push(entry);
  }
  return groups;
}

/**
 * Logs grow: of two claims in the wrong order the larger one is the later. Branches count first, for
 * a new one may cost what was held beyond a gap.
 */
const isOlder = (claim: readonly VectorEntry[], before: readonly VectorEntry[]): boolean =>
  claim.length === before.length
    ? versionsIn(claim) < versionsIn(before)
    : claim.length < before.length;

const versionsIn = (entries: readonly VectorEntry[]): number =>
  entries.reduce((sum, entry) => sum + countVersions(heldRanges(entry)), 0);
