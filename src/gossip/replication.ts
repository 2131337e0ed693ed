/**
 * Replication: broadcast and anti-entropy of signed changesets as one pure state machine. An event
 * and the time go in, effects come out; it never waits, reads a clock or draws a number of its own.
 * Changesets are opaque bytes here. Driver: `src/node/drive.ts`; simulator: `test/sim`; rules AE
 * and B of docs/PROTOCOL.md.
 *
 * @module
 */

import type { MeshErrorCode } from "../protocol/errors.ts";
import type { PeerId, SiteId } from "../protocol/ids.ts";
import {
  type AuthorStream,
  authorStream,
  streamOf,
  type VectorEntry,
} from "../protocol/version-vector.ts";
import type { IncomingChangeset, Random } from "../seams.ts";
import { createBroadcasting } from "./broadcast.ts";
import { createDigestedVector } from "./digest.ts";
import type { Effect, Emit, ReplicationEvent } from "./effect.ts";
import { createHeldElsewhere, type HeldVersions } from "./held-elsewhere.ts";
import { createIncomingView } from "./incoming.ts";
import { createIntake } from "./intake.ts";
import { createLeases } from "./leases.ts";
import { createLink, type Identity, type Link, type LinkContext } from "./link.ts";
import { createNewcomers } from "./newcomers.ts";
import { createOwnLog } from "./own-log.ts";
import type { AuthorDifference, PeerView } from "./peer-view.ts";
import { createRecent } from "./recent.ts";
import { createRefusals } from "./refusals.ts";

/** Peers whose digest is checked in one round. */
const ROUND_PEERS_MAX = 16;
/** A status costs no more than this, whatever peers claim. */
const CLAIMS_COUNTED_MAX = 8_192;
const FORKS_SHOWN_MAX = 256;
/** Authors by whom a peer's difference is told. */
const LACKS_SHOWN_MAX = 8;

export interface ReplicationOptions extends Identity {
  /** What the store holds. */
  readonly vector: readonly VectorEntry[];
  /** Large changesets that the store has half received. */
  readonly incoming?: readonly IncomingChangeset[];
  /** What we wrote under, the site of the hello first; left out: that one alone. */
  readonly ownSites?: readonly SiteId[];
  /** What was known of it before, as the last status told. */
  readonly heldElsewhere?: HeldVersions;
  readonly random: Random;
  /** Mean time between rounds; each is drawn from ±50 % of it, so that peers spread out. */
  readonly roundMs: number;
}

export interface ReplicationPeer {
  readonly peer: PeerId;
  /** Null before its hello, and for ever when it is of another mesh. */
  readonly site: SiteId | null;
  readonly name: string | null;
  readonly role: "device" | "hub";
  /** On the clock of the events; null before its first frame. */
  readonly lastHeardMs: number | null;
  readonly roundTripMs: number | null;
  /** Since when it owes an answer, or has not taken what is sent, on the same clock; null: it does not. */
  readonly awaitedMs: number | null;
  /** Versions, by what it claims: it may lie. */
  readonly weLack: number;
  readonly itLacks: number;
  /** Those with most first, at most 8; of more claims than a status may look at, of the first ones. */
  readonly lacks: readonly AuthorDifference[];
  readonly sameDigest: boolean;
  /** Whom it says it is linked to, besides us; any text of letters and digits. */
  readonly linkedTo: readonly PeerId[];
}

export interface ReplicationStatus {
  readonly digest: string;
  /** Whether local commits are released as they happen. */
  readonly offered: boolean;
  readonly peers: readonly ReplicationPeer[];
  /** Versions that peers claim and we lack; of several claims on one author the largest counts. */
  readonly missing: number;
  /** Heads that differ from a peer's under the same version. */
  readonly forks: readonly { readonly site: SiteId; readonly version: number }[];
  readonly refusals: ReadonlyMap<MeshErrorCode, number>;
  /** Changesets that arrived although we held them. */
  readonly duplicates: number;
  /** Bytes in memory on their way into the store. */
  readonly intakeBytes: number;
  /** Of our own log, what peers claim or claimed to hold. */
  readonly heldElsewhere: HeldVersions;
  /** Own released versions that nobody claims or claimed. */
  readonly unheld: number;
}

export interface Replication {
  /** It said hello as one. */
  readonly isHub: (peer: PeerId) => boolean;
  readonly handle: (event: ReplicationEvent, nowMs: number) => readonly Effect[];
  readonly status: () => ReplicationStatus;
  /** Bytes in memory on their way into the store. */
  readonly intakeBytes: () => number;
}

