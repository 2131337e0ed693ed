/**
 * At most one frame stream per peer, over a direct connection, opened again when its connection
 * dies while another lives.
 *
 * The smaller peer id opens, when it believes it has none, or none over the newest connection; so for
 * the other side the newest stream is always the right one. Two connections opened at once, one
 * replacing another, or an end that only one side noticed all settle without negotiation. Two copies
 * of one device, under one peer id, take turns of some seconds: time enough to hear of one another
 * through the log and to take keys of their own.
 *
 * A link is one session: from `up` to `down` no frame is lost or reordered. Frames under way when
 * a stream ends are gone, which is why its end is always reported, however soon it is reopened.
 *
 * @module
 */

import type { Connection, Libp2p, Stream } from "@libp2p/interface";
import { peerIdFromString } from "@libp2p/peer-id";
import type { MeshErrorCode } from "../protocol/errors.ts";
import type { PeerId } from "../protocol/ids.ts";
import { IDLE_CONNECTION_MS } from "../protocol/limits.ts";
import type { Clock, LinkKind, NetworkPeer } from "../seams.ts";
import { createFrameStream, type FrameStream, type FrameStreamEnd } from "./frame-stream.ts";
import { isDirect, linkKindOf } from "./link-kind.ts";

export const SYNC_PROTOCOL = "/rowmesh/sync/1";
const OPEN_TIMEOUT_MS = 10_000;
/**
 * A connection whose stream ended, and over which no new one comes, is dead without saying so: a
 * browser takes 13 s to notice that a hub closed its WebRTC connection.
 */
const ORPHAN_MS = 3_000;
/** Between tries to open a stream that the other side refused or broke. */
const REOPEN_FIRST_MS = 500;
const REOPEN_MAX_MS = 30_000;
/** A stream that lasted less counts as broken: somebody else with our peer id may be opening too. */
const SHORT_MS = 3_000;

export interface FrameLinksOptions {
  readonly libp2p: Libp2p;
  readonly clock: Clock;
  readonly onUp: (peer: NetworkPeer, connection: Connection) => void;
  readonly onDown: (peer: PeerId) => void;
  readonly onFrame: (peer: PeerId, bytes: Uint8Array) => Promise<void>;
  /** So many bytes of the peer's next frame have come. */
  readonly onArriving: (peer: PeerId, bytes: number) => void;
  /** The peer broke the framing. */
  readonly onBroken: (peer: PeerId, code: MeshErrorCode) => void;
}

interface FrameLink {
  readonly frames: FrameStream;
  readonly connection: Connection;
  readonly kind: LinkKind;
  readonly sinceMs: number;
}

export interface FrameLinks {
  readonly link: (peer: PeerId) => FrameLink | undefined;
  readonly all: () => ReadonlyMap<PeerId, FrameLink>;
  /** Takes a stream that the peer opened. */
  readonly accept: (stream: Stream, connection: Connection) => void;
  /** Opens what is missing. Called after every new connection; call it every few seconds too. */
  readonly open: () => void;
  readonly stop: () => void;
}

interface Retry {
  failures: number;
  afterMs: number;
}

