/**
 * Keeps the status current: the replica's part is read anew after each change, the network's part
 * is read as it is asked for.
 *
 * @module
 */

import { digestOf } from "../gossip/digest.ts";
import { unheldVersions } from "../gossip/held-elsewhere.ts";
import type { MeshErrorCode } from "../protocol/errors.ts";
import { authorStream, type VectorEntry } from "../protocol/version-vector.ts";
import type { Clock } from "../seams.ts";
import type { MeshStatus, TabRole } from "./api.ts";
import { type HubSettings, type MeshLink, sumCounts } from "./mesh-link.ts";
import { meshStatus, NO_NETWORK, type StatusSources } from "./mesh-status.ts";
import { createPersistence } from "./persistence.ts";
import type { Platform } from "./platform.ts";
import type { Replica, ReplicaReport } from "./replica.ts";
import { createStatusFeed, type StatusFeed } from "./status-feed.ts";

export interface MeshReport extends StatusFeed<MeshStatus> {
  /** Reads the replica's part. Resolves when it is at least as new as this call. */
  readonly refresh: () => Promise<void>;
  /** Counts what the app was refused. */
  readonly refused: (code: MeshErrorCode) => void;
  /** A mesh was joined: other devices rely on this one. */
  readonly joined: () => void;
}

export interface MeshReportOptions {
  readonly replica: Replica;
  readonly link: MeshLink;
  readonly clock: Clock;
  readonly hub: HubSettings | null;
  readonly platform: Platform;
  readonly tabRole: () => TabRole;
}

/**
 * A reading looks at every author, and anybody may invent those: it takes at most a tenth of the
 * time, however many commits there are.
 */
const REST_PER_READING = 9;

export async function createMeshReport(options: MeshReportOptions): Promise<MeshReport> {
  const { replica, link, clock, hub, platform, tabRole } = options;
  let report = await replica.report();
  let log = await readLog(replica);
  let state: "open" | "stopped" = "open";
  const refused = new Map<MeshErrorCode, number>();
  let underWay: Promise<void> | null = null;
  let next: Promise<void> | null = null;
  let restUntilMs = 0;
  let resting: ReturnType<typeof setTimeout> | null = null;

  const persistence = createPersistence({
    platform,
    kind: replica.storage.kind,
    clock,
    changed: () => feed.changed(),
  });

  const feed = createStatusFeed(() => {
    persistence.read();
    const replication = link.replication();
    return meshStatus({
      meshId: replica.mesh(),
      storage: { ...replica.storage, ...persistence.status() },
      tab: { role: tabRole() },
      platform,
      online: replication !== null,
      report,
      replication: replication ?? withoutNetwork(),
      refusals: sumCounts(
        link.refusedBefore(),
        replication?.refusals ?? new Map(),
        refused,
        hub?.refusals?.() ?? new Map(),
      ),
      links: link.peers(),
      roundTripMs: link.roundTripMs,
      queue: link.queue,
      nowMs: clock.nowMs(),
    });
  });

  const withoutNetwork = (): StatusSources["replication"] => ({
    ...NO_NETWORK,
    digest: log.digest,
    unheld: unheldVersions(log.own, link.heldElsewhere()),
  });

  /** However many changes ask meanwhile: one reading under way, one more after it. */
  function refresh(): Promise<void> {
    if (underWay === null) return begin();
    next ??= underWay.then(begin);
    return next;
  }

  function begin(): Promise<void> {
    next = null;
    underWay = read().finally(() => {
      underWay = null;
    });
    return underWay;
  }

  async function read(): Promise<void> {
    if (state === "stopped") return;
    const sinceMs = clock.nowMs();
    const before = ownVersion(report);
    report = await replica.report();
    if (ownVersion(report) !== before && tabRole() !== "follower") persistence.wrote();
    // While linked, replication knows its log.
    if (link.replication() === null) log = await readLog(replica);
    restUntilMs = clock.nowMs() + REST_PER_READING * (clock.nowMs() - sinceMs);
    feed.changed();
  }

  /** After a commit; the last one is always read. */
  function changed(): void {
    if (resting !== null) return;
    const restMs = restUntilMs - clock.nowMs();
    // Fails only when the replica was closed: nobody is left to be told.
    if (restMs <= 0) return void refresh().catch(() => undefined);
    resting = setTimeout(() => {
      resting = null;
      changed();
    }, restMs);
  }

  const stopListening = replica.onChange(changed);

  return {
    ...feed,
    refresh,
    refused: (code) => {
      refused.set(code, (refused.get(code) ?? 0) + 1);
      feed.changed();
    },
    joined: persistence.joined,
    stop: () => {
      state = "stopped";
      stopListening();
      if (resting !== null) clearTimeout(resting);
      feed.stop();
    },
  };
}

/** What replication would know of the log. */
async function readLog(
  replica: Replica,
): Promise<{ readonly digest: string; readonly own: readonly VectorEntry[] }> {
  const entries = await replica.vector();
  const sites = new Set(replica.ownSites());
  return {
    digest: digestOf(new Map(entries.map((entry) => [authorStream(entry), entry]))),
    own: entries.filter(({ site, stream }) => stream === "data" && sites.has(site)),
  };
}

/** Another one when something was written here: under the key in use, or by taking one. */
const ownVersion = ({ authors }: ReplicaReport): number =>
  authors.reduce((sum, { local, version }) => sum + (local ? version : 0), 0);
