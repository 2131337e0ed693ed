/**
 * Status in plain words (P8), put together from what the replica, the replication machine and the
 * network know. Pure.
 *
 * @module
 */

import type { LogCounts } from "../db/replica-database.ts";
import type { ReplicationPeer, ReplicationStatus } from "../gossip/replication.ts";
import { ERROR_REMEDIES, type MeshErrorCode } from "../protocol/errors.ts";
import type { HeaderHash, MeshId, PeerId, SiteId } from "../protocol/ids.ts";
import { LINK_QUEUE_BYTES_MAX } from "../protocol/limits.ts";
import { bytesOfChunks } from "../protocol/outline.ts";
import type { NetworkPeer } from "../seams.ts";
import { siteIdOf } from "../signing/keys.ts";
import type { AuthorStatus, MeshStatus, PeerStatus, PlatformStatus } from "./api.ts";
import { linkedPeers, noticesOf } from "./notices.ts";
import { publicKeyOfPeerId } from "./peer-identity.ts";
import type { ReplicaReport } from "./replica.ts";

export interface StatusSources {
  readonly meshId: MeshId | null;
  readonly online: boolean;
  readonly storage: MeshStatus["storage"];
  readonly tab: MeshStatus["tab"];
  readonly platform: PlatformStatus;
  readonly report: ReplicaReport;
  readonly replication: Omit<
    ReplicationStatus,
    "offered" | "duplicates" | "refusals" | "heldElsewhere"
  >;
  /** What was refused, but for what the log counts. */
  readonly refusals: ReadonlyMap<MeshErrorCode, number>;
  readonly links: readonly NetworkPeer[];
  readonly roundTripMs: (peer: PeerId) => number | null;
  readonly queue: (peer: PeerId) => PeerStatus["queue"];
  /** Of the clock that the replication's events carry. */
  readonly nowMs: number;
}

export function meshStatus(sources: StatusSources): MeshStatus {
  const { report, replication, online } = sources;
  const { counts } = report;
  const nameBySite = namesOf(replication.peers);
  const peers = peerStatuses(sources, nameBySite);
  const { held, parked, parkedCode } = counts;
  const linked = linkedPeers({ peers });
  const waiting = {
    held,
    parked,
    reason: parkedCode === null ? null : ERROR_REMEDIES[parkedCode],
    newerSchemas: counts.newerSchemas,
  };
  const status = {
    meshId: sources.meshId,
    online,
    storage: sources.storage,
    tab: sources.tab,
    platform: { secureContext: sources.platform.secureContext, lacks: sources.platform.lacks },
    queues: {
      intakeBytes: replication.intakeBytes,
      unsentBytes: peers.reduce((sum, { queue }) => sum + queue.unsentBytes, 0),
      unhandledBytes: peers.reduce((sum, { queue }) => sum + queue.unhandledBytes, 0),
    },
    digest: replication.digest,
    peers,
    authors: authorStatuses(report, nameBySite),
    waiting,
    incoming: incomingOf(report),
    missing: replication.missing,
    unsent: counts.unreleased + replication.unheld,
    converged:
      linked.length > 0 && linked.every(({ sameDigest }) => sameDigest) && held + parked === 0,
    refusals: refusalsOf(counts, sources.refusals),
    forks: forksOf(counts, replication.forks),
    newKeys: counts.formerKeys,
  };
  return { ...status, notices: noticesOf(status) };
}

type Names = ReadonlyMap<SiteId | null, string | null>;

function peerStatuses(sources: StatusSources, nameBySite: Names): PeerStatus[] {
  const linkById = new Map(sources.links.map(({ id, link }) => [id, link]));
  const known = new Map(sources.replication.peers.map((peer) => [peer.peer, peer]));
  const ids = [...new Set([...linkById.keys(), ...known.keys()])].sort();
  return ids.map((peerId) => {
    const link = linkById.get(peerId) ?? "none";
    return peerStatus(peerId, link, known.get(peerId), sources, nameBySite);
  });
}

