/**
 * Keeps the status current: the replica's part is read anew after each change, the network's part
 * is read as it is asked for.
 *
 * @module
 */

import { digestOf } from "../gossip/digest.ts";
import type { MeshErrorCode } from "../protocol/errors.ts";
import { authorStream } from "../protocol/version-vector.ts";
import type { Clock } from "../seams.ts";
import type { MeshStatus } from "./api.ts";
import { type HubSettings, type MeshLink, sumCounts } from "./mesh-link.ts";
import { meshStatus, NO_NETWORK } from "./mesh-status.ts";
import type { Replica } from "./replica.ts";
import { createStatusFeed, type StatusFeed } from "./status-feed.ts";

export interface MeshReport extends StatusFeed<MeshStatus> {
  /** Reads the replica's part. Resolves when it is at least as new as this call. */
  readonly refresh: () => Promise<void>;
  /** Counts what the app was refused. */
  readonly refused: (code: MeshErrorCode) => void;
}

/**
 * A reading looks at every author, and anybody may invent those: it takes at most a tenth of the
 * time, however many commits there are.
 */
const REST_PER_READING = 9;

export async function createMeshReport(
  replica: Replica,
  link: MeshLink,
  clock: Clock,
  hub: HubSettings | null,
): Promise<MeshReport> {
  let report = await replica.report();
  let digest = await digestOfLog(replica);
  let state: "open" | "stopped" = "open";
  const refused = new Map<MeshErrorCode, number>();
  let underWay: Promise<void> | null = null;
  let next: Promise<void> | null = null;
  let restUntilMs = 0;
  let resting: ReturnType<typeof setTimeout> | null = null;

  const feed = createStatusFeed(() =>
    meshStatus({
      meshId: replica.mesh(),
      storage: replica.storage,
      online: link.replication() !== null,
      report,
      replication: link.replication() ?? { ...NO_NETWORK, digest },
      refusals: sumCounts(link.refusals(), refused, hub?.refusals?.() ?? new Map()),
      links: link.peers(),
      roundTripMs: link.roundTripMs,
      nowMs: clock.nowMs(),
    }),
  );

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
    report = await replica.report();
    // While linked, replication keeps the digest.
    if (link.replication() === null) digest = await digestOfLog(replica);
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
    stop: () => {
      state = "stopped";
      stopListening();
      if (resting !== null) clearTimeout(resting);
      feed.stop();
    },
  };
}

const digestOfLog = async (replica: Replica): Promise<string> =>
  digestOf(new Map((await replica.vector()).map((entry) => [authorStream(entry), entry])));
