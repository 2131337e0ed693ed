/**
 * Link: everything between us and one connected peer. Hello first; then digests, vectors, wants
 * and what answers them. Whatever is to be said waits here as a flag until the network took what
 * was said before, so that a slow peer costs no memory, and many changes become one frame.
 *
 * @module
 */

import { isMeshError, type MeshErrorCode } from "../protocol/errors.ts";
import type { HeaderHash, MeshId, PeerId, SiteId } from "../protocol/ids.ts";
import {
  CONTRADICTIONS_MAX,
  HELLO_TIMEOUT_MS,
  NEIGHBOURS_MAX,
  TALK_BURST,
  TALK_PER_SECOND,
} from "../protocol/limits.ts";
import {
  decodeMessage,
  encodeMessage,
  type HelloMessage,
  type Message,
  type VectorMessage,
  type WantChunksMessage,
  type WantMessage,
} from "../protocol/messages.ts";
import {
  type AuthorStream,
  authorStream,
  type ChangesetRange,
  subtractRanges,
  type VersionRange,
} from "../protocol/version-vector.ts";
import type { LogReading } from "../seams.ts";
import { createAllowance } from "./allowance.ts";
import type { DigestedVector } from "./digest.ts";
import type { Emit } from "./effect.ts";
import type { IncomingView } from "./incoming.ts";
import type { Intake } from "./intake.ts";
import type { Leases } from "./leases.ts";
import type { Newcomers } from "./newcomers.ts";
import { createPeerView, holdsVersion, type PeerView } from "./peer-view.ts";
import type { Refusals } from "./refusals.ts";
import { createRepeats } from "./repeats.ts";
import { createServing } from "./serving.ts";
import { createVectorFeed } from "./vector-feed.ts";
import { createWants } from "./wants.ts";

/** Who we are, as every hello says. */
export interface Identity {
  readonly mesh: MeshId;
  readonly site: SiteId;
  readonly role: "device" | "hub";
  readonly name: string;
}

/** What all links share. */
export interface LinkContext {
  readonly identity: Identity;
  readonly ours: DigestedVector;
  readonly leases: Leases;
  readonly intake: Intake;
  readonly incoming: IncomingView;
  readonly refusals: Refusals;
  readonly newcomers: Newcomers;
  readonly nextHolder: () => number;
  readonly emit: Emit;
  /** Whether this may be asked for now, of a peer that has failed to give it, or not. */
  readonly mayAsk: (key: AuthorStream, hasFailed: boolean) => boolean;
  /** Of our own log, while it is looked for: everybody who claims it is asked at once. */
  readonly isRestoring: (key: AuthorStream) => boolean;
  /** Peers with an open link, in no order. */
  readonly neighbours: () => readonly PeerId[];
}

/** Changes are told at most this often, and this late when gossip probably brings them sooner. */
const VECTOR_MS = 50;
/** Whole vectors are sent at most this often; longer each time they do not settle a difference. */
const FULL_MIN_MS = 2_000;
const FULL_MAX_MS = 60_000;
/** Entries that are looked at for one unit of what a peer may tell us. */
const TALK_ENTRIES = 512;
/** Of a whole vector: an honest peer sends one a second at most, and mostly none. */
const TALK_WHOLE = 64;

/** What is shown of what a peer says; whose it is, only a dial proves. */
const PEER_ID = /^[A-Za-z0-9]{1,128}$/;

type LinkState =
  | { readonly type: "greeting" }
  | { readonly type: "open"; readonly hello: HelloMessage }
  /** Of another mesh, silent or false: nothing it says is read, and the network drops it. */
  | { readonly type: "shut" };

export interface Link {
  readonly peer: PeerId;
  readonly view: PeerView;
  readonly state: () => LinkState;
  /** As its hello says. */
  readonly site: () => SiteId | null;
  readonly lastHeardMs: () => number | null;
  readonly roundTripMs: () => number | null;
  /** Since when it owes an answer to a digest, or has not taken what is sent; null: it does not. */
  readonly awaitedMs: () => number | null;
  /** Whom it told of last. */
  readonly neighbours: () => readonly PeerId[];
  readonly frame: (bytes: Uint8Array, nowMs: number) => void;
  /** So many bytes of the next frame have come. */
  readonly arriving: (bytes: number, nowMs: number) => void;
  /** What we asked for may be on its way. */
  readonly isArriving: () => boolean;
  readonly sent: () => void;
  readonly read: (reading: LogReading, nowMs: number) => void;
  readonly chunksRead: (
    chunks: readonly { readonly index: number; readonly bytes: Uint8Array }[],
    nowMs: number,
  ) => void;
  /** Our vector changed under these keys. */
  readonly changed: (keys: readonly AuthorStream[], urgency: "now" | "soon", nowMs: number) => void;
  /** What was to be told soon is told now: nobody else does. */
  readonly hasten: (nowMs: number) => void;
  readonly neighboursChanged: () => void;
  /** Compares digests with the peer. */
  readonly check: () => void;
  /** The last time the peer was asked about this it had nothing to give. */
  readonly failed: (key: AuthorStream) => boolean;
  /** Lets time pass, then emits what is due and what there is room for. */
  readonly pump: (nowMs: number) => void;
  readonly dueMs: () => number | null;
  readonly close: () => void;
}

