/**
 * What an outbound stream has still to carry: what is here and neither held at the other end, as far
 * as is known, nor sent before (rules T1, T3, T4, T16).
 *
 * @module
 */

import { VERSION_MAX } from "../protocol/limits.ts";
import {
  type AuthorStream,
  authorStream,
  type ChangesetRange,
  mainStream,
  subtractRanges,
  type VectorEntry,
  type VersionRange,
} from "../protocol/version-vector.ts";
import { byMain, type PeerPosition } from "./peer-position.ts";
import type { SentVersions } from "./sent-versions.ts";
import type { OutboundStreamOptions, StreamEnds } from "./streams.ts";
import { createVersionSet, heldRanges, NO_HASH, type VersionSet } from "./version-set.ts";

/** One outbound stream. */
export interface Sending {
  readonly ends: StreamEnds;
  readonly options: OutboundStreamOptions;
  readonly position: PeerPosition;
  readonly sent: SentVersions;
}

export interface LackingVersions {
  /** By author, our own first; each author's in an order in which none builds on a later one. */
  readonly authors: readonly (readonly ChangesetRange[])[];
  /** Authors with several chains: what the other end holds of them it tells itself. */
  readonly forked: ReadonlySet<AuthorStream>;
}

export async function lackingVersions(sending: Sending): Promise<LackingVersions> {
  const { ends, options } = sending;
  const here = byMain(await ends.store.vector());
  const { forked, known, own, isOwnAhead } = await knownVersions(sending, here);
  const ownKey = authorStream(own);
  const others = here.get(mainStream(own)) ?? [];
  here.delete(mainStream(own));
  const entriesOfOwn = [...others.filter((entry) => authorStream(entry) !== ownKey), own];
  const excluded = new Set(options.excludeSites);
  const ownSites = ends.ownSites();
  const authors: ChangesetRange[][] = [];
  for (const entries of [entriesOfOwn, ...here.values()]) {
    const ranges: ChangesetRange[] = [];
    for (const entry of entries.sort((a, b) => a.floor - b.floor)) {
      const { site, stream, branch } = entry;
      if (excluded.has(site) || (options.localOnly === true && !ownSites.includes(site))) continue;
      // Reading releases what nobody has yet. Somebody who holds more of our own log than we do has
      // to give it back first: our storage was rewound, and we would sign two contents under one
      // version.
      if (entry === own && isOwnAhead) continue;
      const name = branch === undefined ? { site, stream } : { site, stream, branch };
      const held = entry === own ? unreleased(own) : heldRanges(entry);
      for (const { first, last } of subtractRanges(held, known.get(authorStream(entry)))) {
        ranges.push({ ...name, first, last });
      }
    }
    if (ranges.length > 0) authors.push(ranges);
  }
  return { authors, forked };
}

const unreleased = ({ floor }: VectorEntry): readonly VersionRange[] => [
  { first: floor + 1, last: VERSION_MAX },
];

interface KnownVersions {
  readonly forked: ReadonlySet<AuthorStream>;
  /** What the other end holds or was sent, by the chains here. */
  readonly known: VersionSet;
  readonly own: VectorEntry;
  readonly isOwnAhead: boolean;
}

async function knownVersions(
  { ends, position, sent }: Sending,
  here: ReadonlyMap<AuthorStream, readonly VectorEntry[]>,
): Promise<KnownVersions> {
  const [self] = ends.ownSites();
  const claimed = position.claimed();
  const forked = new Set<AuthorStream>();
  for (const entry of [...[...here.values()].flat(), ...claimed]) {
    if (entry.branch !== undefined) forked.add(mainStream(entry));
  }
  const known = createVersionSet();
  /** Whether it takes the log to tell what of it is held there. */
  const isUnclear = (claim: VectorEntry): boolean => {
    if (forked.has(mainStream(claim))) return true;
    const [ours] = here.get(mainStream(claim)) ?? [];
    const isSame = claim.head === ours?.head && claim.headHash === ours.headHash;
    return claim.headHash !== NO_HASH && !isSame;
  };
  const asked: VectorEntry[] = [];
  for (const claim of claimed) {
    if (claim.site === self || isUnclear(claim)) asked.push(claim);
    else known.addEntry(claim);
  }
  const { held, own, isOwnAhead } = await ends.store.judge(asked, sent.heads(forked));
  // Of which nobody else knows yet.
  if (own.branch !== undefined) forked.add(mainStream(own));
  for (const range of held) known.add(range);
  for (const entry of [...position.kept(), ...sent.entries()]) {
    if (!forked.has(mainStream(entry))) known.addEntry(entry);
  }
  return { forked, known, own, isOwnAhead };
}
