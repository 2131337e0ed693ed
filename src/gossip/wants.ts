/**
 * Wants: what we asked one peer for, what came of it, and when to ask again or somebody else.
 *
 * At most {@link WANTS_ASKING_MAX} wants wait for one peer at a time. When it makes no progress
 * their ranges go to others; the wants stay known, so that a slow answer still counts, until
 * {@link WANTS_KNOWN_MAX} are unanswered: then the peer is not asked again on this link. A peer, or
 * one author of its vector, that did not yield what it claims is left alone for a while, longer
 * each time.
 *
 * @module
 */

import { isMeshError, type MeshErrorCode } from "../protocol/errors.ts";
import type { PeerId } from "../protocol/ids.ts";
import { WANT_BYTES_MAX, WANT_RANGES_MAX } from "../protocol/limits.ts";
import type { PartMessage, WantMessage } from "../protocol/messages.ts";
import {
  type AuthorStream,
  authorStream,
  type ChangesetRange,
  streamOf,
} from "../protocol/version-vector.ts";
import { type Intake, isTaken } from "./intake.ts";
import type { Leases } from "./leases.ts";
import type { PeerView } from "./peer-view.ts";
import type { Refusals } from "./refusals.ts";
import { addPart, type PartialRun, rangeOfRun, wholeRun } from "./run-parts.ts";

const WANTS_ASKING_MAX = 2;
const WANTS_KNOWN_MAX = 4;
/** A peer that sends nothing for this long lets go of what it was asked for. */
const LEASE_MS = 5_000;
/** Progress slower than 8 bytes a millisecond (64 kbit/s) counts as none. */
const LEASE_BYTES_PER_MS = 8;
const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 60_000;
/** How often to look whether something became free to ask for. */
const RETRY_MS = 250;
/** Streams looked at for one want; the rest has its turn next time. */
const SCAN_MAX = 4 * WANT_RANGES_MAX;
/** Ranges of one author in one want: gaps beyond these wait for the next. */
const RANGES_PER_STREAM_MAX = 8;

interface Want {
  readonly ranges: readonly ChangesetRange[];
  readonly holder: number;
  readonly silent: Set<AuthorStream>;
  receivedBytes: number;
  ingesting: number;
  /** Something came that the store took. */
  gained: boolean;
  state: "asking" | "expired" | "served";
}

interface Backoff {
  readonly failures: number;
  readonly untilMs: number;
}

export interface WantsOptions {
  readonly peer: PeerId;
  readonly view: PeerView;
  readonly leases: Leases;
  readonly intake: Intake;
  /** A number that no other lease has. */
  readonly nextHolder: () => number;
  readonly refusals: Refusals;
}

export interface Wants {
  /** The next want worth sending, its ranges leased; null when there is none now. */
  readonly next: (filter: (key: AuthorStream) => boolean, nowMs: number) => WantMessage | null;
  readonly run: (want: number, bytes: Uint8Array, nowMs: number) => void;
  readonly part: (part: PartMessage, nowMs: number) => void;
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
  const { peer, view, leases, intake, nextHolder, refusals } = options;
  const refused = (code: MeshErrorCode) => refusals.refuse(peer, code);
  const wants = new Map<number, Want>();
  const backoffByKey = new Map<AuthorStream, Backoff>();
  let peerBackoff: Backoff = { failures: 0, untilMs: 0 };
  let lastWant = 0;
  let lookedMs = 0;
  let partial: PartialRun | null = null;
  /** Since when, and with how many bytes, the oldest want is being answered. */
  let turn = { sinceMs: 0, progressMs: 0, bytes: 0 };

  const asking = () =>
    wants.size === 0 ? [] : [...wants.values()].filter(({ state }) => state === "asking");

  const backedOff = (key: AuthorStream, nowMs: number) =>
    (backoffByKey.get(key)?.untilMs ?? 0) > nowMs;

  function backOff(key: AuthorStream, nowMs: number): void {
    backoffByKey.set(key, longer(backoffByKey.get(key), nowMs));
  }

  function next(filter: (key: AuthorStream) => boolean, nowMs: number): WantMessage | null {
    lookedMs = nowMs;
    if (view.totals().weLack === 0) return null;
    const outstanding = asking().length;
    if (outstanding >= WANTS_ASKING_MAX || wants.size >= WANTS_KNOWN_MAX) return null;
    if (peerBackoff.untilMs > nowMs || intake.hasEnough()) return null;
    const ranges = freeRanges(filter, nowMs);
    if (ranges.length === 0) return null;
    lastWant += 1;
    const holder = nextHolder();
    const silent = new Set<AuthorStream>();
    for (const range of ranges) {
      leases.take(holder, range);
      silent.add(authorStream(range));
    }
    if (outstanding === 0) turn = { sinceMs: nowMs, progressMs: nowMs, bytes: 0 };
    const want: Want = {
      ranges,
      holder,
      silent,
      receivedBytes: 0,
      ingesting: 0,
      gained: false,
      state: "asking",
    };
    wants.set(lastWant, want);
    return { type: "want", want: lastWant, bytesMax: WANT_BYTES_MAX, ranges };
  }

  function freeRanges(filter: (key: AuthorStream) => boolean, nowMs: number): ChangesetRange[] {
    const ranges: ChangesetRange[] = [];
    const skipped: AuthorStream[] = [];
    let scanned = 0;
    for (const key of view.lacking()) {
      if (scanned++ >= SCAN_MAX || ranges.length >= WANT_RANGES_MAX) break;
      skipped.push(key);
      if (backedOff(key, nowMs) || !filter(key)) continue;
      const free = leases.free(key, view.missing(key));
      const room = Math.min(RANGES_PER_STREAM_MAX, WANT_RANGES_MAX - ranges.length);
      for (const range of free.slice(0, room)) ranges.push({ ...streamOf(key), ...range });
    }
    for (const key of skipped) view.askedAbout(key);
    return ranges;
  }