export function createReplication(options: ReplicationOptions): Replication {
  const { random, roundMs, mesh, site, role, name } = options;
  let effects: Effect[] = [];
  const emit: Emit = (effect) => effects.push(effect);
  const links = new Map<PeerId, Link>();
  const ours = createDigestedVector();
  const leases = createLeases();
  const intake = createIntake(emit);
  const incoming = createIncomingView();
  incoming.update(options.incoming ?? []);
  const refusals = createRefusals(emit);
  const ownLog = createOwnLog({ site, ours, incoming, emit });
  const newcomers = createNewcomers(ours.entries);
  const recent = createRecent(ours.entries);
  const { ownSites = [site], heldElsewhere: heldBefore = new Map() } = options;
  const heldElsewhere = createHeldElsewhere(ownSites, ours, heldBefore);
  let lastHolder = 0;
  let turn = 0;
  const context: LinkContext = {
    identity: { mesh, site, role, name },
    ours,
    leases,
    intake,
    incoming,
    refusals,
    newcomers,
    nextHolder: () => (lastHolder += 1),
    emit,
    mayAsk: (key, hasFailed) => ownLog.isOffered() || (ownLog.isOwn(key) && !hasFailed),
    isRestoring: (key) => !ownLog.isOffered() && ownLog.isOwn(key),
    neighbours: () => openLinks().map(({ peer }) => peer),
  };
  const broadcasting = createBroadcasting({
    ...context,
    recent,
    lookAt: (peer) => links.get(peer)?.check(),
  });
  let nextRoundMs: number | null = null;
  let wakeMs: number | null = null;

  for (const entry of options.vector) ours.set(authorStream(entry), entry);

  const openLinks = () => [...links.values()].filter(({ state }) => state().type === "open");

  function handle(event: ReplicationEvent, nowMs: number): readonly Effect[] {
    effects = [];
    const openBefore = openLinks().length;
    dispatch(event, nowMs);
    if (openLinks().length !== openBefore) {
      for (const link of links.values()) link.neighboursChanged();
    }
    pump(nowMs);
    return effects;
  }

  function dispatch(event: ReplicationEvent, nowMs: number): void {
    switch (event.type) {
      case "peerUp":
        peerDown(event.peer);
        links.set(event.peer, createLink(event.peer, context, nowMs));
        return;
      case "peerDown":
        return peerDown(event.peer);
      case "frame":
        return links.get(event.from)?.frame(event.bytes, nowMs);
      case "arriving":
        return links.get(event.from)?.arriving(event.bytes, nowMs);
      case "sent":
        return links.get(event.peer)?.sent();
      case "changed":
        incoming.update(event.incoming ?? []);
        return changed(event.entries, event.broadcasts, nowMs);
      case "read":
        return links.get(event.peer)?.read(event, nowMs);
      case "chunksRead":
        return links.get(event.peer)?.chunksRead(event.chunks, nowMs);
      case "ingested":
        return intake.ingested(event.ticket, event.outcomes, nowMs);
      case "broadcastReceived":
        return broadcasting.received(event.id, event.from, event.bytes, nowMs);
      case "broadcastSent":
        return broadcastSent(event.peers, nowMs);
      case "wake":
        wakeMs = null;
    }
  }

  function peerDown(peer: PeerId): void {
    const link = links.get(peer);
    if (link === undefined) return;
    heldElsewhere.look(link.view);
    link.close();
    links.delete(peer);
  }

  function changed(
    entries: readonly VectorEntry[],
    broadcasts: readonly Uint8Array[],
    nowMs: number,
  ): void {
    for (const bytes of broadcasts) emit({ type: "broadcast", bytes });
    const keys = entries.map(authorStream);
    const linked = new Set(openLinks().flatMap(({ site: at }) => at() ?? []));
    for (const entry of entries) {
      const key = authorStream(entry);
      newcomers.arrived(key, linked, nowMs);
      recent.changing(key, nowMs);
      ours.set(key, entry);
    }
    const isOnItsWay = broadcasts.length > 0 || broadcasting.isLive(nowMs);
    const urgency = isOnItsWay ? "soon" : "now";
    for (const link of links.values()) link.changed(keys, urgency, nowMs);
  }

  function broadcastSent(peers: number, nowMs: number): void {
    broadcasting.sent(peers, nowMs);
    if (peers > 0) return;
    for (const link of links.values()) link.hasten(nowMs);
  }

  function pump(nowMs: number): void {
    broadcasting.expire(nowMs);
    leases.lapse(nowMs);
    round(nowMs);
    ownLog.pump(links.values(), nowMs);
    for (const link of inTurn()) link.pump(nowMs);
    askForWake(nowMs);
  }

  /** Another one is the first each time: of what there is little of, everybody gets some. */
  function inTurn(): readonly Link[] {
    const all = [...links.values()];
    turn = (turn + 1) % Math.max(1, all.length);
    return [...all.slice(turn), ...all.slice(0, turn)];
  }

  function round(nowMs: number): void {
    if (links.size === 0) {
      nextRoundMs = null;
      return;
    }
    nextRoundMs ??= nowMs + Math.floor(roundMs / 2) + random.below(roundMs);
    if (nowMs < nextRoundMs) return;
    nextRoundMs = nowMs + Math.floor(roundMs / 2) + random.below(roundMs);
    const open = openLinks();
    const from = random.below(Math.max(1, open.length));
    const checked = [...open.slice(from), ...open.slice(0, from)].slice(0, ROUND_PEERS_MAX);
    for (const link of checked) link.check();
  }

  function askForWake(nowMs: number): void {
    const due = [
      nextRoundMs,
      broadcasting.dueMs(),
      ownLog.dueMs(),
      ...[...links.values()].map((link) => link.dueMs()),
    ];
    const times = due.filter((time) => time !== null);
    if (times.length === 0) return;
    const atMs = Math.max(nowMs, Math.min(...times));
    if (atMs === wakeMs) return;
    wakeMs = atMs;
    emit({ type: "wake", atMs });
  }

  function status(): ReplicationStatus {
    const views = [...links.values()].map(({ view }) => view);
    const forked = new Set<AuthorStream>();
    for (const view of views) {
      for (const key of view.forks()) if (forked.size < FORKS_SHOWN_MAX) forked.add(key);
      heldElsewhere.look(view);
    }
    const streamsMax = Math.floor(CLAIMS_COUNTED_MAX / Math.max(1, views.length));
    return {
      digest: ours.digest(),
      offered: ownLog.isOffered(),
      peers: [...links.values()].map((link) => peerStatus(link, streamsMax)),
      missing: missingOf(views),
      forks: [...forked].map((key) => ({
        site: streamOf(key).site,
        version: ours.entries.get(key)?.head ?? 0,
      })),
      refusals: refusals.byCode(),
      duplicates: refusals.duplicates(),
      intakeBytes: intake.bytes(),
      heldElsewhere: heldElsewhere.held(),
      unheld: heldElsewhere.unheld(),
    };
  }

  function isHub(peer: PeerId): boolean {
    const state = links.get(peer)?.state();
    return state?.type === "open" && state.hello.role === "hub";
  }

  return { handle, status, isHub, intakeBytes: intake.bytes };
}

