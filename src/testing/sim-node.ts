/**
 * One device of the simulation: a replica on its disk, the real driver over the simulated network,
 * and the invariants that must hold after every step. Power, clock, speed and disk are its own.
 *
 * @module
 */

import { type Drive, drive } from "../node/drive.ts";
import type { MeshId, PeerId, SiteId } from "../protocol/ids.ts";
import { INGEST_BYTES_MAX } from "../protocol/limits.ts";
import { decodeMessage } from "../protocol/messages.ts";
import { type AuthorStream, authorStream, type VectorEntry } from "../protocol/version-vector.ts";
import type { IngestItem, IngestOutcome, Network, Random, ReplicaStore } from "../seams.ts";
import type { DatabaseParts } from "./database-device.ts";
import { createLife, type Life } from "./life.ts";
import { createSimClock, type SimClock } from "./sim-clock.ts";
import type { SimNetwork } from "./sim-network.ts";
import type { World } from "./world.ts";

/** A replica that runs, whatever it is made of. */
export interface SimReplica {
  readonly store: ReplicaStore;
  /** Of the key in use; left out: the device's, for ever. */
  readonly site?: () => SiteId;
  /** Called when another key was taken. */
  readonly onNewKey?: (listener: () => void) => void;
  /** One local transaction. */
  readonly write: () => Promise<void>;
  /** Equal on replicas that hold the same rows. */
  readonly stateHash: () => Promise<string>;
  /** Makes its tables again from its log; left out: it has none. */
  readonly rebuild?: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/** A device that may be off; its disk stays. */
export interface SimDevice {
  readonly id: PeerId;
  readonly site: SiteId;
  /** Switches it on. What it does to the world goes through `life`. */
  readonly open: (life: Life, clock: SimClock) => Promise<SimReplica>;
  /** The power went: what the disk had not flushed is lost, wholly or in part. */
  readonly losePower: () => void;
  /** Null: it has none, only a log. */
  readonly database: DatabaseParts | null;
}

/** Of changesets; those ingested and those known on arrival by how they came. */
export interface SimCounts {
  /** Transactions asked for. */
  written: number;
  crashes: number;
  readonly ingested: Record<IngestItem["type"], number>;
  readonly duplicates: Record<IngestItem["type"], number>;
}

export interface SimNode {
  readonly device: SimDevice;
  readonly clock: SimClock;
  readonly isUp: () => boolean;
  /** Neither up nor starting. */
  readonly isOff: () => boolean;
  /**
   * Rejects when the replica cannot be opened; resolves also when the power goes meanwhile. The
   * world goes on: a slow device takes its time.
   */
  readonly start: () => Promise<void>;
  /** Closed in good order, as far as its network lets it know. */
  readonly kill: () => Promise<void>;
  /** The power goes, now. */
  readonly crash: () => void;
  /** The power goes after so many more steps of this life; see {@link Life}. */
  readonly crashAfter: (steps: number) => void;
  /** Called after every crash. */
  readonly onCrash: (listener: () => void) => void;
  /** Called once, when its next life has begun. */
  readonly onNextStart: (listener: () => void) => void;
  /**
   * "all": as a page in the background may, its links up and nothing answered any more. "reads": its
   * disk gives nothing back, so that it claims and does not serve.
   */
  readonly hang: (what: "all" | "reads") => void;
  readonly isHanging: () => boolean;
  /** Virtual milliseconds that every call of its replica takes. */
  readonly setSlow: (ms: number) => void;
  readonly write: () => Promise<void>;
  readonly rebuild: () => Promise<void>;
  readonly drive: () => Drive | null;
  readonly replica: () => SimReplica | null;
  /** Over all lives. */
  readonly counts: SimCounts;
}

export interface SimNodeOptions {
  readonly device: SimDevice;
  readonly world: World;
  readonly net: SimNetwork;
  readonly random: Random;
  readonly mesh: MeshId;
  /** Sees what every device took in and found authentic. */
  readonly onIngest?: (items: readonly IngestItem[]) => void;
  /** Called when it is back on the network with another key, without links. */
  readonly onRelinked?: () => void;
}

/** Unanswered wants one peer may have of us: `WANTS_KNOWN_MAX`. */
const WANTS_MAX = 4;
const ROUND_MS = 5_000;
/** Type byte of the message; a Byzantine peer's frames need not decode. */
const SERVED = 7;

export function createSimNode(options: SimNodeOptions): SimNode {
  const { device, world, net, random, mesh } = options;
  const clock = createSimClock(world.clock);
  const counts: SimCounts = {
    written: 0,
    crashes: 0,
    ingested: { run: 0, broadcast: 0, outline: 0, chunk: 0 },
    duplicates: { run: 0, broadcast: 0, outline: 0, chunk: 0 },
  };
  const crashListeners: (() => void)[] = [];
  const startListeners: (() => void)[] = [];
  let life: Life | null = null;
  let hanging: "nothing" | "all" | "reads" = "nothing";
  let slowMs = 0;
  let replica: SimReplica | null = null;
  let running: Drive | null = null;

  function goDown(): void {
    life = null;
    replica = null;
    running = null;
    net.crash(device.id);
  }

  async function start(): Promise<void> {
    const now = createLife(() => {
      if (life !== now) return;
      goDown();
      counts.crashes += 1;
      device.losePower();
      for (const listener of crashListeners) listener();
    });
    life = now;
    for (const listener of startListeners.splice(0)) listener();
    try {
      await untilOver(now, startUp(now));
    } catch (error) {
      if (life === now) goDown();
      now.end();
      throw error;
    }
  }

  async function startUp(now: Life): Promise<void> {
    const opened = await world.busy(untilOver(now, device.open(now, clock)));
    if (opened === undefined || life !== now) return;
    replica = opened;
    opened.onNewKey?.(() => void untilOver(now, relink(now, opened)).catch(world.fail));
    await link(now, opened);
  }

  /** As `src/node/mesh.ts` does: the peer id is made of the key. */
  async function relink(now: Life, opened: SimReplica): Promise<void> {
    await running?.stop();
    if (life !== now) return;
    net.crash(device.id);
    await link(now, opened);
    if (life === now) options.onRelinked?.();
  }

  async function link(now: Life, opened: SimReplica): Promise<void> {
    const isAwake = () => life === now && hanging !== "all";
    const started = await drive({
      network: networkOf(net.join(device.id), now),
      store: storeOf(opened.store, now, isAwake),
      clock,
      timers: { after: (ms, run) => world.timers.after(ms, () => isAwake() && now.heard(run)) },
      random,
      mesh,
      site: opened.site?.() ?? device.site,
      role: "device",
      name: device.id,
      roundMs: ROUND_MS,
    });
    if (life === now) running = started;
  }

  function count(type: IngestItem["type"], verdict: IngestOutcome["verdict"]): void {
    if (verdict === "known") counts.duplicates[type] += 1;
    else if (verdict !== "later") counts.ingested[type] += 1;
  }

  /** The world waits for the store; a dead device hears nothing more from it. */
  function storeOf(store: ReplicaStore, now: Life, isAwake: () => boolean): ReplicaStore {
    async function call<T>(work: () => Promise<T>): Promise<T> {
      if (slowMs > 0) await new Promise<void>((done) => world.timers.after(slowMs, done));
      if (life !== now) return new Promise(() => {});
      const result = await world.busy(untilOver(now, now.through(work)));
      return isAwake() ? (result as T) : new Promise(() => {});
    }
    const assertForward = createForwardCheck(device.id, world);
    return {
      mesh: store.mesh,
      vector: () => call(store.vector),
      ingest: async (items) => {
        const intakeBytes = running?.status().intakeBytes ?? 0;
        if (intakeBytes > INGEST_BYTES_MAX) {
          world.fail(new Error(`${device.id} holds ${intakeBytes} bytes`));
        }
        const answers = await call(() => store.ingest(items));
        options.onIngest?.(items.filter((_, i) => answers[i]?.every(isAuthentic) === true));
        for (const [i, outcomes] of answers.entries()) {
          for (const { verdict } of outcomes) count(items[i]?.type ?? "run", verdict);
        }
        return answers;
      },
      read: (range, bytesMax, large) =>
        hanging === "reads"
          ? new Promise(() => {})
          : call(() => store.read(range, bytesMax, large)),
      readChunks: (request) =>
        hanging === "reads" ? new Promise(() => {}) : call(() => store.readChunks(request)),
      incoming: () => call(() => store.incoming()),
      offer: (mode) => call(() => store.offer(mode)),
      onChange: (listener) =>
        store.onChange((change) => {
          if (!isAwake()) return;
          assertForward(change.entries);
          listener(change);
        }),
    };
  }

  /** Counts what was asked and what was answered. */
  function networkOf(network: Network, now: Life): Network {
    const unanswered = new Map<PeerId, number>();
    const add = (peer: PeerId, more: number) => {
      const wants = (unanswered.get(peer) ?? 0) + more;
      if (wants > WANTS_MAX) world.fail(new Error(`${device.id} has ${wants} wants at ${peer}`));
      unanswered.set(peer, wants);
    };
    const isDeaf = () => life !== now || hanging === "all";
    return {
      ...network,
      send: (to, frame) => {
        const { type } = decodeMessage(frame);
        if (type === "want" || type === "wantChunks") add(to, 1);
        return now.through(() => network.send(to, frame));
      },
      broadcast: (bytes) => now.through(() => network.broadcast(bytes)),
      start: (handlers) =>
        network.start({
          peerUp: (peer) => {
            unanswered.set(peer.id, 0);
            if (life === now) now.heard(() => handlers.peerUp(peer));
          },
          peerDown: (peer) => {
            if (life === now) now.heard(() => handlers.peerDown(peer));
          },
          frame: (from, bytes) => {
            if (bytes[0] === SERVED) add(from, -1);
            return isDeaf()
              ? new Promise(() => {})
              : now.through(() => handlers.frame(from, bytes));
          },
          arriving: (from, bytes) => {
            if (!isDeaf()) now.heard(() => handlers.arriving?.(from, bytes));
          },
          broadcast: (from, bytes) =>
            isDeaf() ? new Promise(() => {}) : now.through(() => handlers.broadcast(from, bytes)),
        }),
    };
  }

  return {
    device,
    clock,
    isUp: () => running !== null,
    isOff: () => life === null,
    hang: (what) => {
      if (running !== null) hanging = what;
    },
    isHanging: () => hanging !== "nothing",
    setSlow: (ms) => {
      slowMs = ms;
    },
    start,
    kill: async () => {
      const now = life;
      const { close } = replica ?? { close: async () => {} };
      goDown();
      if (now === null) return;
      await world.busy(untilOver(now, close()));
      now.end();
    },
    crash: () => life?.end(),
    crashAfter: (steps) => life?.endAfter(steps),
    onCrash: (listener) => crashListeners.push(listener),
    onNextStart: (listener) => startListeners.push(listener),
    write: async () => {
      const now = life;
      if (replica === null || now === null || hanging !== "nothing") return;
      counts.written += 1;
      await world.busy(untilOver(now, replica.write()));
    },
    rebuild: async () => {
      const now = life;
      if (replica === null || now === null || hanging !== "nothing") return;
      await world.busy(untilOver(now, replica.rebuild?.() ?? Promise.resolve()));
    },
    drive: () => running,
    replica: () => replica,
    counts,
  };
}

const isAuthentic = ({ verdict }: IngestOutcome): boolean =>
  verdict !== "refused" && verdict !== "later";

/** Resolves at the end of the life, if that comes first: nobody waits for the dead. */
const untilOver = async <T>(life: Life, work: Promise<T>): Promise<T | undefined> =>
  Promise.race([work, life.over.then(() => undefined)]);

/** No head of a vector goes back within one life, but where a fork moves what is above it to a branch. */
function createForwardCheck(id: PeerId, world: World) {
  const heads = new Map<AuthorStream, number>();
  return (entries: readonly VectorEntry[]): void => {
    const forked = new Set(
      entries.filter(({ branch }) => branch !== undefined).map(({ site }) => site),
    );
    for (const entry of entries) {
      const key = authorStream(entry);
      const isBack = entry.head < (heads.get(key) ?? 0) && !forked.has(entry.site);
      if (isBack) world.fail(new Error(`${id} went back in ${key}`));
      heads.set(key, entry.head);
    }
  };
}