  /** The want that asked for these versions, or null after saying why not. */
  function wantFor(id: number, prefix: Uint8Array): { want: Want; range: ChangesetRange } | null {
    const want = wants.get(id);
    try {
      const range = rangeOfRun(prefix);
      const asked = want?.ranges.some(
        (wanted) =>
          authorStream(wanted) === authorStream(range) &&
          wanted.first <= range.first &&
          range.last <= wanted.last,
      );
      if (want !== undefined && asked === true && want.receivedBytes < WANT_BYTES_MAX) {
        return { want, range };
      }
      refused("ERR_UNASKED");
    } catch (error) {
      if (!isMeshError(error)) throw error;
      refused(error.code);
    }
    return null;
  }

  function progress(bytes: number, nowMs: number): void {
    turn.bytes += bytes;
    turn.progressMs = nowMs;
  }

  /** @returns whether it was asked for */
  function receive(id: number, bytes: Uint8Array): boolean {
    const found = wantFor(id, bytes);
    if (found === null) return false;
    const { want, range } = found;
    want.receivedBytes += bytes.length;
    if (!intake.hasRoom(bytes.length)) {
      refused("ERR_BUSY");
      return true;
    }
    const key = authorStream(range);
    const holder = nextHolder();
    leases.take(holder, range);
    want.silent.delete(key);
    want.ingesting += 1;
    intake.submit({ type: "run", bytes }, (outcomes, doneMs) => {
      want.ingesting -= 1;
      const taken = outcomes.length > 0 && outcomes.every(isTaken);
      const isNews = outcomes.some(({ verdict }) => verdict !== "known");
      if (taken) {
        leases.settle(holder, doneMs);
        view.gained(range);
        if (isNews || !view.isForked(key)) backoffByKey.delete(key);
        else backOff(key, doneMs);
      } else if (outcomes[0]?.code === "ERR_UNKNOWN_PREDECESSOR" && view.walkBack(range)) {
        leases.release(holder);
        want.gained = true;
      } else {
        leases.release(holder);
        backOff(key, doneMs);
      }
      want.gained ||= outcomes.some(isTaken);
      refusals.outcomes(peer, outcomes);
      settle(want, doneMs);
    });
    return true;
  }

  function dropPartial(): void {
    if (partial !== null) intake.releaseParts(partial.heldBytes);
    partial = null;
  }

  function part(message: PartMessage, nowMs: number): void {
    if (message.offset === 0) {
      // Nobody begins a run twice, or two at once.
      if (partial !== null) {
        letGo(nowMs);
        return refused("ERR_NOT_CANONICAL");
      }
      if (wantFor(message.want, message.bytes) === null) return;
    }
    if (partial === null && message.offset > 0) return;
    const grown = addPart(partial, message);
    if (grown === null) {
      dropPartial();
      return refused("ERR_NOT_CANONICAL");
    }
    if (!intake.holdPart(message.bytes.length)) {
      partial = { ...grown, heldBytes: grown.heldBytes - message.bytes.length };
      dropPartial();
      return refused("ERR_BUSY");
    }
    partial = grown;
    progress(message.bytes.length, nowMs);
    const run = wholeRun(grown);
    if (run === null) return;
    dropPartial();
    receive(message.want, run);
  }

  function served(id: number, complete: boolean, nowMs: number): void {
    const want = wants.get(id);
    if (want === undefined || want.state === "served") return refused("ERR_UNASKED");
    if (partial?.want === id) dropPartial();
    leases.release(want.holder);
    const nothing = want.receivedBytes === 0;
    if (complete || nothing) for (const key of want.silent) backOff(key, nowMs);
    want.state = "served";
    wants.delete(id);
    turn = { sinceMs: nowMs, progressMs: nowMs, bytes: 0 };
    settle(want, nowMs);
  }

  /** Judges the peer by a want that is answered and ingested. */
  function settle(want: Want, nowMs: number): void {
    if (want.state !== "served" || want.ingesting > 0) return;
    peerBackoff = want.gained ? { failures: 0, untilMs: 0 } : longer(peerBackoff, nowMs);
  }

  const deadlineMs = () =>
    Math.min(turn.progressMs + LEASE_MS, turn.sinceMs + LEASE_MS + turn.bytes / LEASE_BYTES_PER_MS);

  function expire(nowMs: number): void {
    if (asking().length > 0 && nowMs >= deadlineMs()) letGo(nowMs);
  }

  /** What is asked now may be asked of others; a late answer still counts. */
  function letGo(nowMs: number): void {
    dropPartial();
    for (const want of asking()) {
      want.state = "expired";
      leases.release(want.holder);
      for (const key of want.silent) backOff(key, nowMs);
    }
    peerBackoff = longer(peerBackoff, nowMs);
  }

  return {
    next,
    run: (id, bytes, nowMs) => {
      if (receive(id, bytes)) progress(bytes.length, nowMs);
    },
    part,
    served,
    expire,
    dueMs: () => (asking().length === 0 ? null : Math.ceil(deadlineMs())),
    retryMs: () =>
      wants.size >= WANTS_KNOWN_MAX ? null : Math.max(lookedMs + RETRY_MS, peerBackoff.untilMs),
    failed: (key) => backoffByKey.has(key),
    close: () => {
      dropPartial();
      for (const want of wants.values()) leases.release(want.holder);
      wants.clear();
    },
  };
}

function longer(before: Backoff | undefined, nowMs: number): Backoff {
  const failures = (before?.failures ?? 0) + 1;
  const delayMs = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(failures - 1, 10));
  return { failures, untilMs: nowMs + delayMs };
}
