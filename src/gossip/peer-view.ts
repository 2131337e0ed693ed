/**
 * Peer view: what one peer claims to hold, and where that differs from what we hold. Kept up to
 * date entry by entry, so that nobody ever compares two whole vectors to learn about one change.
 *
 * @module
 */

import { VECTOR_ENTRIES_PER_PEER_MAX } from "../protocol/limits.ts";
import type { VectorMessage } from "../protocol/messages.ts";
import {
  type AuthorStream,
  authorStream,
  countVersions,
  missingVersions,
  type VectorEntry,
  type VersionRange,
  type VersionVector,
} from "../protocol/version-vector.ts";
import { createDigestedVector } from "./digest.ts";

/** How one author's stream differs. Counts are of versions. */
interface Difference {
  readonly weLack: number;
  readonly itLacks: number;
  /** The same head version under two hashes. */
  readonly fork: boolean;
}

export interface PeerView {
  /** False until the peer's first vector, or a digest equal to ours. */
  readonly known: () => boolean;
  readonly claim: (message: VectorMessage) => void;
  /** The peer's digest is ours: it holds exactly what we hold. */
  readonly claimEqual: () => void;
  /** Call after `ours` changed under this key. */
  readonly oursChanged: (key: AuthorStream) => void;
  /** Of what the peer claims; costs one hash over it after a change. */
  readonly digest: () => string;
  /** Streams of which the peer claims something we lack. Those asked about last come last. */
  readonly lacking: () => Iterable<AuthorStream>;
  readonly askedAbout: (key: AuthorStream) => void;
  readonly missing: (key: AuthorStream) => readonly VersionRange[];
  readonly lacks: (key: AuthorStream) => number;
  readonly totals: () => { readonly weLack: number; readonly itLacks: number };
  /** Nothing is known to differ. */
  readonly same: () => boolean;
  readonly forks: () => readonly AuthorStream[];
}

const NOTHING: Difference = { weLack: 0, itLacks: 0, fork: false };

export function createPeerView(ours: VersionVector): PeerView {
  const theirs = createDigestedVector();
  const differences = new Map<AuthorStream, Difference>();
  const lacking = new Set<AuthorStream>();
  const forks = new Set<AuthorStream>();
  let known = false;
  let weLack = 0;
  let itLacks = 0;

  function compare(key: AuthorStream): void {
    const before = differences.get(key) ?? NOTHING;
    const after = differenceOf(ours.get(key), theirs.entries.get(key));
    weLack += after.weLack - before.weLack;
    itLacks += after.itLacks - before.itLacks;
    if (after === NOTHING) differences.delete(key);
    else differences.set(key, after);
    if (after.weLack === 0) lacking.delete(key);
    else lacking.add(key);
    if (after.fork) forks.add(key);
    else forks.delete(key);
  }

  function claim({ part, entries }: VectorMessage): void {
    known = true;
    if (part === "first") {
      const before = [...theirs.entries.keys()];
      theirs.replace([]);
      for (const key of before) compare(key);
      for (const key of ours.keys()) compare(key);
    }
    for (const entry of entries) {
      const key = authorStream(entry);
      const room = theirs.entries.size < VECTOR_ENTRIES_PER_PEER_MAX;
      if (!room && !theirs.entries.has(key)) continue;
      theirs.set(key, entry);
      compare(key);
    }
  }

  return {
    known: () => known,
    claim,
    claimEqual: () => {
      known = true;
      if (differences.size === 0 && theirs.entries.size === ours.size) return;
      theirs.replace(ours);
      for (const key of differences.keys()) compare(key);
    },
    oursChanged: (key) => {
      if (known) compare(key);
    },
    digest: theirs.digest,
    lacking: () => lacking,
    askedAbout: (key) => {
      if (lacking.delete(key)) lacking.add(key);
    },
    missing: (key) => {
      const entry = theirs.entries.get(key);
      return entry === undefined ? [] : missingVersions(ours.get(key), entry);
    },
    lacks: (key) => differences.get(key)?.weLack ?? 0,
    totals: () => ({ weLack, itLacks }),
    same: () => known && differences.size === 0,
    forks: () => [...forks],
  };
}

function differenceOf(ours: VectorEntry | undefined, theirs: VectorEntry | undefined): Difference {
  const weLack = theirs === undefined ? 0 : countVersions(missingVersions(ours, theirs));
  const itLacks = ours === undefined ? 0 : countVersions(missingVersions(theirs, ours));
  const fork =
    ours !== undefined &&
    theirs !== undefined &&
    ours.head > 0 &&
    ours.head === theirs.head &&
    ours.headHash !== theirs.headHash;
  return weLack === 0 && itLacks === 0 && !fork ? NOTHING : { weLack, itLacks, fork };
}
