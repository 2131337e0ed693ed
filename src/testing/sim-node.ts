/**
 * One device of the simulation: a replica on its disk, the real driver over the simulated network,
 * and the invariants that must hold after every step.
 *
 * @module
 */

import { type Drive, drive } from "../node/drive.ts";
import type { MeshId, PeerId, SiteId } from "../protocol/ids.ts";
import { INGEST_BYTES_MAX } from "../protocol/limits.ts";
import { decodeMessage } from "../protocol/messages.ts";
import { type AuthorStream, authorStream } from "../protocol/version-vector.ts";
import type { IngestItem, IngestOutcome, Network, Random, ReplicaStore } from "../seams.ts";
import type { SimNetwork } from "./sim-network.ts";
import type { World } from "./world.ts";

/** A replica that runs, whatever it is made of. */
export interface SimReplica {
  readonly store: ReplicaStore;
  /** One local transaction. */
  readonly write: () => Promise<void>;
  /** Equal on replicas that hold the same rows. */
  readonly stateHash: () => Promise<string>;
  readonly close: () => Promise<void>;
}

/** A device that may be off; its disk stays. */
export interface SimDevice {
  readonly id: PeerId;
  readonly site: SiteId;
  readonly open: () => Promise<SimReplica>;
}

/** Of changesets; those ingested and those known on arrival by how they came. */
interface SimCounts {
  written: number;
  readonly ingested: Record<IngestItem["type"], number>;
  readonly duplicates: Record<IngestItem["type"], number>;
}

export interface SimNode {
  readonly device: SimDevice;
  readonly isUp: () => boolean;
  readonly start: () => Promise<void>;
  /** Ends at once, as a killed process does; what was committed stays. */
  readonly kill: () => Promise<void>;
  /**
   * "all": as a page in the background may, its links up and nothing answered any more. "reads": its
   * disk gives nothing back, so that it claims and does not serve.
   */
  readonly hang: (what: "all" | "reads") => void;
  readonly isHanging: () => boolean;
  readonly write: () => Promise<void>;
  readonly drive: () => Drive | null;
  readonly replica: () => SimReplica | null;
  /** Over all lives. */
  readonly counts: SimCounts;
}

/** Unanswered wants one peer may have of us: `WANTS_KNOWN_MAX`. */
const WANTS_MAX = 4;
const ROUND_MS = 5_000;
/** Type byte of the message; a Byzantine peer's frames need not decode. */
const SERVED = 7;

export function createSimNode(
  device: SimDevice,
  world: World,
  net: SimNetwork,
  random: Random,
  mesh: MeshId,
): SimNode {
  const counts: SimCounts = {
    written: 0,
    ingested: { run: 0, broadcast: 0 },
    duplicates: { run: 0, broadcast: 0 },
  };
  let life = 0;
  let hanging: "nothing" | "all" | "reads" = "nothing";
  let replica: SimReplica | null = null;
  let running: Drive | null = null;

  async function start(): Promise<void> {
    const now = (life += 1);
    const opened = await device.open();
    replica = opened;
    const isAlive = () => life === now && hanging !== "all";
    const store = storeOf(opened.store, isAlive);
    const started = await drive({
      network: networkOf(net.join(device.id)),
      store,
      clock: world.clock,
      timers: { after: (ms, run) => world.timers.after(ms, () => isAlive() && run()) },
      random,
      mesh,
      site: device.site,
      role: "device",
      name: device.id,
      roundMs: ROUND_MS,
    });
    running = started;
  }

  function count(type: IngestItem["type"], verdict: IngestOutcome["verdict"]): void {
    if (verdict === "known") counts.duplicates[type] += 1;
    else if (verdict !== "later") counts.ingested[type] += 1;
  }

  /** The world waits for the store; a dead device hears nothing more from it. */
  function storeOf(store: ReplicaStore, isAlive: () => boolean): ReplicaStore {
    const heads = new Map<AuthorStream, number>();
    async function call<T>(work: Promise<T>): Promise<T> {
      const result = await world.busy(work);
      return isAlive() ? result : new Promise(() => {});
    }
    return {
      mesh: store.mesh,
      vector: () => call(store.vector()),
      ingest: async (items) => {
        const answers = await call(store.ingest(items));
        for (const [i, outcomes] of answers.entries()) {
          for (const { verdict } of outcomes) count(items[i]?.type ?? "run", verdict);
        }
        return answers;
      },
      read: (range, bytesMax) =>
        hanging === "reads" ? new Promise(() => {}) : call(store.read(range, bytesMax)),
      offer: (mode) => call(store.offer(mode)),
      onChange: (listener) =>
        store.onChange((change) => {
          if (!isAlive()) return;
          for (const entry of change.entries) {
            const key = authorStream(entry);
            // A fork moves what is above it to a branch.
            const isForked = change.entries.some(
              ({ site, branch }) => site === entry.site && branch !== undefined,
            );
            if (entry.head < (heads.get(key) ?? 0) && !isForked)
              throw new Error(`${device.id} went back in ${key}`);
            heads.set(key, entry.head);
          }
          listener(change);
        }),
    };
  }

  /** Counts what was asked and what was answered. */
  function networkOf(network: Network): Network {
    const unanswered = new Map<PeerId, number>();
    const add = (peer: PeerId, more: number) => {
      const wants = (unanswered.get(peer) ?? 0) + more;
      if (wants > WANTS_MAX) throw new Error(`${device.id} has ${wants} wants at ${peer}`);
      unanswered.set(peer, wants);
    };
    return {
      ...network,
      send: (to, frame) => {
        if (decodeMessage(frame).type === "want") add(to, 1);
        return network.send(to, frame);
      },
      start: (handlers) =>
        network.start({
          ...handlers,
          peerUp: (peer) => {
            unanswered.set(peer.id, 0);
            handlers.peerUp(peer);
          },
          frame: (from, bytes) => {
            if (bytes[0] === SERVED) add(from, -1);
            return hanging === "all" ? new Promise(() => {}) : handlers.frame(from, bytes);
          },
          broadcast: (from, bytes) =>
            hanging === "all" ? new Promise(() => {}) : handlers.broadcast(from, bytes),
        }),
    };
  }

  world.onStep(() => {
    const intakeBytes = running?.status().intakeBytes ?? 0;
    if (intakeBytes > INGEST_BYTES_MAX) throw new Error(`${device.id} holds ${intakeBytes} bytes`);
  });

  return {
    device,
    isUp: () => replica !== null,
    hang: (what) => {
      if (running !== null) hanging = what;
    },
    isHanging: () => hanging !== "nothing",
    start,
    kill: async () => {
      const { close } = replica ?? { close: async () => {} };
      life += 1;
      replica = null;
      running = null;
      net.crash(device.id);
      await world.busy(close());
    },
    write: async () => {
      if (replica === null || hanging !== "nothing") return;
      counts.written += 1;
      await world.busy(replica.write());
    },
    drive: () => running,
    replica: () => replica,
    counts,
  };
}
