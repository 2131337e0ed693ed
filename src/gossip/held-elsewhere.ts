/**
 * What of our own log others are known to hold: a peer's vector claims it. What a peer claimed once
 * counts when it has left, too.
 *
 * @module
 */

import type { SiteId } from "../protocol/ids.ts";
import { type AuthorStream, authorStream, type VectorEntry } from "../protocol/version-vector.ts";
import { chainsOf, type DigestedVector } from "./digest.ts";
import type { PeerView } from "./peer-view.ts";

/** By chain, up to which version; a chain that is absent is known to be nowhere else. */
export type HeldVersions = ReadonlyMap<AuthorStream, number>;

export interface HeldElsewhere {
  /** Call before a view goes, and before {@link HeldElsewhere.held} is to be current. */
  readonly look: (view: PeerView) => void;
  readonly held: () => HeldVersions;
  /** Own versions in `ours` that nobody is known to hold. */
  readonly unheld: () => number;
}

export function createHeldElsewhere(
  ownSites: readonly SiteId[],
  ours: DigestedVector,
  before: HeldVersions,
): HeldElsewhere {
  const held = new Map(before);
  const mains = ownSites.map((site) => authorStream({ site, stream: "data" }));

  /** Chains that nobody writes any more are done with at some time. */
  const unsettled = (): readonly VectorEntry[] =>
    mains
      .flatMap((main) => chainsOf(ours, main))
      .flatMap((key) => ours.entries.get(key) ?? [])
      .filter((entry) => unheldOf(entry, held) > 0);

  return {
    look: (view) => {
      for (const key of unsettled().map(authorStream)) {
        const version = view.holdsUpTo(key);
        if (version > (held.get(key) ?? 0)) held.set(key, version);
      }
    },
    held: () => held,
    unheld: () => unheldVersions(unsettled(), held),
  };
}

/** As {@link HeldElsewhere.unheld}, of these entries of our own. */
export const unheldVersions = (own: readonly VectorEntry[], held: HeldVersions): number =>
  own.reduce((sum, entry) => sum + unheldOf(entry, held), 0);

/** What lies beyond a gap of our own log came from somebody. */
const unheldOf = (entry: VectorEntry, held: HeldVersions): number =>
  Math.max(0, entry.head - Math.max(entry.floor, held.get(authorStream(entry)) ?? 0));
