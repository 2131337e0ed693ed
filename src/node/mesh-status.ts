/**
 * Status in plain words (P8), put together from what the replica, the replication machine and the
 * network know. Pure.
 *
 * @module
 */

import type { LogCounts } from "../db/replica-database.ts";
import type { StorageKind } from "../db/storage.ts";
import type { ReplicationPeer, ReplicationStatus } from "../gossip/replication.ts";
import { ERROR_REMEDIES, type MeshErrorCode } from "../protocol/errors.ts";
import type { HeaderHash, MeshId, PeerId, SiteId } from "../protocol/ids.ts";
import { bytesOfChunks } from "../protocol/outline.ts";
import type { NetworkPeer } from "../seams.ts";
import { siteIdOf } from "../signing/keys.ts";
import type { AuthorStatus, MeshStatus, PeerStatus } from "./api.ts";
import { publicKeyOfPeerId } from "./peer-identity.ts";
import type { ReplicaReport } from "./replica.ts";

export interface StatusSources {
  readonly meshId: MeshId | null;
  readonly online: boolean;
  readonly storage: { readonly kind: StorageKind; readonly durable: boolean };
  readonly report: ReplicaReport;
  readonly replication: Omit<
    ReplicationStatus,
    "offered" | "intakeBytes" | "duplicates" | "refusals"
  >;
  /** What was refused, but for what the log counts. */
  readonly refusals: ReadonlyMap<MeshErrorCode, number>;
  readonly links: readonly NetworkPeer[];
  readonly roundTripMs: (peer: PeerId) => number | null;
  /** Of the clock that the replication's events carry. */
  readonly nowMs: number;
}

export function meshStatus(sources: StatusSources): MeshStatus {
  const { report, replication, online } = sources;
  const { counts } = report;
  const peers = peerStatuses(sources);
  const { held, parked, parkedCode } = counts;
  const refusals = refusalsOf(counts, sources.refusals);
  const forks = forksOf(counts, replication.forks);
  const linked = peers.filter(({ link }) => link !== "relayed" && link !== "none");
  const waiting = {
    held,
    parked,
    reason: parkedCode === null ? null : ERROR_REMEDIES[parkedCode],
    newerSchemas: counts.newerSchemas,
  };
  const authors = authorStatuses(report, replication.peers);
  return {
    meshId: sources.meshId,
    online,
    storage: sources.storage,
    tab: { role: "alone" },
    digest: replication.digest,
    peers,
    authors,
    waiting,
    incoming: incomingOf(report),
    missing: replication.missing,
    converged:
      linked.length > 0 && linked.every(({ sameDigest }) => sameDigest) && held + parked === 0,
    refusals,
    forks,
    newKeys: counts.formerKeys,
    notices: notices(sources, {
      linkedPeers: linked.length,
      relayedPeers: peers.filter(({ link }) => link === "relayed").length,
      parked: parkedNotices(waiting, authors),
      refusals: refusals.length,
      forks: counts.forks.length,
      newKey: counts.formerKeys.at(-1) ?? null,
    }),
  };
}

function peerStatuses({ links, replication, roundTripMs, nowMs }: StatusSources): PeerStatus[] {
  const linkById = new Map(links.map(({ id, link }) => [id, link]));
  const known = new Map(replication.peers.map((peer) => [peer.peer, peer]));
  const ids = [...new Set([...linkById.keys(), ...known.keys()])].sort();
  return ids.map((peerId) => {
    const peer = known.get(peerId);
    const heard = peer?.lastHeardMs ?? null;
    return {
      peerId,
      name: shownName(peer?.name ?? null),
      role: peer?.role ?? "device",
      link: linkById.get(peerId) ?? "none",
      lastHeardMs: heard === null ? null : Math.max(0, Math.round(nowMs - heard)),
      roundTripMs: roundTripMs(peerId) ?? peer?.roundTripMs ?? null,
      weLack: peer?.weLack ?? 0,
      itLacks: peer?.itLacks ?? 0,
      sameDigest: peer?.sameDigest ?? false,
    };
  });
}