function peerStatus(
  peerId: PeerId,
  link: PeerStatus["link"],
  peer: ReplicationPeer | undefined,
  sources: StatusSources,
  nameBySite: Names,
): PeerStatus {
  const agoMs = (thenMs: number | null | undefined): number | null =>
    thenMs === null || thenMs === undefined
      ? null
      : Math.max(0, Math.round(sources.nowMs - thenMs));
  const status = {
    peerId,
    name: shownName(peer?.name ?? null),
    role: peer?.role ?? "device",
    link,
    lastHeardMs: agoMs(peer?.lastHeardMs),
    roundTripMs: sources.roundTripMs(peerId) ?? peer?.roundTripMs ?? null,
    weLack: peer?.weLack ?? 0,
    itLacks: peer?.itLacks ?? 0,
    lacks: (peer?.lacks ?? []).map(({ site, weLack, itLacks }) => ({
      siteId: site,
      name: nameBySite.get(site) ?? null,
      weLack,
      itLacks,
    })),
    sameDigest: peer?.sameDigest ?? false,
    linkedTo: peer?.linkedTo ?? [],
    queue: sources.queue(peerId),
  };
  return { ...status, quality: qualityOf(status, agoMs(peer?.awaitedMs) ?? 0) };
}

/** A peer answers a digest at once; a link that carries no byte at all is cut within 5 s. */
const SILENT_MS = 10_000;
const SLOW_MS = 1_000;
/** What a fast link does to a ping while it carries as much as it can stays far below. */
const SLOW_WITH_BACKLOG_MS = 200;
const BACKLOG_BYTES: number = LINK_QUEUE_BYTES_MAX / 2;

function qualityOf(
  { link, lastHeardMs, roundTripMs, queue }: Omit<PeerStatus, "quality">,
  awaitsMs: number,
): PeerStatus["quality"] {
  if (link === "none" || link === "relayed" || lastHeardMs === null) return null;
  if (Math.min(awaitsMs, lastHeardMs) > SILENT_MS) {
    // What it is asked may not have left this device.
    return queue.unsentBytes > 0 ? "slow" : "silent";
  }
  const boundMs = queue.unsentBytes >= BACKLOG_BYTES ? SLOW_WITH_BACKLOG_MS : SLOW_MS;
  return roundTripMs !== null && roundTripMs > boundMs ? "slow" : "good";
}

function authorStatuses({ authors }: ReplicaReport, nameBySite: Names): AuthorStatus[] {
  return authors.map(({ siteId, local, version, lastWroteMs }) => ({
    siteId,
    name: nameBySite.get(siteId) ?? null,
    local,
    version,
    lastWroteMs,
  }));
}

const namesOf = (peers: readonly ReplicationPeer[]): Names =>
  new Map(peers.filter(isItself).map(({ site, name }) => [site, shownName(name)]));

/** A hello says any site it likes; the peer id proves one. */
function isItself({ peer, site }: ReplicationPeer): boolean {
  try {
    return siteIdOf(publicKeyOfPeerId(peer)) === site;
  } catch {
    return false;
  }
}

/** Controls and changes of direction would let a name rewrite the line it is shown in. */
const UNSHOWN = /[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu;

function shownName(name: string | null): string | null {
  const shown = name?.replace(UNSHOWN, "").trim() ?? "";
  return shown === "" ? null : shown;
}

function refusalsOf(
  counts: LogCounts,
  elsewhere: ReadonlyMap<MeshErrorCode, number>,
): MeshStatus["refusals"] {
  const countByCode = new Map(counts.refusedByCode);
  for (const [code, count] of elsewhere) {
    // The log's own count includes what peers sent; frames are counted by replication only.
    countByCode.set(code, Math.max(count, countByCode.get(code) ?? 0));
  }
  return [...countByCode].map(([code, count]) => ({ code, count, remedy: ERROR_REMEDIES[code] }));
}

/** Proven forks with both headers; those only seen in a peer's vector without. */
function forksOf(
  counts: LogCounts,
  seen: readonly { readonly site: SiteId; readonly version: number }[],
): MeshStatus["forks"] {
  const proven = counts.forks;
  const suspected = seen
    .filter(({ site }) => !proven.some(({ siteId }) => siteId === site))
    .map(({ site, version }) => ({ siteId: site, version, headers: [] as HeaderHash[] }));
  return [...proven, ...suspected];
}

const incomingOf = ({ incoming }: ReplicaReport): MeshStatus["incoming"] =>
  incoming.map(({ site, version, payloadBytes, missing }) => ({
    siteId: site,
    version,
    bytes: payloadBytes - bytesOfChunks(payloadBytes, missing),
    totalBytes: payloadBytes,
  }));

/** What replication says while there is no network. */
export const NO_NETWORK: StatusSources["replication"] = {
  digest: "",
  peers: [],
  missing: 0,
  forks: [],
  intakeBytes: 0,
  unheld: 0,
};
