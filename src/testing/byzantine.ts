/**
 * A Byzantine peer: knows the mesh, keeps to no rule, and has keys of its own. It speaks the wire
 * format by hand over the simulated network, so that nothing of the real machine keeps it honest.
 * Who is penalised is dropped as the real network does it (`node/peer-standing.ts`).
 *
 * @module
 */

import { createPeerStanding } from "../node/peer-standing.ts";
import { isMeshError } from "../protocol/errors.ts";
import type { MeshId, PeerId, SiteId } from "../protocol/ids.ts";
import { BROADCAST_BYTES_MAX, FRAME_BYTES_MAX } from "../protocol/limits.ts";
import {
  decodeMessage,
  encodeMessage,
  type Message,
  type WantMessage,
} from "../protocol/messages.ts";
import type { VectorEntry } from "../protocol/version-vector.ts";
import type { Network, Random } from "../seams.ts";
import { STRATEGIES, type Strategy, type StrategyName } from "./byzantine-strategies.ts";
import { createWares } from "./byzantine-wares.ts";
import type { LinkQuality, SimNetwork } from "./sim-network.ts";
import type { World } from "./world.ts";

export interface ByzantineOptions {
  readonly id: PeerId;
  readonly world: World;
  readonly net: SimNetwork;
  readonly random: Random;
  readonly mesh: MeshId;
  readonly strategies: readonly StrategyName[];
}

export interface ByzantinePeer {
  readonly id: PeerId;
  /** Links to the victim whenever it is up and lets it, from now on. */
  readonly haunt: (victim: PeerId, quality: LinkQuality, isUp: () => boolean) => void;
  /** Goes for good. */
  readonly stop: () => void;
  /** Payload roots of what it signed and what must contribute nothing. */
  readonly voidRoots: ReadonlySet<string>;
  readonly counts: ByzantineCounts;
}

export interface ByzantineCounts {
  framesSent: number;
  bytesSent: number;
  /** What honest peers spent on it. */
  framesHeard: number;
  bytesHeard: number;
  /** Times that somebody dropped it. */
  drops: number;
}

const TICK_MS = 500;
/** A sender that ignores the window loses the stream (`frame-stream.ts`): it keeps to so many frames. */
const UNDER_WAY_MAX = 64;
const OVERHEARD_MAX = 200;
const REDIAL_MS = 2_000;

interface LinkTo {
  readonly peer: PeerId;
  site: SiteId | null;
  readonly entries: Map<SiteId, VectorEntry>;
  readonly wants: WantMessage[];
  age: number;
  underWay: number;
}

