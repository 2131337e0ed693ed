/**
 * Wants: what we asked one peer for, what came of it, and when to ask again or somebody else.
 *
 * At most {@link WANTS_ASKING_MAX} wants wait for one peer at a time. When it makes no progress
 * their ranges go to others; the wants stay known, so that a slow answer still counts, until
 * {@link WANTS_KNOWN_MAX} are unanswered: then the peer is not asked again on this link. A peer, or
 * one author of its vector, that did not yield what it claims is left alone for a while, longer
 * each time.
 *
 * Versions are asked for before chunks, and one want is always left for them. What is large comes as
 * an outline; from then on its chunks are asked for, of several peers at once.
 *
 * @module
 */

import { isMeshError, type MeshErrorCode } from "../protocol/errors.ts";
import type { PeerId, SiteId } from "../protocol/ids.ts";
import {
  CHUNK_BYTES,
  FRAME_BYTES_MAX,
  INCOMING_PER_AUTHOR_MAX,
  WANT_BYTES_MAX,
  WANT_CHUNKS_MAX,
  WANT_RANGES_MAX,
} from "../protocol/limits.ts";
import type { ChunkMessage, WantChunksMessage, WantMessage } from "../protocol/messages.ts";
import { chunkBytes } from "../protocol/outline.ts";
import {
  type AuthorStream,
  authorStream,
  type ChangesetRange,
  mainOf,
  streamOf,
  subtractRanges,
  type VersionRange,
} from "../protocol/version-vector.ts";
import type { IncomingChangeset, IngestItem, IngestOutcome } from "../seams.ts";
import { payloadBytesOfOutline, rangeOfOutline, rangeOfRun } from "./claimed-range.ts";
import { createBackoffs, longer, NO_BACKOFF } from "./backoff.ts";
import { firstChunks } from "./chunk-order.ts";
import { createChunkPace } from "./chunk-pace.ts";
import { chainOf, type IncomingView } from "./incoming.ts";
import { createPlaceQueue } from "./place-queue.ts";
import { type Intake, isTaken } from "./intake.ts";
import { createLeaseClock } from "./lease-clock.ts";
import type { LeaseKey, Leases } from "./leases.ts";
import type { PeerView } from "./peer-view.ts";
import type { Refusals } from "./refusals.ts";

const WANTS_ASKING_MAX = 2;
const WANTS_KNOWN_MAX = 4;
/** How often to look whether something became free to ask for. */
const RETRY_MS = 250;
/**
 * The last read of an answer ends beyond what was asked for, by one changeset; and of one read runs
 * are sent before outlines, also those that were read before them.
 */
const ANSWER_BYTES_MAX: number = WANT_BYTES_MAX + FRAME_BYTES_MAX;
/** Streams looked at for one want; the rest has its turn next time. */
const SCAN_MAX = 4 * WANT_RANGES_MAX;
/** Ranges of one author in one want: gaps beyond these wait for the next. */
const RANGES_PER_STREAM_MAX = 8;

/** Versions asked for at once where large ones follow one another: only some of the outlines are kept. */
const CROWDED_VERSIONS = 8;

interface Want {
  readonly ranges: readonly ChangesetRange[];
  readonly chunks: WantedChunks | null;
  readonly holder: number;
  readonly askedMs: number;
  /** What of it nothing came of. */
  readonly silent: Set<LeaseKey>;
  receivedBytes: number;
  ingesting: number;
  /** Something came that the store took. */
  gained: boolean;
  state: "asking" | "expired" | "served";
}

interface WantedChunks {
  readonly of: IncomingChangeset;
  /** The peer claims that version. Else it may have some of its chunks, as we do. */
  readonly isClaimed: boolean;
  left: readonly VersionRange[];
}

export interface WantsOptions {
  readonly peer: PeerId;
  /** Ours. */
  readonly site: SiteId;
  /** The peer's, once it has said so. */
  readonly peerSite: () => SiteId | null;
  /** As last measured: a want waits behind what we send. */
  readonly roundTripMs: () => number | null;
  readonly view: PeerView;
  readonly leases: Leases;
  readonly intake: Intake;
  readonly incoming: IncomingView;
  /** A number that no other lease has. */
  readonly nextHolder: () => number;
  readonly refusals: Refusals;
}

