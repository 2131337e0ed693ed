/**
 * Decides whom to dial, when, over what, and which connections to close. libp2p 3 does none of it:
 * it does not dial what it knows, gives up on a lost peer after 31 s, never upgrades a relayed
 * connection to a direct one, and lets an idle mesh fall apart.
 *
 * Sans-IO: events and the time in, effects out. The driver is `src/node/libp2p-network.ts`.
 *
 * Rules:
 * 1. Hubs are always kept connected, and so are peers found on the LAN. Between two hubs, and between
 *    those that found each other, the smaller peer id dials, and the larger one after FOUND_WAIT_MS:
 *    the other may not know of it.
 * 2. Below DEGREE_TARGET direct links to others, candidates are dialled, in random order, by the
 *    smaller peer id; by the larger one only when it has fewer than DEGREE_MIN links and has waited
 *    LARGER_WAIT_MS, so that nobody waits for ever for a peer that cannot or will not dial.
 * 3. Above `degreeMax`, the newest links that the other side opened are closed, but for those that
 *    people made: there may be no other way to those devices.
 * 4. A candidate is dialled through neighbours that told of it and are directly connected now.
 * 5. A relayed connection is only for signalling, and a second direct one for nothing: both are
 *    closed after a while.
 * 6. Failures back off with jitter, less while there is no link at all; a change of the network
 *    forgives them, and so does a page that is looked at again.
 * 7. At most DIALS_MAX dials are under way; hubs do not wait for those to peers that anybody on the
 *    LAN may have invented.
 *
 * @module
 */

import type { PeerId } from "../protocol/ids.ts";
import { CANDIDATE_RELAYS_MAX, CANDIDATES_MAX, FOUND_PEERS_MAX } from "../protocol/limits.ts";
import type { Random } from "../seams.ts";

const DEGREE_MIN = 4;
export const DEGREE_TARGET = 8;
export const DEGREE_MAX = 12;
/** Two peers that dial each other at once end with two connections. */
export const LARGER_WAIT_MS = 8_000;
/** As LARGER_WAIT_MS, for peers that have addresses of their own. */
export const FOUND_WAIT_MS = 2_000;
/** More at a time, and a page of a dozen peers starves its own handshakes (facts: 119 s against 20 s). */
export const DIALS_MAX = 2;
/** Time for both sides to move their streams to the better connection before the other is closed. */
export const SUPERFLUOUS_AFTER_MS = 10_000;
const SHED_PAUSE_MS = 60_000;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_HUB_MAX_MS = 10_000;
/** Of a device without any link: it has nothing better to do, and nobody else to hear from. */
const BACKOFF_ALONE_MAX_MS = 1_500;
const BACKOFF_PEER_MAX_MS = 30_000;

export interface KeptHub {
  readonly peer: PeerId;
  /** Best first. */
  readonly addresses: readonly string[];
}

export interface KeptConnection {
  readonly id: string;
  readonly peer: PeerId;
  readonly path: "direct" | "relayed";
  readonly openedBy: "us" | "them";
  /** Of a relayed connection, if known. */
  readonly relay: PeerId | null;
}

export type KeeperEvent =
  | { readonly type: "opened"; readonly connection: KeptConnection }
  | { readonly type: "closed"; readonly connection: string }
  /** The frame stream of this peer now runs over this connection. */
  | { readonly type: "carrying"; readonly peer: PeerId; readonly connection: string }
  | { readonly type: "suggested"; readonly via: PeerId; readonly peers: readonly PeerId[] }
  | { readonly type: "found"; readonly peer: PeerId; readonly addresses: readonly string[] }
  | { readonly type: "dialled"; readonly peer: PeerId; readonly outcome: "opened" | "failed" }
  /** People are linking this device with that one by hand. */
  | { readonly type: "paired"; readonly peer: PeerId }
  /** The peer is not to be dialled before then. */
  | { readonly type: "banned"; readonly peer: PeerId; readonly untilMs: number }
  | { readonly type: "networkChanged" }
  /** People look at this page again, whose timers the browser may have slowed down. */
  | { readonly type: "visible" }
  | { readonly type: "woken" };

export type KeeperEffect =
  /** Answered by "dialled". */
  | { readonly type: "dial"; readonly peer: PeerId; readonly addresses: readonly string[] }
  | { readonly type: "close"; readonly connection: string }
  /** Replaces the wake asked for before. */
  | { readonly type: "wake"; readonly delayMs: number };

