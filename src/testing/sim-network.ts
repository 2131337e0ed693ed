/**
 * A network of nodes in a virtual world, behind the `Network` seam. Streams are ordered and
 * reliable while a link is up; a link that goes down loses what was under way. Broadcasts are
 * flooded along links and may be lost, late, doubled and out of order.
 *
 * @module
 */

import type { MeshErrorCode } from "../protocol/errors.ts";
import type { PeerId } from "../protocol/ids.ts";
import type { Network, NetworkHandlers, Random } from "../seams.ts";
import type { World } from "./world.ts";

export interface LinkQuality {
  readonly latencyMs: number;
  readonly bytesPerMs: number;
}

export interface BroadcastFaults {
  readonly lossPercent: number;
  readonly doublePercent: number;
  readonly delayMs: number;
}

export interface Traffic {
  frames: number;
  frameBytes: number;
  /** Copies handed to a link, lost ones included; on a real mesh gossipsub's headers come on top. */
  broadcasts: number;
  broadcastBytes: number;
  readonly framesByType: number[];
}

export interface SimNetwork {
  readonly join: (id: PeerId) => Network;
  /** The node is gone, its links too, without a word. */
  readonly crash: (id: PeerId) => void;
  /** @param back of the direction from `b` to `a`; default as the other */
  readonly connect: (a: PeerId, b: PeerId, quality: LinkQuality, back?: LinkQuality) => void;
  /** From now on nothing that `from` sends arrives at `to`, and neither is told. */
  readonly stall: (from: PeerId, to: PeerId) => void;
  readonly cutAll: () => void;
  readonly cut: (a: PeerId, b: PeerId) => void;
  /** Every link is like this from now on. */
  readonly heal: (quality: LinkQuality) => void;
  readonly faults: (faults: BroadcastFaults) => void;
  readonly traffic: Traffic;
  readonly penalties: {
    readonly by: PeerId;
    readonly peer: PeerId;
    readonly code: MeshErrorCode;
  }[];
  readonly suggested: Map<PeerId, ReadonlySet<PeerId>>;
  /** A hash of everything delivered so far and when. */
  readonly trace: () => string;
}

/** As `LINK_WINDOW_BYTES`: what a sender may have under way. */
const WINDOW_BYTES = 1024 * 1024;
/** As the heartbeat of `frame-stream.ts`. */
const TICK_MS = 1_000;
/** The losing side of a link notices later. */
const NOTICE_MS = 400;

interface Underway {
  readonly bytes: Uint8Array;
  /** When its first byte arrives, and when its last one. */
  readonly beginMs: number;
  readonly readyMs: number;
}

interface Direction {
  quality: LinkQuality;
  isStalled: boolean;
  readonly from: PeerId;
  readonly to: PeerId;
  readonly queue: Underway[];
  readonly waiting: (() => void)[];
  queuedBytes: number;
  freeMs: number;
  isDelivering: boolean;
}

interface SimLink {
  readonly directions: readonly [Direction, Direction];
  state: "up" | "down";
}

interface SimNode {
  readonly id: PeerId;
  handlers: NetworkHandlers | null;
  readonly seen: Set<string>;
  /** Links whose start it was told of, and not yet whose end. */
  readonly links: Map<PeerId, SimLink>;
}