export interface Wants {
  /** The next want worth sending, its ranges leased; null when there is none now. */
  readonly next: (
    filter: (key: AuthorStream) => boolean,
    nowMs: number,
  ) => WantMessage | WantChunksMessage | null;
  readonly run: (want: number, bytes: Uint8Array, nowMs: number) => void;
  readonly outline: (want: number, bytes: Uint8Array, nowMs: number) => void;
  readonly chunk: (chunk: ChunkMessage, nowMs: number) => void;
  /** So many bytes of the peer's next frame have come: a chunk takes 8 s at 64 kbit/s. */
  readonly arriving: (bytes: number, nowMs: number) => void;
  /** Part of a frame is here, and something is asked for. */
  readonly isArriving: () => boolean;
  readonly served: (want: number, complete: boolean, nowMs: number) => void;
  /** Takes back what the peer holds leased without progress. */
  readonly expire: (nowMs: number) => void;
  readonly dueMs: () => number | null;
  /** When to look again for something to ask; null while nothing can be asked anyway. */
  readonly retryMs: () => number | null;
  /** The last time the peer was asked about this it had nothing to give. */
  readonly failed: (key: AuthorStream) => boolean;
  readonly close: () => void;
}

export function createWants(options: WantsOptions): Wants {
  const {
    peer,
    site,
    peerSite,
    roundTripMs,
    view,
    leases,
    intake,
    incoming,
    nextHolder,
    refusals,
  } = options;
  const refused = (code: MeshErrorCode) => refusals.refuse(peer, code);
  const wants = new Map<number, Want>();
  const backoffs = createBackoffs();
  /** Of chunks that the peer does not claim. */
  const sharedBackoffs = createBackoffs();
  /** Chains of which the last outline had to wait for those before it. */
  const crowded = new Set<AuthorStream>();
  const placeQueue = createPlaceQueue({ peer, view, incoming });
  let peerBackoff = NO_BACKOFF;
  let lastWant = 0;
  let lookedMs = 0;
  const chunkPace = createChunkPace();
  /** Of the oldest want. */
  const leaseClock = createLeaseClock(roundTripMs);

  const asking = () =>
    wants.size === 0 ? [] : [...wants.values()].filter(({ state }) => state === "asking");

  function next(
    filter: (key: AuthorStream) => boolean,
    nowMs: number,
  ): WantMessage | WantChunksMessage | null {
    lookedMs = nowMs;
    const outstanding = asking();
    if (outstanding.length >= WANTS_ASKING_MAX || wants.size >= WANTS_KNOWN_MAX) return null;
    if (peerBackoff.untilMs > nowMs || intake.hasEnough()) return null;
    const ranges = view.totals().weLack === 0 ? [] : freeRanges(filter, nowMs);
    if (ranges.length > 0) {
      const leased = ranges.map((range) => ({ key: authorStream(range), range }));
      const want = ask({ ranges, chunks: null }, leased, nowMs);
      return { type: "want", want, bytesMax: WANT_BYTES_MAX, ranges };
    }
    // Not faster than they are kept: what is in memory is lost with the process.
    const isAsked = outstanding.some(({ chunks }) => chunks !== null);
    if (isAsked || intake.bytes() >= WANT_CHUNKS_MAX * CHUNK_BYTES) return null;
    const chunks = freeChunks(filter, nowMs);
    if (chunks === null) return null;
    const { stream, version, headerHash } = chunks.of;
    const leased = chunks.left.map((range) => ({ key: headerHash, range }));
    const want = ask({ ranges: [], chunks }, leased, nowMs);
    const of = { site: chunks.of.site, stream, version, headerHash };
    return { type: "wantChunks", want, ...of, chunks: chunks.left };
  }

  function ask(
    wanted: Pick<Want, "ranges" | "chunks">,
    leased: readonly { readonly key: LeaseKey; readonly range: VersionRange }[],
    nowMs: number,
  ): number {
    if (asking().length === 0) leaseClock.begin(nowMs);
    const holder = nextHolder();
    for (const { key, range } of leased) leases.take(holder, key, range);
    lastWant += 1;
    wants.set(lastWant, {
      ...wanted,
      holder,
      askedMs: nowMs,
      silent: new Set(leased.map(({ key }) => key)),
      receivedBytes: 0,
      ingesting: 0,
      gained: false,
      state: "asking",
    });
    return lastWant;
  }

  function freeRanges(filter: (key: AuthorStream) => boolean, nowMs: number): ChangesetRange[] {
    const ranges: ChangesetRange[] = [];
    const skipped: AuthorStream[] = [];
    const awake = placeQueue.awake(nowMs);
    let scanned = 0;
    for (const key of view.lacking()) {
      if (scanned++ >= SCAN_MAX || ranges.length >= WANT_RANGES_MAX) break;
      skipped.push(key);
      if (backoffs.isOff(key, nowMs) || !filter(key)) continue;
      if (placeQueue.has(key) && !awake.has(key)) continue;
      const missing = withoutIncoming(key, view.missing(key));
      const free = leases.free(key, missing);
      // Somebody else is bringing what the rest has to follow.
      if (view.isWalkingBack(key) && free[0]?.first !== missing[0]?.first) continue;
      const room = Math.min(RANGES_PER_STREAM_MAX, WANT_RANGES_MAX - ranges.length);
      for (const range of free.slice(0, room)) ranges.push({ ...streamOf(key), ...range });
    }
    for (const key of skipped) view.askedAbout(key);
    return ranges;
  }

  /** Of what is half here chunks are asked for; who had none may have another under that version. */
  function withoutIncoming(
    key: AuthorStream,
    ranges: readonly VersionRange[],
  ): readonly VersionRange[] {
    const versions = fetching(key);
    const [lowest] = ranges;
    // Of an author with branches nothing is kept beyond a gap.
    const room = view.isForked(key) ? 1 : INCOMING_PER_AUTHOR_MAX;
    const isFull = versions.length >= room;
    let last = isFull ? Math.max(...versions) : Number.POSITIVE_INFINITY;
    if (crowded.has(key)) last = Math.min(last, (lowest?.first ?? 0) + CROWDED_VERSIONS - 1);
    const near = ranges
      .filter(({ first }) => first <= last)
      .map((range) => ({ first: range.first, last: Math.min(range.last, last) }));
    let rest: readonly VersionRange[] = near;
    for (const version of versions)
      rest = subtractRanges(rest, [{ first: version, last: version }]);
    return rest;
  }

  /** What it follows is on its way here, or is asked for further back. */
  const mayFollow = (key: AuthorStream, range: ChangesetRange): boolean =>
    fetching(key).some((version) => version < range.first) || view.walkBack(range);

  /** Versions of which chunks are asked for of this peer. */
  function fetching(key: AuthorStream): readonly number[] {
    const main = mainOf(key);
    const versions: number[] = [];
    for (const changeset of incoming.all()) {
      const { headerHash, version } = changeset;
      if (chainOf(changeset) !== main || backoffs.hasFailed(headerHash)) continue;
      if (view.claims(main, version)) versions.push(version);
    }
    return versions;
  }

  const failed = ({ headerHash }: IncomingChangeset) => Number(backoffs.hasFailed(headerHash));

  function freeChunks(filter: (key: AuthorStream) => boolean, nowMs: number): WantedChunks | null {
    // What nobody has any more, after a restored backup, may not keep the rest waiting.
    for (const changeset of [...incoming.all()].sort((a, b) => failed(a) - failed(b))) {
      const { headerHash, version, missing } = changeset;
      const chain = chainOf(changeset);
      const isClaimed = view.claims(chain, version);
      const isOff = backoffsOf({ isClaimed }).isOff(headerHash, nowMs);
      if (isOff || !filter(chain)) continue;
      const order = isClaimed ? site : fetchingSite();
      if (order === null) continue;
      const free = leases.free(headerHash, missing);
      const left = firstChunks(order, headerHash, free, chunkPace.atOnce());
      if (left.length > 0) return { of: changeset, isClaimed, left };
    }
    return null;
  }

  const backoffsOf = ({ isClaimed }: Pick<WantedChunks, "isClaimed">) =>
    isClaimed ? backoffs : sharedBackoffs;

  /** Of a peer that is likely to fetch what it lacks, as we do. */
  const fetchingSite = (): SiteId | null => (view.known() ? peerSite() : null);

  /** Slow is not failed: what is half here of that author, the peer claims to hold. */
  function mayBringChunks(key: AuthorStream): boolean {
    const main = mainOf(key);
    for (const changeset of incoming.all()) {
      if (chainOf(changeset) === main && view.claims(main, changeset.version)) return true;
    }
    return false;
  }

  /** The want that asked for these versions, or null after saying why not. */
  function wantFor(
    id: number,
    bytes: Uint8Array,
    rangeOf: (bytes: Uint8Array) => ChangesetRange,
  ): { want: Want; range: ChangesetRange } | null {
    const want = wants.get(id);
    try {
      const range = rangeOf(bytes);
      const asked = want?.ranges.some(
        (wanted) =>
          authorStream(wanted) === authorStream(range) &&
          wanted.first <= range.first &&
          range.last <= wanted.last,
      );
      if (want !== undefined && asked === true && want.receivedBytes < ANSWER_BYTES_MAX) {
        return { want, range };
      }
      refused("ERR_UNASKED");
    } catch (error) {
      if (!isMeshError(error)) throw error;
      refused(error.code);
    }
    return null;
  }

  function progress(want: Want, bytes: number, nowMs: number): void {
    want.receivedBytes += bytes;
    leaseClock.progress(bytes, nowMs);
  }

  function receive(id: number, type: "run" | "outline", bytes: Uint8Array, nowMs: number): void {
    const found = wantFor(id, bytes, type === "run" ? rangeOfRun : rangeOfOutline);
    if (found === null) return;
    const { want, range } = found;
    progress(want, bytes.length, nowMs);
    if (!intake.hasRoom(bytes.length)) return refused("ERR_BUSY");
    const key = authorStream(range);
    placeQueue.delete(key);
    const payloadBytes = type === "outline" ? payloadBytesOfOutline(bytes) : 0;
    if (type === "outline" && !placeQueue.mayBring(payloadBytes, nowMs)) {
      return putOff(want, key, payloadBytes, nowMs);
    }
    const brought = type === "outline" ? incoming.bring(peer, range, payloadBytes) : null;
    submit(want, { type, bytes }, key, range, (holder, outcomes, doneMs) => {
      brought?.(outcomes[0]?.verdict === "incomplete");
      const taken = outcomes.length > 0 && outcomes.every(isTaken);
      const isNews = outcomes.some(({ verdict }) => verdict !== "known");
      if (taken) {
        leases.settle(holder, doneMs);
        view.gained(range);
        if (type === "run") crowded.delete(key);
        if (isNews || (type === "run" && !view.isForked(key))) backoffs.forgive(key);
        else backoffs.fail(key, doneMs);
      } else if (outcomes[0]?.code === "ERR_UNKNOWN_PREDECESSOR" && mayFollow(key, range)) {
        leases.release(holder);
        want.gained = true;
      } else if (type === "outline" && outcomes[0]?.code === "ERR_BUSY") {
        leases.release(holder);
        // Once for all of one answer; not at all while those before it are on their way.
        crowded.add(key);
        const isNext = fetching(key).length >= INCOMING_PER_AUTHOR_MAX;
        if (!isNext && !backoffs.isOff(key, doneMs)) backoffs.fail(key, doneMs);
      } else {
        leases.release(holder);
        backoffs.fail(key, doneMs);
      }
    });
  }

  /** No place for the outline now, and nobody's fault. */
  function putOff(want: Want, key: AuthorStream, payloadBytes: number, nowMs: number): void {
    want.silent.delete(key);
    want.gained = true;
    crowded.add(key);
    placeQueue.add(key, payloadBytes, nowMs);
  }

  function chunk({ want: id, index, bytes }: ChunkMessage, nowMs: number): void {
    const want = wants.get(id);
    const wanted = want?.chunks ?? null;
    const isAsked = wanted?.left.some(({ first, last }) => first <= index && index <= last);
    if (want === undefined || wanted === null || isAsked !== true) return refused("ERR_UNASKED");
    const { headerHash, payloadBytes } = wanted.of;
    if (bytes.length !== chunkBytes(payloadBytes, index)) return refused("ERR_NOT_CANONICAL");
    const range = { first: index, last: index };
    wanted.left = subtractRanges(wanted.left, [range]);
    progress(want, bytes.length, nowMs);
    if (!intake.hasRoom(bytes.length)) return refused("ERR_BUSY");
    const item = { type: "chunk", headerHash, index, bytes } as const;
    submit(want, item, headerHash, range, (holder, outcomes, doneMs) => {
      if (outcomes.length > 0 && outcomes.every(isTaken)) {
        leases.settle(holder, doneMs);
        backoffsOf(wanted).forgive(headerHash);
      } else {
        leases.release(holder);
        backoffsOf(wanted).fail(headerHash, doneMs);
      }
    });
  }

  /** Into the store, leased meanwhile. */
  function submit(
    want: Want,
    item: IngestItem,
    key: LeaseKey,
    range: VersionRange,
    judge: (holder: number, outcomes: readonly IngestOutcome[], doneMs: number) => void,
  ): void {
    const holder = nextHolder();
    leases.take(holder, key, range);
    want.silent.delete(key);
    want.ingesting += 1;
    intake.submit(item, (outcomes, doneMs) => {
      want.ingesting -= 1;
      judge(holder, outcomes, doneMs);
      want.gained ||= outcomes.some(isTaken);
      refusals.outcomes(peer, outcomes);
      settle(want, doneMs);
    });
  }

  function served(id: number, complete: boolean, nowMs: number): void {
    const want = wants.get(id);
    if (want === undefined || want.state === "served") return refused("ERR_UNASKED");
    leases.release(want.holder);
    const nothing = want.receivedBytes === 0;
    if (want.chunks?.isClaimed === false) shared(want, want.chunks, nowMs);
    else if (complete || nothing) silence(want, nowMs);
    if (want.chunks !== null) chunkPace.took(nowMs - want.askedMs);
    // It claims that version; which changeset has it there, it has not said.
    want.gained ||= complete && want.chunks !== null;
    want.state = "served";
    wants.delete(id);
    leaseClock.begin(nowMs);
    settle(want, nowMs);
  }

  /** A neighbour that fetches as we do gave what it has; it may have more a little later. */
  function shared(want: Want, { of, left }: WantedChunks, nowMs: number): void {
    if (left.length > 0) sharedBackoffs.fail(of.headerHash, nowMs);
    want.gained = true;
  }

  function silence({ silent, chunks }: Want, nowMs: number): void {
    const failing = chunks === null ? backoffs : backoffsOf(chunks);
    const isNew = chunks !== null && !backoffs.hasFailed(chunks.of.headerHash);
    for (const key of silent) failing.fail(key, nowMs);
    // Its versions are looked at again: the peer may have others.
    if (isNew && chunks.isClaimed && silent.size > 0) backoffs.fail(chainOf(chunks.of), nowMs);
  }

  /** Judges the peer by a want that is answered and ingested. */
  function settle(want: Want, nowMs: number): void {
    if (want.state !== "served" || want.ingesting > 0) return;
    peerBackoff = want.gained ? NO_BACKOFF : longer(peerBackoff, nowMs);
  }

  function expire(nowMs: number): void {
    if (asking().length > 0 && nowMs >= leaseClock.deadlineMs()) letGo(nowMs);
  }

  /** What is asked now may be asked of others; a late answer still counts. */
  function letGo(nowMs: number): void {
    for (const want of asking()) {
      want.state = "expired";
      leases.release(want.holder);
      silence(want, nowMs);
    }
    peerBackoff = longer(peerBackoff, nowMs);
  }

  return {
    next,
    run: (id, bytes, nowMs) => receive(id, "run", bytes, nowMs),
    outline: (id, bytes, nowMs) => receive(id, "outline", bytes, nowMs),
    chunk,
    arriving: leaseClock.arriving,
    isArriving: () => leaseClock.isArriving() && asking().length > 0,
    served,
    expire,
    dueMs: () => (asking().length === 0 ? null : Math.ceil(leaseClock.deadlineMs())),
    retryMs: () =>
      wants.size >= WANTS_KNOWN_MAX ? null : Math.max(lookedMs + RETRY_MS, peerBackoff.untilMs),
    failed: (key) => backoffs.hasFailed(key) && !mayBringChunks(key),
    close: () => {
      for (const want of wants.values()) leases.release(want.holder);
      wants.clear();
    },
  };
}