export function createLink(peer: PeerId, context: LinkContext, upMs: number): Link {
  const { identity, ours, emit, newcomers } = context;
  const view = createPeerView(ours);
  const feed = createVectorFeed(ours.entries);
  const serving = createServing();
  const refused = (code: MeshErrorCode) => context.refusals.refuse(peer, code);
  const talk = createAllowance({ burst: TALK_BURST, perSecond: TALK_PER_SECOND });
  const repeats = createRepeats();
  /** The range being read for the peer. */
  let reading: ChangesetRange | null = null;
  /** Or the changeset of which chunks are being read. */
  let readingChunksOf: HeaderHash | null = null;
  /** When a peer that asks for the same over and over is served again. */
  let readDueMs: number | null = null;
  /** Asked of it once, our own log is leased like any. */
  let hasRestored = false;
  const leases: Leases = {
    ...context.leases,
    free: (key, ranges) =>
      context.isRestoring(key as AuthorStream) && !hasRestored
        ? ranges
        : context.leases.free(key, ranges),
  };
  const site = (): SiteId | null => (state.type === "open" ? state.hello.site : null);
  const wants = createWants({
    ...context,
    leases,
    peer,
    view,
    site: identity.site,
    peerSite: site,
    roundTripMs: () => roundTripMs,
  });
  let state: LinkState = { type: "greeting" };
  let lastHeardMs: number | null = null;
  let roundTripMs: number | null = null;
  let isSending = false;
  let sendingMs = upMs;
  let isGreeted = false;
  let digestDue: "no" | "answer" | "ask" = "no";
  let askedDigestMs: number | null = null;
  let neighboursDue = true;
  let neighboursTold = 0;
  let neighbours: readonly PeerId[] = [];
  let vectorDueMs: number | null = null;
  let vectorSentMs = Number.NEGATIVE_INFINITY;
  let fullDueMs: number | null = null;
  let fullSentMs = Number.NEGATIVE_INFINITY;
  /** We sent a whole vector of our own accord; the peer's next one is the answer. */
  let awaitsFull = false;
  let unsettled = 0;
  let contradictions = 0;

  /** The link is of no use any more. */
  function shut(code: MeshErrorCode): void {
    state = { type: "shut" };
    wants.close();
    refused(code);
  }

  function frame(bytes: Uint8Array, nowMs: number): void {
    if (state.type === "shut") return;
    lastHeardMs = nowMs;
    wants.arriving(0, nowMs);
    try {
      const message = decodeMessage(bytes);
      if ((state.type === "open") === (message.type === "hello")) refused("ERR_UNASKED");
      else if (talk.left(nowMs) < 1) refused("ERR_LIMIT");
      else receive(message, nowMs);
    } catch (error) {
      if (!isMeshError(error)) throw error;
      refused(error.code);
    }
  }

  function receive(message: Message, nowMs: number): void {
    switch (message.type) {
      case "hello":
        return receiveHello(message, nowMs);
      case "digest":
        talk.take(1, nowMs);
        return receiveDigest(message.digest, nowMs);
      case "vector":
        return receiveVector(message, nowMs);
      case "want":
        return receiveWant(message, nowMs);
      case "run":
        return wants.run(message.want, message.run, nowMs);
      case "outline":
        return wants.outline(message.want, message.outline, nowMs);
      case "served":
        return wants.served(message.want, message.complete, nowMs);
      case "neighbours":
        talk.take(1, nowMs);
        neighbours = [...new Set(message.peers)].filter((id) => PEER_ID.test(id));
        return emit({ type: "suggest", via: peer, peers: message.peers });
      case "wantChunks":
        return receiveWantChunks(message, nowMs);
      case "chunk":
        return wants.chunk(message, nowMs);
    }
  }

  function receiveHello(hello: HelloMessage, nowMs: number): void {
    if (hello.mesh !== identity.mesh) return shut("ERR_WRONG_MESH");
    state = { type: "open", hello };
    if (hello.digest === ours.digest()) view.claimEqual();
    else offerFull(nowMs);
  }

  function receiveDigest(digest: string, nowMs: number): void {
    if (askedDigestMs === null) digestDue = "answer";
    else roundTripMs = nowMs - askedDigestMs;
    askedDigestMs = null;
    if (digest === ours.digest()) {
      view.claimEqual();
      unsettled = 0;
      contradictions = 0;
    } else if (view.known() && view.digest() === digest) {
      view.recheck();
      unsettled = 0;
      contradictions = 0;
    } else {
      // Told in order, so that an honest peer's digest is that of what it told before.
      if (view.known() && !view.isPartial()) contradictions += 1;
      if (contradictions >= CONTRADICTIONS_MAX) return shut("ERR_CLAIM_FALSE");
      offerFull(nowMs);
    }
  }

  function receiveVector(message: VectorMessage, nowMs: number): void {
    const price = message.part === "first" ? TALK_WHOLE : 1;
    talk.take(price + view.claim(message) / TALK_ENTRIES, nowMs);
    if (message.part === "more") return;
    if (awaitsFull) awaitsFull = false;
    else sendFull(nowMs);
  }

  /** Sends our whole vector, to get the peer's. */
  function offerFull(nowMs: number): void {
    awaitsFull = true;
    sendFull(nowMs);
    unsettled += 1;
  }

  function sendFull(nowMs: number): void {
    const gapMs = Math.min(FULL_MAX_MS, FULL_MIN_MS * 2 ** Math.min(unsettled, 10));
    fullDueMs ??= Math.max(nowMs, fullSentMs + gapMs);
  }

  function receiveWant(message: WantMessage, nowMs: number): void {
    const ranges = message.ranges.flatMap(heldOf);
    // What asks for something is limited by the answer.
    if (ranges.length === 0) talk.take(1, nowMs);
    if (!serving.want({ ...message, ranges })) refused("ERR_LIMIT");
  }

  function receiveWantChunks(message: WantChunksMessage, nowMs: number): void {
    const isHeld = holdsVersion(ours, authorStream(message), message.version);
    const here = isHeld ? message.chunks : chunksHere(message);
    if (here.length === 0) talk.take(1, nowMs);
    if (!serving.wantChunks({ ...message, chunks: here })) refused("ERR_LIMIT");
  }

  /** Of one that is half here, what is. */
  function chunksHere({ headerHash, chunks }: WantChunksMessage): readonly VersionRange[] {
    const half = context.incoming.get(headerHash);
    return half === undefined ? [] : subtractRanges(chunks, half.missing);
  }

  /** What of this range we claim to hold: the store is never asked beyond it. */
  function heldOf(range: ChangesetRange): readonly ChangesetRange[] {
    const entry = ours.entries.get(authorStream(range));
    const held = entry?.beyond.at(-1)?.last ?? entry?.head ?? 0;
    return range.first > held || range.first <= (entry?.floor ?? 0)
      ? []
      : [{ ...range, last: Math.min(range.last, held) }];
  }

  function pump(nowMs: number): void {
    if (state.type === "greeting" && nowMs >= upMs + HELLO_TIMEOUT_MS) shut("ERR_HELLO_MISSING");
    wants.expire(nowMs);
    if (isSending || state.type === "shut") return;
    const frames: Uint8Array[] = [];
    if (!isGreeted) frames.push(encodeMessage(helloNow()));
    isGreeted = true;
    if (state.type === "open") frames.push(...framesDue(nowMs));
    if (frames.length === 0) return;
    isSending = true;
    sendingMs = nowMs;
    emit({ type: "send", to: peer, frames });
  }

  const helloNow = (): HelloMessage => ({ type: "hello", ...identity, digest: ours.digest() });

  function framesDue(nowMs: number): Uint8Array[] {
    const frames: Uint8Array[] = [...vectorFrames(nowMs)];
    // After the vector, so that the peer's view of us is exact when it checks.
    if (digestDue !== "no" && !feed.hasMore() && fullDueMs === null) {
      frames.push(encodeMessage({ type: "digest", digest: ours.digest() }));
      if (digestDue === "ask") askedDigestMs = nowMs;
      digestDue = "no";
    }
    for (let i = 0; i < 2; i++) {
      const want = wants.next(askable(nowMs), nowMs);
      if (want === null) continue;
      const ranges = want.type === "want" ? want.ranges : [];
      hasRestored ||= ranges.some((range) => context.isRestoring(authorStream(range)));
      frames.push(encodeMessage(want));
    }
    if (neighboursDue) {
      neighboursDue = false;
      const peers = context.neighbours().filter((id) => id !== peer);
      const told = peers.slice(0, NEIGHBOURS_MAX);
      // None, when there were some: the last one left.
      if (told.length + neighboursTold > 0) {
        frames.push(encodeMessage({ type: "neighbours", peers: told }));
      }
      neighboursTold = told.length;
    }
    frames.push(...serving.frames());
    const isPaused = nowMs < repeats.nextMs();
    readDueMs = isPaused ? repeats.nextMs() : null;
    const read = isPaused ? null : serving.read();
    if (read !== null) {
      reading = read.type === "read" ? read.range : null;
      readingChunksOf = read.type === "readChunks" ? read.request.headerHash : null;
      emit({ peer, ...read });
    }
    return frames;
  }

  /** Whether this may be asked for in the want that is being made. */
  function askable(nowMs: number): (key: AuthorStream) => boolean {
    const room = {
      itself: newcomers.room("itself", nowMs),
      hearsay: newcomers.room("hearsay", nowMs),
    };
    return (key) => {
      if (!context.mayAsk(key, wants.failed(key))) return false;
      if (ours.entries.has(key)) return true;
      const isItself = state.type === "open" && key.startsWith(state.hello.site);
      return room[isItself ? "itself" : "hearsay"]-- > 0;
    };
  }

  function vectorFrames(nowMs: number): readonly Uint8Array[] {
    if (fullDueMs !== null && nowMs >= fullDueMs) {
      feed.startOver();
      fullDueMs = null;
      fullSentMs = nowMs;
      vectorDueMs = nowMs;
    }
    const isDue = (vectorDueMs !== null && nowMs >= vectorDueMs) || digestDue !== "no";
    const next = isDue ? feed.frame() : null;
    if (!feed.hasMore()) vectorDueMs = null;
    if (next === null) return [];
    vectorSentMs = nowMs;
    return [next];
  }

  function dueMs(): number | null {
    if (state.type === "shut") return null;
    if (state.type === "greeting") return upMs + HELLO_TIMEOUT_MS;
    const due = [
      wants.dueMs(),
      ...(isSending ? [] : [vectorDueMs, fullDueMs, retryMs(), readDueMs]),
    ];
    const times = due.filter((time) => time !== null);
    return times.length === 0 ? null : Math.min(...times);
  }

  const retryMs = () =>
    view.totals().weLack === 0 && context.incoming.count() === 0 ? null : wants.retryMs();

  return {
    peer,
    view,
    state: () => state,
    site,
    lastHeardMs: () => lastHeardMs,
    roundTripMs: () => roundTripMs,
    awaitedMs: () => askedDigestMs ?? (isSending ? sendingMs : null),
    neighbours: () => neighbours,
    frame,
    arriving: (bytes, nowMs) => {
      lastHeardMs = nowMs;
      wants.arriving(bytes, nowMs);
    },
    isArriving: wants.isArriving,
    sent: () => {
      isSending = false;
    },
    read: (answer, nowMs) => {
      const { runs, outlines = [], next } = answer;
      const bytes = [...runs, ...outlines].reduce((sum, each) => sum + each.length, 0);
      if (reading !== null) repeats.served(reading, bytes, next, nowMs);
      reading = null;
      serving.readDone(answer);
    },
    chunksRead: (chunks, nowMs) => {
      // Of another changeset than ours under that version; what is served limits itself.
      if (chunks.length === 0) talk.take(1, nowMs);
      for (const { index, bytes } of chunks) {
        if (readingChunksOf === null) break;
        repeats.servedChunk(readingChunksOf, index, bytes.length, nowMs);
      }
      readingChunksOf = null;
      serving.chunksRead(chunks);
    },
    changed: (keys, urgency, nowMs) => {
      for (const key of keys) feed.changed(key);
      view.oursChanged(keys);
      vectorDueMs ??= Math.max(
        nowMs + (urgency === "now" ? 0 : VECTOR_MS),
        vectorSentMs + VECTOR_MS,
      );
    },
    hasten: (nowMs) => {
      if (vectorDueMs !== null) vectorDueMs = Math.max(nowMs, vectorSentMs + VECTOR_MS);
    },
    neighboursChanged: () => {
      neighboursDue = true;
    },
    // A digest answers or asks, and does not say which: one question at a time keeps count.
    check: () => {
      if (digestDue === "no" && askedDigestMs === null) digestDue = "ask";
    },
    failed: wants.failed,
    pump,
    dueMs,
    close: wants.close,
  };
}