export interface ConnectionKeeperOptions {
  readonly self: PeerId;
  /** A hub leaves it to the smaller of two hubs to dial. */
  readonly role: "device" | "hub";
  readonly hubs: readonly KeptHub[];
  /** "none": candidates are dialled by found addresses only. */
  readonly signalling: "relays" | "none";
  /** DEGREE_MAX for devices; a hub takes everyone. */
  readonly degreeMax: number;
  readonly random: Random;
}

export interface ConnectionKeeper {
  readonly handle: (event: KeeperEvent, nowMs: number) => readonly KeeperEffect[];
}

interface Candidate {
  readonly peer: PeerId;
  /** "found": on the LAN, by multicast. */
  role: "hub" | "found" | "device";
  addresses: readonly string[];
  /** Where it says that it is now, or somebody says so for it. */
  foundAddresses: readonly string[];
  /** Latest teller last. */
  readonly relays: Set<PeerId>;
  failures: number;
  dialAfterMs: number;
  bannedUntilMs: number;
  /** Since when there has been no direct link. */
  unlinkedMs: number;
  isPaired: boolean;
}

interface Kept extends KeptConnection {
  readonly openedMs: number;
  carries: boolean;
  isClosing: boolean;
}

export function createConnectionKeeper(options: ConnectionKeeperOptions): ConnectionKeeper {
  const { self, role, hubs, signalling, degreeMax, random } = options;
  const candidates = new Map<PeerId, Candidate>();
  const connections = new Map<string, Kept>();
  const connectionsByPeer = new Map<PeerId, Set<Kept>>();
  const dialling = new Set<PeerId>();
  let isBegun = false;
  for (const { peer, addresses } of hubs) {
    candidates.set(peer, newCandidate(peer, "hub", addresses, 0));
  }

  const connectionsTo = (peer: PeerId): readonly Kept[] => [...(connectionsByPeer.get(peer) ?? [])];
  const isLinked = (peer: PeerId): boolean =>
    connectionsTo(peer).some(({ path }) => path === "direct");
  const isKept = (peer: PeerId): boolean => (candidates.get(peer)?.role ?? "device") !== "device";

  const degreeNow = (): number =>
    [...connectionsByPeer.keys()].filter((peer) => !isKept(peer) && isLinked(peer)).length;

  /** The candidate, made if there is room; a forgotten one is the one that failed most. */
  function candidate(peer: PeerId, nowMs: number): Candidate {
    const known = candidates.get(peer);
    if (known !== undefined) return known;
    if (candidates.size >= CANDIDATES_MAX) forgetOne(["device", "found"]);
    const made = newCandidate(peer, "device", [], nowMs);
    candidates.set(peer, made);
    return made;
  }

  function forgetOne(of: readonly Candidate["role"][]): "forgotten" | "none idle" {
    const idle = [...candidates.values()].filter(
      ({ peer, role: its }) => of.includes(its) && !isLinked(peer) && !dialling.has(peer),
    );
    const worst = idle.sort((a, b) => b.failures - a.failures)[0];
    if (worst === undefined) return "none idle";
    candidates.delete(worst.peer);
    return "forgotten";
  }

  function learnRelay(peer: PeerId, relay: PeerId, nowMs: number): void {
    if (peer === self || peer === relay) return;
    const { relays } = candidate(peer, nowMs);
    relays.delete(relay);
    relays.add(relay);
    const [oldest] = relays;
    if (relays.size > CANDIDATE_RELAYS_MAX && oldest !== undefined) relays.delete(oldest);
  }

  /** Anybody on the LAN can invent such peers: they take each other's places. */
  function learnFound(peer: PeerId, addresses: readonly string[], nowMs: number): void {
    if (peer === self || addresses.length === 0) return;
    if (!isKept(peer)) {
      const found = [...candidates.values()].filter((each) => each.role === "found");
      if (found.length >= FOUND_PEERS_MAX && forgetOne(["found"]) === "none idle") return;
      candidate(peer, nowMs).role = "found";
    }
    candidate(peer, nowMs).foundAddresses = addresses;
  }

  function addressesOf({ peer, relays, ...each }: Candidate): readonly string[] {
    // In turn: what anybody on the LAN may have said is not tried to its end before what is known.
    const longest = Math.max(each.foundAddresses.length, each.addresses.length);
    const inTurn = Array.from({ length: longest }, (_, i) => [
      each.foundAddresses[i],
      each.addresses[i],
    ]);
    const addresses = [...new Set(inTurn.flat())].filter((address) => address !== undefined);
    if (signalling === "none") return addresses;
    const latestFirst = [...relays].filter(isLinked);
    latestFirst.reverse();
    const through = latestFirst.map((relay) => `/p2p/${relay}/p2p-circuit/webrtc/p2p/${peer}`);
    return [...addresses, ...through];
  }

  function backoffMaxMs(each: Candidate): number {
    const isAlone = ![...connectionsByPeer.keys()].some(isLinked);
    if (isAlone) return BACKOFF_ALONE_MAX_MS;
    return each.role === "hub" ? BACKOFF_HUB_MAX_MS : BACKOFF_PEER_MAX_MS;
  }

  function onDialled(peer: PeerId, outcome: "opened" | "failed", nowMs: number): void {
    dialling.delete(peer);
    const dialled = candidates.get(peer);
    if (dialled === undefined || (outcome === "opened" && isLinked(peer))) return;
    const delayMs = Math.min(
      backoffMaxMs(dialled),
      BACKOFF_FIRST_MS * 2 ** Math.min(dialled.failures, 10),
    );
    dialled.failures++;
    dialled.dialAfterMs = nowMs + jittered(delayMs, random);
  }

  function onOpened(connection: KeptConnection, nowMs: number): void {
    const kept = { ...connection, openedMs: nowMs, carries: false, isClosing: false };
    connections.set(kept.id, kept);
    connectionsByPeer.set(kept.peer, new Set([...connectionsTo(kept.peer), kept]));
    if (connection.relay !== null) learnRelay(connection.peer, connection.relay, nowMs);
  }

  /** A link that lasted forgives the failures before it; one closed at once counts as a failure. */
  function onClosed(id: string, nowMs: number): void {
    const closed = connections.get(id);
    if (closed === undefined) return;
    connections.delete(id);
    const others = connectionsTo(closed.peer).filter((other) => other !== closed);
    if (others.length > 0) connectionsByPeer.set(closed.peer, new Set(others));
    else connectionsByPeer.delete(closed.peer);
    if (closed.path !== "direct" || isLinked(closed.peer)) return;
    const lost = candidate(closed.peer, nowMs);
    lost.unlinkedMs = nowMs;
    if (nowMs - closed.openedMs >= SUPERFLUOUS_AFTER_MS) {
      lost.failures = 0;
      lost.dialAfterMs = nowMs;
      return;
    }
    if (!dialling.has(closed.peer)) onDialled(closed.peer, "failed", nowMs);
    leaveAlone(lost, nowMs);
  }

  /** The peer shed our link, for it has enough; so do we, nearly. */
  function leaveAlone(each: Candidate, nowMs: number): void {
    if (each.role !== "device" || degreeNow() < DEGREE_MIN) return;
    each.dialAfterMs = Math.max(each.dialAfterMs, nowMs + jittered(SHED_PAUSE_MS, random));
  }

  function apply(event: KeeperEvent, nowMs: number): void {
    switch (event.type) {
      case "opened":
        return onOpened(event.connection, nowMs);
      case "closed":
        return onClosed(event.connection, nowMs);
      case "carrying":
        for (const connection of connectionsTo(event.peer)) {
          connection.carries = connection.id === event.connection;
        }
        return;
      case "suggested":
        for (const peer of event.peers) learnRelay(peer, event.via, nowMs);
        return;
      case "found":
        return learnFound(event.peer, event.addresses, nowMs);
      case "dialled":
        return onDialled(event.peer, event.outcome, nowMs);
      case "paired":
        candidate(event.peer, nowMs).isPaired = true;
        return;
      case "banned":
        candidate(event.peer, nowMs).bannedUntilMs = event.untilMs;
        return;
      case "networkChanged":
      case "visible":
        for (const each of candidates.values()) {
          each.failures = 0;
          each.dialAfterMs = nowMs;
        }
        return;
      case "woken":
    }
  }

  /** When the candidate is to be dialled, if nothing changes; `null`: not at all. */
  function dialDueMs(each: Candidate, degree: number): number | null {
    if (dialling.has(each.peer) || isLinked(each.peer)) return null;
    const dueMs = Math.max(each.dialAfterMs, each.bannedUntilMs);
    if (each.role === "hub" && role === "device") return dueMs;
    if (each.role !== "device") {
      return self < each.peer ? dueMs : Math.max(dueMs, each.unlinkedMs + FOUND_WAIT_MS);
    }
    if (self < each.peer) return degree < DEGREE_TARGET ? dueMs : null;
    return degree < DEGREE_MIN ? Math.max(dueMs, each.unlinkedMs + LARGER_WAIT_MS) : null;
  }

  function mayDial({ role: its }: Candidate): boolean {
    const inWay = [...dialling].filter(
      (peer) => its !== "hub" || candidates.get(peer)?.role !== "found",
    );
    return inWay.length < DIALS_MAX;
  }

  function dials(nowMs: number): KeeperEffect[] {
    const effects: KeeperEffect[] = [];
    let degree = degreeNow() + [...dialling].filter((peer) => !isKept(peer)).length;
    for (const each of shuffled([...candidates.values()], random).sort(hubsFirst)) {
      if (!mayDial(each)) continue;
      const dueMs = dialDueMs(each, degree);
      if (dueMs === null || dueMs > nowMs) continue;
      const addresses = addressesOf(each);
      if (addresses.length === 0) continue;
      dialling.add(each.peer);
      if (each.role === "device") degree++;
      effects.push({ type: "dial", peer: each.peer, addresses });
    }
    return effects;
  }

  /** Of two direct connections the smaller peer id closes one, or each side might close another. */
  function spareSinceMs(connection: Kept): number | null {
    const { peer, path, openedMs } = connection;
    if (path === "relayed") return dialling.has(peer) ? null : openedMs;
    if (connection.carries || peer < self) return null;
    const carrier = connectionsTo(peer).find(({ carries }) => carries);
    return carrier === undefined ? null : Math.max(openedMs, carrier.openedMs);
  }

  function superfluous(nowMs: number): { readonly closed: Kept[]; readonly nextMs: number | null } {
    const closed: Kept[] = [];
    let nextMs: number | null = null;
    for (const connection of connections.values()) {
      const sinceMs = connection.isClosing ? null : spareSinceMs(connection);
      if (sinceMs === null) continue;
      const dueMs = sinceMs + SUPERFLUOUS_AFTER_MS;
      if (dueMs <= nowMs) closed.push(connection);
      else nextMs = Math.min(nextMs ?? dueMs, dueMs);
    }
    return { closed, nextMs };
  }

  function crowd(): Kept[] {
    const excess = degreeNow() - degreeMax;
    if (excess <= 0) return [];
    const theirs = [...connections.values()].filter(
      ({ peer, path, openedBy }) =>
        path === "direct" &&
        openedBy === "them" &&
        !isKept(peer) &&
        candidates.get(peer)?.isPaired !== true,
    );
    const newest = theirs.sort((a, b) => b.openedMs - a.openedMs).slice(0, excess);
    return newest.filter(({ isClosing }) => !isClosing);
  }

  function nextDialMs(nowMs: number): number | null {
    const degree = degreeNow();
    let nextMs: number | null = null;
    for (const each of candidates.values()) {
      const dueMs = mayDial(each) ? dialDueMs(each, degree) : null;
      if (dueMs !== null && dueMs > nowMs) nextMs = Math.min(nextMs ?? dueMs, dueMs);
    }
    return nextMs;
  }

  function handle(event: KeeperEvent, nowMs: number): readonly KeeperEffect[] {
    if (!isBegun) for (const each of candidates.values()) each.unlinkedMs = nowMs;
    isBegun = true;
    apply(event, nowMs);
    const { closed, nextMs } = superfluous(nowMs);
    const effects: KeeperEffect[] = [];
    for (const connection of new Set([...closed, ...crowd()])) {
      connection.isClosing = true;
      effects.push({ type: "close", connection: connection.id });
    }
    effects.push(...dials(nowMs));
    const due = [nextMs, nextDialMs(nowMs)].filter((ms) => ms !== null);
    if (due.length > 0) effects.push({ type: "wake", delayMs: Math.min(...due) - nowMs });
    return effects;
  }

  return { handle };
}

const newCandidate = (
  peer: PeerId,
  role: Candidate["role"],
  addresses: readonly string[],
  nowMs: number,
): Candidate => ({
  peer,
  role,
  addresses,
  foundAddresses: [],
  relays: new Set(),
  failures: 0,
  dialAfterMs: 0,
  bannedUntilMs: 0,
  unlinkedMs: nowMs,
  isPaired: false,
});

/** 70 to 130 %, so that a room of devices does not come back in step. */
const jittered = (delayMs: number, random: Random): number =>
  Math.floor((delayMs * (700 + random.below(601))) / 1_000);

const hubsFirst = (a: Candidate, b: Candidate): number =>
  Number(b.role === "hub") - Number(a.role === "hub");

/** Fisher–Yates, in place. */
function shuffled<T>(items: T[], random: Random): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
  return items;
}
