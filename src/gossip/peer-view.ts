/**
 * Peer view: what one peer claims to hold, and where that differs from what we hold. Kept up to
 * date entry by entry, so that nobody ever compares two whole vectors to learn about one change.
 *
 * A fork shows in three ways: one head version under two hashes; a branch that we do not have; a run
 * that does not follow what we hold. Then versions that we hold are asked for again, further and
 * further back, until a run follows something that both hold (rule AE11).
 *
 * @module
 */

import { NEW_AUTHORS_CLAIMED_MAX, VECTOR_ENTRIES_PER_PEER_MAX } from "../protocol/limits.ts";
import type { SiteId } from "../protocol/ids.ts";
import type { VectorMessage } from "../protocol/messages.ts";
import {
  type AuthorStream,
  authorStream,
  type ChangesetRange,
  countVersions,
  mainOf,
  missingVersions,
  streamOf,
  type VersionRange,
} from "../protocol/version-vector.ts";
import { chainsOf, createDigestedVector, type DigestedVector } from "./digest.ts";

/** How one author's stream differs. Counts are of versions. */
interface Difference {
  readonly weLack: number;
  readonly itLacks: number;
  /** Chains of one key that are not the same, although neither may lack a version. */
  readonly fork: boolean;
}

/** As `PeerView.totals`, of one author. */
export interface AuthorDifference {
  readonly site: SiteId;
  readonly weLack: number;
  readonly itLacks: number;
}

export interface PeerView {
  /** False until the peer's first vector, or a digest equal to ours. */
  readonly known: () => boolean;
  /** @returns how many entries had to be looked at for it */
  readonly claim: (message: VectorMessage) => number;
  /** Not all of its claims fitted: what its digest says of them is unknown. */
  readonly isPartial: () => boolean;
  /** The peer's digest is ours: it holds exactly what we hold. */
  readonly claimEqual: () => void;
  /** Call after `ours` changed under these keys. */
  readonly oursChanged: (keys: readonly AuthorStream[]) => void;
  /** Of what the peer claims; costs one hash over it after a change. */
  readonly digest: () => string;
  /** Streams of which the peer claims something we lack. Those asked about last come last. */
  readonly lacking: () => ReadonlySet<AuthorStream>;
  /** Of these, the chains of one author. */
  readonly lackingOf: (key: AuthorStream) => readonly AuthorStream[];
  /** Runs of this range were taken: what was asked for again is there. */
  readonly gained: (range: ChangesetRange) => void;
  /** A run of this range follows nothing we hold. @returns whether to ask from further back */
  readonly walkBack: (range: ChangesetRange) => boolean;
  /** Versions that we hold are asked for again, to find what their runs follow. */
  readonly isWalkingBack: (key: AuthorStream) => boolean;
  /** Whether either of us has branches of this key's author. */
  readonly isForked: (key: AuthorStream) => boolean;
  readonly askedAbout: (key: AuthorStream) => void;
  readonly missing: (key: AuthorStream) => readonly VersionRange[];
  /** The digests differ still, although all claims are known: looks for forks once more. */
  readonly recheck: () => void;
  /** Whether the peer claims this version, on the main chain that the key names or a branch of it. */
  readonly claims: (key: AuthorStream, version: number) => boolean;
  readonly lacks: (key: AuthorStream) => number;
  readonly totals: () => { readonly weLack: number; readonly itLacks: number };
  /** The same by author, those with most first; looks at `streamsMax` streams at most. */
  readonly byAuthor: (streamsMax: number, authorsMax: number) => readonly AuthorDifference[];
  /** Up to which version it claims all we hold of that chain; 0 where it shows a fork, or nothing yet. */
  readonly holdsUpTo: (key: AuthorStream) => number;
  /** Nothing is known to differ. */
  readonly same: () => boolean;
  readonly forks: () => ReadonlySet<AuthorStream>;
}

const NOTHING: Difference = { weLack: 0, itLacks: 0, fork: false };

/** Whether the version is on one of the author's chains. */
export const holdsVersion = (vector: DigestedVector, key: AuthorStream, version: number): boolean =>
  chainsOf(vector, key).some((each) => {
    const entry = vector.entries.get(each);
    if (entry === undefined || version <= entry.floor) return false;
    const isBeyond = entry.beyond.some(({ first, last }) => first <= version && version <= last);
    return version <= entry.head || isBeyond;
  });