export function createFrameLinks(options: FrameLinksOptions): FrameLinks {
  const { libp2p, clock, onUp, onDown, onFrame, onArriving, onBroken } = options;
  const self = libp2p.peerId.toString();
  const links = new Map<PeerId, FrameLink>();
  const opening = new Set<PeerId>();
  const retries = new Map<PeerId, Retry>();
  const orphans = new Map<Connection, number>();
  /** Connections to peers without a link, and since when. */
  let idle: ReadonlyMap<Connection, number> = new Map();
  const stopping = new AbortController();

  function adopt(stream: Stream, connection: Connection): void {
    const peer = connection.remotePeer.toString();
    links.get(peer)?.frames.close();
    const frames = createFrameStream({
      stream,
      clock,
      onFrame: (bytes) => onFrame(peer, bytes),
      onArriving: (bytes) => onArriving(peer, bytes),
      onEnd: (end) => onEnd(peer, frames, connection, end),
    });
    const kind = linkKindOf(connection.remoteAddr);
    links.set(peer, { frames, connection, kind, sinceMs: clock.nowMs() });
    onUp({ id: peer, link: kind }, connection);
  }

  function onEnd(peer: PeerId, frames: FrameStream, connection: Connection, end: FrameStreamEnd) {
    const link = links.get(peer);
    if (link?.frames !== frames) return;
    links.delete(peer);
    onDown(peer);
    switch (end.type) {
      case "silent":
        connection.abort(new Error("nothing heard"));
        break;
      case "broken":
        backOff(peer);
        onBroken(peer, end.code);
        break;
      case "closed":
        orphans.set(connection, clock.nowMs());
        if (clock.nowMs() - link.sinceMs < SHORT_MS) backOff(peer);
        else retries.delete(peer);
    }
    open();
  }

  function backOff(peer: PeerId): void {
    const failures = retries.get(peer)?.failures ?? 0;
    const delayMs = Math.min(REOPEN_MAX_MS, REOPEN_FIRST_MS * 2 ** failures);
    retries.set(peer, { failures: Math.min(failures + 1, 10), afterMs: clock.nowMs() + delayMs });
  }

  async function openTo(peer: PeerId, connection: Connection): Promise<void> {
    opening.add(peer);
    try {
      const timeout = AbortSignal.timeout(OPEN_TIMEOUT_MS);
      const signal = AbortSignal.any([stopping.signal, timeout]);
      const stream = await connection.newStream(SYNC_PROTOCOL, { signal });
      if (stopping.signal.aborted) return stream.abort(new Error("stopped"));
      adopt(stream, connection);
    } catch {
      // Refused, not spoken, or the connection died: the next round tries what is there then.
      backOff(peer);
    } finally {
      opening.delete(peer);
    }
  }

  function abortOrphans(nowMs: number): void {
    for (const [connection, sinceMs] of orphans) {
      const isAdopted = links.has(connection.remotePeer.toString());
      const isDue = nowMs - sinceMs >= ORPHAN_MS;
      if (isAdopted || isDue || connection.status !== "open") orphans.delete(connection);
      if (isDue && !isAdopted) connection.abort(new Error("no stream since its last one ended"));
    }
  }

  /** Over that connection, or since too short a time to move there. */
  function isCarrying(peer: PeerId, connection: Connection, nowMs: number): boolean {
    const link = links.get(peer);
    if (link === undefined) return false;
    return link.connection === connection || nowMs - link.sinceMs < SHORT_MS;
  }

  /** Who connects and opens no stream takes the place of somebody else. */
  function abortIdle(nowMs: number): void {
    const connections = newestFirst(libp2p.getConnections());
    const waiting = connections.filter(({ remotePeer }) => !links.has(remotePeer.toString()));
    idle = new Map(waiting.map((each) => [each, idle.get(each) ?? nowMs]));
    for (const [connection, sinceMs] of idle) {
      if (nowMs - sinceMs >= IDLE_CONNECTION_MS) connection.abort(new Error("no stream"));
    }
  }

  function open(): void {
    if (stopping.signal.aborted) return;
    const nowMs = clock.nowMs();
    abortOrphans(nowMs);
    abortIdle(nowMs);
    const seen = new Set<PeerId>();
    for (const connection of newestFirst(libp2p.getConnections())) {
      const peer = connection.remotePeer.toString();
      if (seen.has(peer)) continue;
      seen.add(peer);
      const isOurs = self < peer && !opening.has(peer) && !isCarrying(peer, connection, nowMs);
      if (isOurs && (retries.get(peer)?.afterMs ?? 0) <= nowMs) void openTo(peer, connection);
    }
    for (const [peer, { afterMs }] of retries) {
      const isGone = libp2p.getConnections(peerIdFromString(peer)).length === 0;
      if (isGone && afterMs <= nowMs) retries.delete(peer);
    }
  }

  libp2p.addEventListener("connection:open", open);

  return {
    link: (peer) => links.get(peer),
    all: () => links,
    accept: (stream, connection) => {
      const isAcceptable = isDirect(connection) && connection.remotePeer.toString() < self;
      if (isAcceptable && !stopping.signal.aborted) adopt(stream, connection);
      else stream.abort(new Error("only the smaller peer id opens, on a direct connection"));
    },
    open,
    stop: () => {
      stopping.abort();
      libp2p.removeEventListener("connection:open", open);
      for (const { frames } of links.values()) frames.close();
    },
  };
}

/** Usable connections; the older of two is more likely to be dead without knowing. */
export const newestFirst = (connections: readonly Connection[]): Connection[] =>
  connections
    .filter((connection) => connection.status === "open" && isDirect(connection))
    .sort((a, b) => b.timeline.open - a.timeline.open);
