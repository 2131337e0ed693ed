/**
 * Incoming: the large changesets of which the store has the outline and lacks chunks. Their versions
 * are not asked for again; their chunks are, of everybody who claims to hold them (rule AE19).
 *
 * The store has so many places for them. A peer brings another one only while it has brought no more
 * than are free after it, in places and in bytes: one peer alone takes half of them, two a third
 * each, and there is always one for who comes next (rule AE21).
 *
 * @module
 */

import type { HeaderHash, PeerId } from "../protocol/ids.ts";
import { INCOMING_BYTES_MAX, INCOMING_MAX } from "../protocol/limits.ts";
import {
  type AuthorStream,
  authorStream,
  type ChangesetRange,
} from "../protocol/version-vector.ts";
import type { IncomingChangeset } from "../seams.ts";

/** What places are taken for. */
interface Load {
  readonly places: number;
  readonly bytes: number;
}

export interface IncomingView {
  readonly update: (changed: readonly IncomingChangeset[]) => void;
  /** In the order in which they were first heard of. */
  readonly all: () => Iterable<IncomingChangeset>;
  readonly get: (headerHash: HeaderHash) => IncomingChangeset | undefined;
  readonly count: () => number;
  /** Whether this peer may bring these. Who has brought none may bring one: the store may have a place. */
  readonly mayBring: (peer: PeerId, load: Load) => boolean;
  /**
   * An outline of this one version, and so many bytes of payload, is on its way into the store.
   * @returns to be called with whether the store keeps it
   */
  readonly bring: (
    peer: PeerId,
    of: ChangesetRange,
    payloadBytes: number,
  ) => (isKept: boolean) => void;
  /** How often a place became free. */
  readonly freed: () => number;
}

export function createIncomingView(): IncomingView {
  const incoming = new Map<HeaderHash, IncomingChangeset>();
  /** Of those in `incoming`, unless they were here at the start. */
  const broughtBy = new Map<string, PeerId>();
  const arriving = new Set<{ readonly peer: PeerId; readonly bytes: number }>();
  let freed = 0;

  function remove(changeset: IncomingChangeset): void {
    if (!incoming.delete(changeset.headerHash)) return;
    broughtBy.delete(placeOf(changeset));
    freed += 1;
  }

  /** Of this peer, or of all. */
  function load(peer: PeerId | null): Load {
    let [places, bytes] = [0, 0];
    const add = (by: PeerId | undefined, more: number): void => {
      if (peer !== null && by !== peer) return;
      places += 1;
      bytes += more;
    };
    for (const each of arriving) add(each.peer, each.bytes);
    for (const each of incoming.values()) add(broughtBy.get(placeOf(each)), each.payloadBytes);
    return { places, bytes };
  }

  return {
    update: (changed) => {
      for (const changeset of changed) {
        if (changeset.missing.length === 0) remove(changeset);
        else incoming.set(changeset.headerHash, changeset);
      }
    },
    all: () => incoming.values(),
    get: (headerHash) => incoming.get(headerHash),
    count: () => incoming.size,
    mayBring: (peer, more) => {
      const brought = load(peer);
      if (brought.places === 0 && more.places === 1) return true;
      const all = load(null);
      return (
        brought.places + more.places <= INCOMING_MAX - all.places - more.places &&
        brought.bytes + more.bytes <= INCOMING_BYTES_MAX - all.bytes - more.bytes
      );
    },
    bring: (peer, of, bytes) => {
      const place = { peer, bytes };
      arriving.add(place);
      return (isKept) => {
        arriving.delete(place);
        if (isKept) broughtBy.set(placeOf({ ...of, version: of.first }), peer);
        else freed += 1;
      };
    },
    freed: () => freed,
  };
}

/** Of the author's main chain: which branch it is of is not known before it is logged. */
export const chainOf = ({
  site,
  stream,
}: Pick<IncomingChangeset, "site" | "stream">): AuthorStream => authorStream({ site, stream });

const placeOf = (of: Pick<IncomingChangeset, "site" | "stream" | "version">): string =>
  `${chainOf(of)}/${of.version}`;