export function createSimNetwork(
  world: World,
  random: Random,
  broadcasting: "on" | "off",
): SimNetwork {
  const nodes = new Map<PeerId, SimNode>();
  const links = new Map<string, SimLink>();
  const penalties: SimNetwork["penalties"] = [];
  const suggested: SimNetwork["suggested"] = new Map();
  const traffic: Traffic = {
    frames: 0,
    frameBytes: 0,
    broadcasts: 0,
    broadcastBytes: 0,
    framesByType: [],
  };
  let faults: BroadcastFaults = { lossPercent: 0, doublePercent: 0, delayMs: 0 };
  let trace = 0x811c9dc5;

  function record(kind: number, from: PeerId, to: PeerId, bytes: Uint8Array): void {
    const words = [kind, nameHash(from), nameHash(to), bytes.length, world.clock.nowMs() * 8];
    for (const word of words) trace = Math.imul(trace ^ (word | 0), 0x01000193);
    for (const byte of bytes.subarray(0, 64)) trace = Math.imul(trace ^ byte, 0x01000193);
  }

  function connect(a: PeerId, b: PeerId, quality: LinkQuality, back: LinkQuality = quality): void {
    const key = linkKey(a, b);
    if (links.get(key)?.state === "up") return;
    const link: SimLink = {
      directions: [direction(a, b, quality), direction(b, a, back)],
      state: "up",
    };
    links.set(key, link);
    tellUp(link, a, b, random.below(5));
    tellUp(link, b, a, random.below(5));
  }

  function tellUp(link: SimLink, at: PeerId, peer: PeerId, delayMs: number): void {
    world.at(delayMs, () => {
      const node = nodes.get(at);
      if (link.state === "down" || node === undefined || node.handlers === null) return;
      // An earlier link whose end was not noticed yet.
      if (node.links.has(peer)) node.handlers.peerDown(peer);
      // Hearing of it was a device's last step.
      if (node.handlers === null) return;
      node.links.set(peer, link);
      node.handlers.peerUp({ id: peer, link: "memory" });
      for (const each of link.directions) if (each.to === at) deliver(link, each);
    });
  }

  function cut(a: PeerId, b: PeerId): void {
    const link = links.get(linkKey(a, b));
    if (link === undefined || link.state === "down") return;
    link.state = "down";
    for (const { queue, waiting } of link.directions) {
      queue.length = 0;
      for (const resume of waiting.splice(0)) resume();
    }
    for (const [at, peer] of [
      [a, b],
      [b, a],
    ] as const) {
      world.at(random.below(NOTICE_MS), () => {
        const node = nodes.get(at);
        if (node === undefined || node.links.get(peer) !== link) return;
        node.links.delete(peer);
        node.handlers?.peerDown(peer);
      });
    }
  }

  async function send(from: PeerId, to: PeerId, bytes: Uint8Array): Promise<void> {
    const link = nodes.get(from)?.links.get(to);
    const way = link?.directions.find((each) => each.from === from);
    if (link === undefined || way === undefined || link.state === "down") return;
    const startMs = Math.max(world.clock.nowMs(), way.freeMs);
    way.freeMs = startMs + bytes.length / way.quality.bytesPerMs;
    const { latencyMs } = way.quality;
    const [beginMs, readyMs] = [startMs + latencyMs, way.freeMs + latencyMs];
    way.queue.push({ bytes: bytes.slice(), beginMs, readyMs });
    way.queuedBytes += bytes.length;
    traffic.frames += 1;
    traffic.frameBytes += bytes.length;
    const type = bytes[0] ?? 0;
    traffic.framesByType[type] = (traffic.framesByType[type] ?? 0) + 1;
    deliver(link, way);
    if (way.queuedBytes <= WINDOW_BYTES) return;
    await new Promise<void>((resume) => way.waiting.push(resume));
  }

  function deliver(link: SimLink, way: Direction): void {
    const head = way.queue[0];
    const isReady = nodes.get(way.to)?.links.get(way.from) === link;
    if (head === undefined || way.isDelivering || way.isStalled || !isReady) return;
    way.isDelivering = true;
    tellArriving(link, way, head);
    world.at(head.readyMs - world.clock.nowMs(), () => {
      const node = nodes.get(way.to);
      if (link.state === "down" || way.isStalled || node?.handlers == null) return;
      record(1, way.from, way.to, head.bytes);
      void node.handlers.frame(way.from, head.bytes).then(() => {
        way.isDelivering = false;
        way.queue.shift();
        way.queuedBytes -= head.bytes.length;
        if (way.queuedBytes <= WINDOW_BYTES) for (const resume of way.waiting.splice(0)) resume();
        deliver(link, way);
      });
    });
  }

  /** What takes long is seen to come. */
  function tellArriving(link: SimLink, way: Direction, head: Underway): void {
    const { bytes, beginMs, readyMs } = head;
    const atMs = Math.max(world.clock.nowMs(), beginMs) + TICK_MS;
    if (atMs >= readyMs) return;
    world.at(atMs - world.clock.nowMs(), () => {
      if (link.state === "down" || way.isStalled || way.queue[0] !== head) return;
      const share = (atMs - beginMs) / (readyMs - beginMs);
      nodes.get(way.to)?.handlers?.arriving?.(way.from, Math.floor(share * bytes.length));
      tellArriving(link, way, head);
    });
  }

  function flood(node: SimNode, bytes: Uint8Array): number {
    if (broadcasting === "off") return 0;
    let handed = 0;
    for (const [peer, link] of node.links) {
      const way = link.directions.find((each) => each.to === peer);
      if (link.state === "down" || way === undefined) continue;
      handed += 1;
      const copies = random.below(100) < faults.doublePercent ? 2 : 1;
      for (let copy = 0; copy < copies; copy++) {
        traffic.broadcasts += 1;
        traffic.broadcastBytes += bytes.length;
        if (way.isStalled || random.below(100) < faults.lossPercent) continue;
        const delayMs = way.quality.latencyMs + random.below(faults.delayMs + 1);
        world.at(delayMs, () => gossip(link, node.id, peer, bytes));
      }
    }
    return handed;
  }

  function gossip(link: SimLink, from: PeerId, to: PeerId, bytes: Uint8Array): void {
    const node = nodes.get(to);
    if (node?.handlers == null || node.links.get(from) !== link || link.state === "down") return;
    record(2, from, to, bytes);
    const id = Buffer.from(bytes).toString("latin1");
    // gossipsub delivers what it has seen to nobody; one in five comes again all the same.
    if (node.seen.has(id) && random.below(5) > 0) return;
    const isNew = !node.seen.has(id);
    node.seen.add(id);
    void node.handlers.broadcast(from, bytes).then((verdict) => {
      if (verdict === "accept" && isNew) flood(node, bytes);
    });
  }

  function join(id: PeerId): Network {
    const own: SimNode = { id, handlers: null, seen: new Set(), links: new Map() };
    nodes.set(id, own);
    const isAlive = () => nodes.get(id) === own;
    return {
      self: id,
      start: async (handlers) => {
        own.handlers ??= handlers;
      },
      send: async (to, frame) => (isAlive() ? send(id, to, frame) : undefined),
      broadcast: async (bytes) => {
        if (!isAlive()) return 0;
        own.seen.add(Buffer.from(bytes).toString("latin1"));
        return flood(own, bytes);
      },
      penalise: (peer, code) => penalties.push({ by: id, peer, code }),
      suggestPeers: (_via, peers) =>
        suggested.set(id, new Set([...(suggested.get(id) ?? []), ...peers])),
      links: () => [...own.links.keys()].map((peer) => ({ id: peer, link: "memory" as const })),
      stop: async () => {
        own.handlers = null;
      },
    };
  }

  return {
    join,
    crash: (id) => {
      const gone = nodes.get(id);
      if (gone === undefined) return;
      gone.handlers = null;
      nodes.delete(id);
      for (const other of nodes.keys()) cut(id, other);
    },
    connect,
    cut,
    cutAll: () => {
      for (const { directions } of links.values()) cut(directions[0].from, directions[0].to);
    },
    stall: (from, to) => {
      const ways = links.get(linkKey(from, to))?.directions ?? [];
      for (const way of ways) if (way.from === from) way.isStalled = true;
    },
    heal: (quality) => {
      for (const { directions } of links.values()) {
        for (const way of directions) way.quality = quality;
      }
    },
    faults: (next) => {
      faults = next;
    },
    traffic,
    penalties,
    suggested,
    trace: () => (trace >>> 0).toString(16),
  };
}

const linkKey = (a: PeerId, b: PeerId) => (a < b ? `${a} ${b}` : `${b} ${a}`);

const direction = (from: PeerId, to: PeerId, quality: LinkQuality): Direction => ({
  quality,
  isStalled: false,
  from,
  to,
  queue: [],
  waiting: [],
  queuedBytes: 0,
  freeMs: 0,
  isDelivering: false,
});

const nameHash = (name: string): number => {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash;
};