/** Resolves when everything it is going to need is signed. */
export async function createByzantinePeer(options: ByzantineOptions): Promise<ByzantinePeer> {
  const { id, world, net, random, mesh } = options;
  const strategies: readonly Strategy[] = options.strategies.map((name) => STRATEGIES[name]);
  const wares = createWares(mesh, random);
  const links = new Map<PeerId, LinkTo>();
  const overheard: Uint8Array[] = [];
  const counts = { framesSent: 0, bytesSent: 0, framesHeard: 0, bytesHeard: 0, drops: 0 };
  const standings = new Map<PeerId, ReturnType<typeof createPeerStanding>>();
  const early: Uint8Array[] = [];
  let network: Network | null = null;
  let judged = net.penalties.length;
  let isStopped = false;
  const self = await wares.author();

  function broadcast(bytes: Uint8Array): void {
    if (bytes.length > BROADCAST_BYTES_MAX + 1_000) return;
    if (network === null) early.push(bytes);
    else void network.broadcast(bytes);
  }

  const scene = { random, wares, overheard, broadcast };
  for (const strategy of strategies) await strategy.prepare?.(scene);

  function put(link: LinkTo, frame: Uint8Array): void {
    if (network === null || link.underWay >= UNDER_WAY_MAX || frame.length > FRAME_BYTES_MAX)
      return;
    counts.framesSent += 1;
    counts.bytesSent += frame.length;
    link.underWay += 1;
    void network.send(link.peer, frame).then(() => {
      link.underWay -= 1;
    });
  }

  const say = (link: LinkTo, message: Message): void => put(link, encodeMessage(message));

  const victimOf = (link: LinkTo) => ({
    ...link,
    say: (message: Message) => say(link, message),
    bytes: (frame: Uint8Array) => put(link, frame),
  });

  function peerUp(peer: PeerId): void {
    const link: LinkTo = { peer, site: null, entries: new Map(), wants: [], age: 0, underWay: 0 };
    links.set(peer, link);
    let hello: Message | null = {
      type: "hello",
      mesh,
      site: self.signer.siteId,
      role: "device",
      name: "mallory",
      digest: "00".repeat(32),
    };
    for (const strategy of strategies) {
      if (hello !== null && strategy.hello !== undefined) hello = strategy.hello(hello);
    }
    if (hello === null) return;
    say(link, hello);
    say(link, { type: "vector", part: "first", entries: wares.entries() });
  }

  function hear(link: LinkTo, frame: Uint8Array): void {
    counts.framesHeard += 1;
    counts.bytesHeard += frame.length;
    const message = decode(frame);
    if (message?.type === "hello") link.site = message.site;
    if (message?.type === "vector") {
      for (const entry of message.entries) link.entries.set(entry.site, entry);
    }
    if (message?.type === "want") answer(link, message);
  }

  function answer(link: LinkTo, want: WantMessage): void {
    for (const strategy of strategies) {
      if (strategy.want?.(victimOf(link), want, scene) === true) return;
    }
    for (const range of want.ranges) {
      const run = wares.run(range);
      if (run !== null) say(link, { type: "run", want: want.want, run });
    }
    say(link, { type: "served", want: want.want, complete: true });
  }

  function tick(): void {
    if (isStopped) return;
    dropPenalised();
    for (const link of links.values()) {
      link.age += 1;
      for (const strategy of strategies) strategy.tick?.(victimOf(link), scene);
    }
    world.at(TICK_MS, tick);
  }

  /** What the network of whoever penalised this peer does. */
  function dropPenalised(): void {
    for (const { by, peer, code } of net.penalties.slice(judged)) {
      if (peer !== id) continue;
      const standing = standings.get(by) ?? createPeerStanding();
      standings.set(by, standing);
      if (standing.strike(peer, code, world.clock.nowMs()) === null) continue;
      counts.drops += 1;
      net.cut(id, by);
    }
    judged = net.penalties.length;
  }

  function haunt(victim: PeerId, quality: LinkQuality, isUp: () => boolean): void {
    if (isStopped) return;
    const isBanned = standings.get(victim)?.isBanned(id, world.clock.nowMs()) === true;
    if (!isBanned && !links.has(victim) && isUp()) net.connect(id, victim, quality);
    world.at(REDIAL_MS, () => haunt(victim, quality, isUp));
  }

  network = net.join(id);
  await network.start({
    peerUp: ({ id: peer }) => peerUp(peer),
    peerDown: (peer) => void links.delete(peer),
    frame: async (from, frame) => {
      const link = links.get(from);
      if (link !== undefined) hear(link, frame);
    },
    broadcast: async (_from, message) => {
      if (overheard.length < OVERHEARD_MAX) overheard.push(message);
      return "accept";
    },
  });
  world.at(TICK_MS, tick);
  return {
    id,
    voidRoots: wares.roots,
    counts,
    haunt: (victim, quality, isUp) => {
      haunt(victim, quality, isUp);
      // Gossip reaches whoever is linked.
      world.at(TICK_MS, () => {
        for (const message of early) broadcast(message);
      });
    },
    stop: () => {
      isStopped = true;
      net.crash(id);
    },
  };
}

function decode(frame: Uint8Array): Message | null {
  try {
    return decodeMessage(frame);
  } catch (error) {
    if (isMeshError(error)) return null;
    throw error;
  }
}
