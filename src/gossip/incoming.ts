/**
 * Incoming: the large changesets of which the store has the outline and lacks chunks. Their versions
 * are not asked for again; their chunks are, of everybody who claims to hold them (rule AE19).
 *
 * @module
 */

import type { HeaderHash } from "../protocol/ids.ts";
import { type AuthorStream, authorStream } from "../protocol/version-vector.ts";
import type { IncomingChangeset } from "../seams.ts";

export interface IncomingView {
  readonly update: (changed: readonly IncomingChangeset[]) => void;
  /** In the order in which they were first heard of. */
  readonly all: () => Iterable<IncomingChangeset>;
  readonly count: () => number;
}

export function createIncomingView(): IncomingView {
  const incoming = new Map<HeaderHash, IncomingChangeset>();
  return {
    update: (changed) => {
      for (const changeset of changed) {
        if (changeset.missing.length === 0) incoming.delete(changeset.headerHash);
        else incoming.set(changeset.headerHash, changeset);
      }
    },
    all: () => incoming.values(),
    count: () => incoming.size,
  };
}

/** Of the author's main chain: which branch it is of is not known before it is logged. */
export const chainOf = ({ site, stream }: IncomingChangeset): AuthorStream =>
  authorStream({ site, stream });