function authorStatuses(
  { authors }: ReplicaReport,
  peers: readonly ReplicationPeer[],
): AuthorStatus[] {
  const nameBySite = new Map<SiteId | null, string | null>(
    peers.filter(isItself).map(({ site, name }) => [site, shownName(name)]),
  );
  return authors.map(({ siteId, local, version, lastWroteMs }) => ({
    siteId,
    name: nameBySite.get(siteId) ?? null,
    local,
    version,
    lastWroteMs,
  }));
}

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

interface Noticed {
  readonly linkedPeers: number;
  readonly relayedPeers: number;
  readonly parked: readonly string[];
  readonly refusals: number;
  readonly forks: number;
  readonly newKey: MeshStatus["newKeys"][number] | null;
}

/** Sentences about newer schemas: those that most authors vouch for. */
const NEWER_SCHEMAS_SHOWN = 3;

function parkedNotices(
  { parked, reason, newerSchemas }: MeshStatus["waiting"],
  authors: readonly AuthorStatus[],
): string[] {
  const counted = newerSchemas.reduce((sum, { changesets }) => sum + changesets, 0);
  const shown = [...newerSchemas]
    .sort((a, b) => b.authors.length - a.authors.length)
    .slice(0, NEWER_SCHEMAS_SHOWN)
    .map((newer) => newerSchemaNotice(newer, authors));
  // Something else than the schema keeps the rest.
  return reason === null || parked === counted ? shown : [...shown, reason];
}

function newerSchemaNotice(
  { version, changesets, authors }: MeshStatus["waiting"]["newerSchemas"][number],
  known: readonly AuthorStatus[],
): string {
  const [first] = authors;
  const name = known.find(({ siteId }) => siteId === first)?.name ?? first?.slice(0, 8) ?? "";
  const whose = authors.length === 1 ? `one device alone, ${name}` : `${authors.length} devices`;
  const changes = changesets === 1 ? "1 change waits" : `${changesets} changes wait`;
  return `${changes} for schema version ${version}, named by ${whose}: upgrade the app.`;
}

function notices(
  { meshId, online, storage, replication, report }: StatusSources,
  { linkedPeers, relayedPeers, parked, refusals, forks, newKey }: Noticed,
): string[] {
  const sentences = [...parked];
  if (newKey !== null) sentences.push(copied(newKey));
  else if (forks > 0) sentences.push("One key was used on two devices; see forks.");
  if (!storage.durable) sentences.push("Data is kept in memory only and ends with this page.");
  if (meshId === null) sentences.push("Not part of a mesh yet: invite somebody, or join.");
  else if (!online) sentences.push("Offline: changes are kept here and sent when back online.");
  else if (linkedPeers === 0) sentences.push("Looking for other devices.");
  if (relayedPeers > 0 && linkedPeers > 0) {
    sentences.push("Not every device is linked directly: its changes come through others.");
  }
  if (replication.missing > 0) {
    sentences.push(`${replication.missing} changes of others are still on their way.`);
  }
  for (const { bytes, totalBytes } of incomingOf(report)) {
    sentences.push(
      `A large change is arriving: ${megabytes(bytes)} of ${megabytes(totalBytes)} MB.`,
    );
  }
  if (refusals > 0) sentences.push("Something was refused; see refusals.");
  return sentences;
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);
const copied = ({ formerSiteId, siteId, takenMs }: MeshStatus["newKeys"][number]): string =>
  `This profile exists twice: a copy of it wrote too. Since ${dayOf(takenMs)} this device writes as ${siteId.slice(0, 12)}… instead of ${formerSiteId.slice(0, 12)}…; nothing was lost.`;

/** A device's clock may say anything. */
const dayOf = (ms: number): string =>
  ms <= 8.64e15 ? new Date(ms).toISOString().slice(0, 16).replace("T", " ") : "an unknown day";

/** What replication says while there is no network. */
export const NO_NETWORK: StatusSources["replication"] = {
  digest: "",
  peers: [],
  missing: 0,
  forks: [],
};
