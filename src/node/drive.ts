/**
 * Drives the replication machine: what a network and a store do becomes events, effects become
 * calls. The only place of replication that awaits. Events are handled one after another, also when
 * carrying out an effect causes the next.
 *
 * @module
 */

import type { Effect, ReplicationEvent } from "../gossip/effect.ts";
import type { Identity } from "../gossip/link.ts";
import {
  createReplication,
  type ReplicationOptions,
  type ReplicationStatus,
} from "../gossip/replication.ts";
import type { PeerId } from "../protocol/ids.ts";
import { INGEST_BYTES_MAX } from "../protocol/limits.ts";
import type { ChangesetRange } from "../protocol/version-vector.ts";
import type {
  BroadcastVerdict,
  ChunkRequest,
  Clock,
  IngestItem,
  Network,
  Random,
  ReplicaChange,
  ReplicaStore,
  Timers,
} from "../seams.ts";
import { systemTimers } from "./system-timers.ts";

export interface DriveOptions
  extends Identity, Pick<ReplicationOptions, "ownSites" | "heldElsewhere"> {
  readonly network: Network;
  readonly store: ReplicaStore;
  readonly clock: Clock;
  readonly random: Random;
  /** Default: the system's. */
  readonly timers?: Timers;
  /** Mean time between digests to each peer, in milliseconds. Default {@link ROUND_MS}. */
  readonly roundMs?: number;
}

export interface Drive {
  readonly status: () => ReplicationStatus;
  /** Called after every event. Returns the stop function. */
  readonly onStatus: (listener: () => void) => () => void;
  /** Stops listening, and offering. The network stays as it is: stop it afterwards. */
  readonly stop: () => Promise<void>;
}

/** A digest is 33 bytes: seldom enough to cost nothing, often enough to notice what was lost. */
const ROUND_MS = 5_000;
/** Above it frames are taken only as fast as the store takes them. */
const INTAKE_BYTES_CALM: number = INGEST_BYTES_MAX / 2;
/** After the store failed to release our own changesets. */
const OFFER_RETRY_MS = 5_000;