/**
 * Of several claims on one author the largest counts. Where claims are too many to be looked at for
 * each status, the largest claim of one peer.
 */
function missingOf(views: readonly PeerView[]): number {
  const claims = views.reduce((sum, view) => sum + view.lacking().size, 0);
  if (claims > CLAIMS_COUNTED_MAX) return Math.max(...views.map((view) => view.totals().weLack));
  const missingByKey = new Map<AuthorStream, number>();
  for (const view of views) {
    for (const key of view.lacking()) {
      missingByKey.set(key, Math.max(missingByKey.get(key) ?? 0, view.lacks(key)));
    }
  }
  return [...missingByKey.values()].reduce((sum, count) => sum + count, 0);
}

function peerStatus(link: Link, streamsMax: number): ReplicationPeer {
  const state = link.state();
  const hello = state.type === "open" ? state.hello : null;
  return {
    peer: link.peer,
    site: hello?.site ?? null,
    name: hello === null || hello.name === "" ? null : hello.name,
    role: hello?.role ?? "device",
    lastHeardMs: link.lastHeardMs(),
    roundTripMs: link.roundTripMs(),
    awaitedMs: link.awaitedMs(),
    ...link.view.totals(),
    lacks: link.view.byAuthor(streamsMax, LACKS_SHOWN_MAX),
    sameDigest: link.view.same(),
    linkedTo: link.neighbours(),
  };
}