export function createPeerView(ours: DigestedVector): PeerView {
  const theirs = createDigestedVector();
  const differences = new Map<AuthorStream, Difference>();
  const lacking = new Set<AuthorStream>();
  const forks = new Set<AuthorStream>();
  /** From which version on versions are asked for whether we hold them or not. */
  const again = new Map<AuthorStream, { readonly first: number; readonly step: number }>();
  /** Claimed chains of which we hold nothing. */
  const news = new Set<AuthorStream>();
  let isPartial = false;
  let known = false;
  let weLack = 0;
  let itLacks = 0;

  function compare(key: AuthorStream): void {
    const before = differences.get(key) ?? NOTHING;
    const after = differenceOf(key);
    weLack += after.weLack - before.weLack;
    itLacks += after.itLacks - before.itLacks;
    if (after === NOTHING) differences.delete(key);
    else differences.set(key, after);
    if (after.weLack === 0) lacking.delete(key);
    else lacking.add(key);
    if (after.fork) forks.add(key);
    else forks.delete(key);
  }

  const isForked = (key: AuthorStream): boolean => {
    const main = mainOf(key);
    return ours.branches.has(main) || theirs.branches.has(main);
  };

  function missing(key: AuthorStream): readonly VersionRange[] {
    const entry = theirs.entries.get(key);
    if (entry === undefined) return [];
    const isHeld = isForked(key) && entry.beyond.length === 0 && ours.holdsHead(entry);
    if (isHeld) return [];
    const lacked = missingVersions(ours.entries.get(key), entry);
    const { first = entry.head + 1 } = again.get(key) ?? {};
    if (first > entry.head) return lacked;
    const rest = lacked.filter(({ first: from }) => from > entry.head);
    return [{ first: Math.min(first, lacked[0]?.first ?? first), last: entry.head }, ...rest];
  }

  function differenceOf(key: AuthorStream): Difference {
    const our = ours.entries.get(key);
    const their = theirs.entries.get(key);
    const isOther = our?.head !== their?.head || our?.headHash !== their?.headHash;
    const isSameVersion = our !== undefined && our.head > 0 && our.head === their?.head;
    const fork = isOther && (isSameVersion || isForked(key));
    const lacked = countVersions(missing(key));
    const isTheirs = our === undefined || (isForked(key) && theirs.holdsHead(our));
    const more = isTheirs ? 0 : countVersions(missingVersions(their, our));
    const isNothing = lacked === 0 && more === 0 && !fork;
    return isNothing ? NOTHING : { weLack: lacked, itLacks: more, fork };
  }

  /** Where a claim shows a fork, what we hold of that chain may be of another one. */
  function suspect(keys: Iterable<AuthorStream>): void {
    const floorsByMain = new Map<AuthorStream, number[]>();
    for (const key of keys) {
      const our = ours.entries.get(key);
      const entry = theirs.entries.get(key);
      if (entry === undefined) continue;
      if (our?.head === entry.head && our.headHash !== entry.headHash) askFrom(key, entry.head);
      if (entry.branch === undefined || our !== undefined) continue;
      const floors = floorsByMain.get(mainOf(key)) ?? [];
      floorsByMain.set(mainOf(key), floors);
      floors.push(entry.floor);
    }
    for (const [main, floors] of floorsByMain) suspectBeside(main, floors);
  }

  /** Branches that we do not have leave their chains after these versions; which chains, only the log tells. */
  function suspectBeside(main: AuthorStream, floors: number[]): void {
    floors.sort((a, b) => a - b);
    const beside = [...chainsOf(theirs, main)]
      .flatMap((key) => theirs.entries.get(key) ?? [])
      .filter((entry) => ours.entries.has(authorStream(entry)))
      .sort((a, b) => a.floor - b.floor);
    let at = 0;
    for (const entry of beside) {
      while (at < floors.length && (floors[at] as number) < entry.floor) at++;
      const lowest = floors[at];
      if (lowest !== undefined && lowest < entry.head) askFrom(authorStream(entry), lowest + 1);
    }
  }

  function askFrom(key: AuthorStream, first: number): void {
    const before = again.get(key);
    if (before === undefined || before.first > first) again.set(key, { first, step: 1 });
  }

  function claim({ part, entries }: VectorMessage): number {
    let looked = entries.length;
    known = true;
    if (part === "first") {
      looked += theirs.entries.size + ours.entries.size;
      const before = [...theirs.entries.keys()];
      theirs.replace([]);
      news.clear();
      isPartial = false;
      for (const key of before) compare(key);
      for (const key of ours.entries.keys()) compare(key);
    }
    const keys: AuthorStream[] = [];
    for (const entry of entries) {
      const key = authorStream(entry);
      if (!hasRoom(key)) {
        isPartial = true;
        continue;
      }
      theirs.set(key, entry);
      keys.push(key);
    }
    // Branches tell about the chains beside them: only when all are there.
    suspect(keys);
    return looked + compareAll(keys, ours);
  }

  /** Whatever anybody claims, it costs us little more than what we hold. */
  function hasRoom(key: AuthorStream): boolean {
    if (theirs.entries.has(key)) return true;
    if (theirs.entries.size >= VECTOR_ENTRIES_PER_PEER_MAX) return false;
    if (ours.entries.has(key)) return true;
    if (news.size >= NEW_AUTHORS_CLAIMED_MAX) return false;
    news.add(key);
    return true;
  }

  /**
   * Of an author with branches a claim may change what it lacks of any chain of ours, and a change
   * of ours what we lack of any of its chains: these are compared too, once each.
   * @returns how many
   */
  function compareAll(keys: Iterable<AuthorStream>, beside: DigestedVector): number {
    const mains = new Set<AuthorStream>();
    const compared = new Set<AuthorStream>();
    for (const key of keys) {
      compared.add(key);
      if (isForked(key)) mains.add(mainOf(key));
    }
    for (const main of mains) for (const key of chainsOf(beside, main)) compared.add(key);
    for (const key of compared) compare(key);
    return compared.size;
  }

  function byAuthor(streamsMax: number, authorsMax: number): readonly AuthorDifference[] {
    const bySite = new Map<SiteId, AuthorDifference>();
    let left = streamsMax;
    for (const [key, difference] of differences) {
      if (left-- <= 0) break;
      if (difference.weLack + difference.itLacks === 0) continue;
      const { site } = streamOf(key);
      const before = bySite.get(site) ?? NOTHING;
      bySite.set(site, {
        site,
        weLack: before.weLack + difference.weLack,
        itLacks: before.itLacks + difference.itLacks,
      });
    }
    return [...bySite.values()]
      .sort((a, b) => b.weLack + b.itLacks - a.weLack - a.itLacks)
      .slice(0, authorsMax);
  }

  return {
    known: () => known,
    claim,
    isPartial: () => isPartial,
    claimEqual: () => {
      known = true;
      isPartial = false;
      news.clear();
      if (differences.size === 0 && theirs.entries.size === ours.entries.size) return;
      theirs.replace(ours.entries);
      again.clear();
      for (const key of differences.keys()) compare(key);
    },
    oursChanged: (keys) => {
      for (const key of keys) news.delete(key);
      if (known) compareAll(keys, theirs);
    },
    digest: theirs.digest,
    lacking: () => lacking,
    lackingOf: (key) => chainsOf(theirs, key).filter((each) => lacking.has(each)),
    askedAbout: (key) => {
      if (lacking.delete(key)) lacking.add(key);
    },
    gained: (range) => {
      const key = authorStream(range);
      const asked = again.get(key);
      if (asked === undefined || range.first > asked.first || range.last < asked.first) return;
      const isWhole = range.last >= (theirs.entries.get(key)?.head ?? 0);
      if (isWhole) again.delete(key);
      else again.set(key, { ...asked, first: range.last + 1 });
      compare(key);
    },
    walkBack: (range) => {
      const key = authorStream(range);
      const { first, step } = again.get(key) ?? { first: range.first, step: 1 };
      const { floor = 0, head = 0 } = theirs.entries.get(key) ?? {};
      const next = Math.max(floor + 1, Math.min(first, range.first) - step);
      // What it holds beyond a gap, it cannot say what that follows.
      if (next >= range.first || next > head) return false;
      again.set(key, { first: next, step: 2 * step });
      compare(key);
      return true;
    },
    isWalkingBack: (key) => again.has(key),
    isForked,
    recheck: () => {
      if (weLack > 0) return;
      suspect(forks);
      compareAll([...again.keys()], theirs);
    },
    missing,
    claims: (key, version) => holdsVersion(theirs, key, version),
    lacks: (key) => differences.get(key)?.weLack ?? 0,
    totals: () => ({ weLack, itLacks }),
    byAuthor,
    holdsUpTo: (key) => {
      const { itLacks: lacked, fork } = differences.get(key) ?? NOTHING;
      return known && !fork ? (ours.entries.get(key)?.head ?? 0) - lacked : 0;
    },
    same: () => known && differences.size === 0,
    forks: () => forks,
  };
}