/** Resolves when the network has started. */
export async function drive(options: DriveOptions): Promise<Drive> {
  const { network, store, clock, timers = systemTimers } = options;
  const changes: ReplicaChange[] = [];
  let take = (change: ReplicaChange): void => void changes.push(change);
  const stopChanges = store.onChange((change) => take(change));
  const vector = await store.vector();
  const incoming = await store.incoming();
  const replication = createReplication({ roundMs: ROUND_MS, ...options, vector, incoming });
  const events: ReplicationEvent[] = [];
  const listeners = new Set<() => void>();
  const verdicts = new Map<number, (verdict: BroadcastVerdict) => void>();
  const waitingForRoom = new Set<() => void>();
  /** Tells a link from an earlier one to the same peer. */
  const linkByPeer = new Map<PeerId, number>();
  let lastId = 0;
  let cancelWake: (() => void) | null = null;
  let isHandling = false;
  let offered: "on" | "off" = "off";
  let state: "running" | "stopped" = "running";

  function handle(event: ReplicationEvent): void {
    events.push(event);
    if (isHandling || state === "stopped") return;
    isHandling = true;
    try {
      for (let next = events.shift(); next !== undefined; next = events.shift()) {
        for (const effect of replication.handle(next, clock.nowMs())) carryOut(effect);
      }
    } finally {
      isHandling = false;
    }
    for (const listener of listeners) listener();
    if (replication.intakeBytes() > INTAKE_BYTES_CALM) return;
    for (const resume of waitingForRoom) resume();
    waitingForRoom.clear();
  }

  function carryOut(effect: Effect): void {
    switch (effect.type) {
      case "send":
        return void send(effect.to, effect.frames);
      case "broadcast":
        return void broadcast(effect.bytes);
      case "ingest":
        return void ingest(effect.ticket, effect.item);
      case "read":
        return void read(effect.peer, effect.range, effect.bytesMax);
      case "readChunks":
        return void readChunks(effect.peer, effect.request);
      case "offer":
        offered = effect.mode;
        return void offer(effect.mode);
      case "penalise":
        return network.penalise(effect.peer, effect.code);
      case "suggest":
        return network.suggestPeers(
          effect.via,
          effect.peers.filter((peer) => peer !== network.self),
        );
      case "verdict":
        verdicts.get(effect.id)?.(effect.verdict);
        verdicts.delete(effect.id);
        return;
      case "wake":
        cancelWake?.();
        cancelWake = timers.after(effect.atMs - clock.nowMs(), () => handle({ type: "wake" }));
    }
  }

  async function send(to: PeerId, frames: readonly Uint8Array[]): Promise<void> {
    const link = linkByPeer.get(to);
    for (const frame of frames) {
      if (linkByPeer.get(to) !== link) return;
      // A frame that cannot be sent means that the link is going down, which it says itself.
      await network.send(to, frame).catch(() => undefined);
    }
    if (linkByPeer.get(to) === link) handle({ type: "sent", peer: to });
  }

  async function broadcast(bytes: Uint8Array): Promise<void> {
    const peers = await network.broadcast(bytes).catch(() => 0);
    handle({ type: "broadcastSent", peers });
  }

  async function ingest(ticket: number, item: IngestItem): Promise<void> {
    const outcomes = await store.ingest([item]).catch(() => []);
    handle({ type: "ingested", ticket, outcomes: outcomes[0] ?? [] });
  }

  async function read(peer: PeerId, range: ChangesetRange, bytesMax: number): Promise<void> {
    const link = linkByPeer.get(peer);
    const answer = await store
      .read(range, bytesMax, "outlined")
      .catch(() => ({ runs: [], next: null }));
    if (linkByPeer.get(peer) === link) handle({ type: "read", peer, ...answer });
  }

  async function readChunks(peer: PeerId, request: ChunkRequest): Promise<void> {
    const link = linkByPeer.get(peer);
    const chunks = await store.readChunks(request).catch(() => []);
    if (linkByPeer.get(peer) === link) handle({ type: "chunksRead", peer, chunks });
  }

  async function offer(mode: "on" | "off"): Promise<void> {
    try {
      await store.offer(mode);
    } catch {
      // A full disk, say: what was not released is offered when there is room.
      timers.after(OFFER_RETRY_MS, () => {
        if (offered === mode && state === "running") void offer(mode);
      });
    }
  }

  async function receive(from: PeerId, bytes: Uint8Array): Promise<void> {
    handle({ type: "frame", from, bytes });
    if (replication.intakeBytes() <= INTAKE_BYTES_CALM || state === "stopped") return;
    await new Promise<void>((resume) => waitingForRoom.add(resume));
  }

  function judge(from: PeerId, bytes: Uint8Array): Promise<BroadcastVerdict> {
    if (state === "stopped") return Promise.resolve("ignore");
    const id = (lastId += 1);
    return new Promise((resolve) => {
      verdicts.set(id, resolve);
      handle({ type: "broadcastReceived", id, from, bytes });
    });
  }

  async function stop(): Promise<void> {
    if (state === "stopped") return;
    state = "stopped";
    stopChanges();
    cancelWake?.();
    for (const resolve of verdicts.values()) resolve("ignore");
    for (const resume of waitingForRoom) resume();
    linkByPeer.clear();
    // The store may be closed already.
    if (offered === "on") await store.offer("off").catch(() => undefined);
  }

  take = (change) => handle({ type: "changed", ...change });
  for (const change of changes) take(change);
  await network.start({
    peerUp: ({ id }) => {
      linkByPeer.set(id, (lastId += 1));
      handle({ type: "peerUp", peer: id });
    },
    peerDown: (peer) => {
      linkByPeer.delete(peer);
      handle({ type: "peerDown", peer });
    },
    frame: receive,
    arriving: (from, bytes) => handle({ type: "arriving", from, bytes }),
    isHub: replication.isHub,
    broadcast: judge,
  });
  return {
    status: replication.status,
    onStatus: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    stop,
  };
}
