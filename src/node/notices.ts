/**
 * What a person should know of the status, in plain sentences: first what may lose data or stops
 * this device, then what is under way.
 *
 * @module
 */

import type { AuthorStatus, MeshStatus } from "./api.ts";

/** Share of the storage's quota above which it is nearly full, and how little may be left. */
const NEARLY_FULL = 0.9;
const LEFT_BYTES_MIN = 50e6;
/** Sentences about newer schemas: those that most authors vouch for. */
const NEWER_SCHEMAS_SHOWN = 3;
/** Sentences about large changes. */
const INCOMING_SHOWN = 3;

export function noticesOf(status: Omit<MeshStatus, "notices">): string[] {
  const { newKeys, forks, refusals } = status;
  const sentences = parkedNotices(status);
  const newKey = newKeys.at(-1);
  if (newKey !== undefined) sentences.push(copied(newKey));
  else if (forks.some(({ headers }) => headers.length > 0)) {
    sentences.push("One key was used on two devices; see forks.");
  }
  sentences.push(...storageNotices(status), ...linkNotices(status));
  if (status.missing > 0) {
    sentences.push(
      `${status.missing === 1 ? "1 change of others is" : `${status.missing} changes of others are`} still on the way.`,
    );
  }
  for (const { bytes, totalBytes } of status.incoming.slice(0, INCOMING_SHOWN)) {
    sentences.push(
      `A large change is arriving: ${megabytes(bytes)} of ${megabytes(totalBytes)} MB.`,
    );
  }
  if (refusals.length > 0) {
    sentences.push("Something was refused; see refusals for why, and what to do.");
  }
  return sentences;
}

function parkedNotices({ waiting, authors }: Omit<MeshStatus, "notices">): string[] {
  const { parked, reason, newerSchemas } = waiting;
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
  const waits = changesets === 1 ? "1 change waits" : `${changesets} changes wait`;
  return `${waits} for schema version ${version}, named by ${whose}: upgrade the app.`;
}

/** What may be lost, and how to prevent it. */
function storageNotices(status: Omit<MeshStatus, "notices">): string[] {
  const { storage, unsent } = status;
  const sentences: string[] = [];
  const isKept = storage.kind === "directory" || storage.persisted === true;
  const isAlone = linkedPeers(status).length === 0;
  if (!storage.durable) {
    sentences.push("Data is kept in memory only and ends with this page or program.");
  }
  if (unsent > 0 && isAlone && !isKept) {
    sentences.push(
      `${unsent === 1 ? "1 of your changes is" : `${unsent} of your changes are`} known to no other device. ${storage.eviction} Link this device with another one, or export a bundle.`,
    );
  }
  if (isNearlyFull(storage)) {
    const { usageBytes, quotaBytes } = storage;
    sentences.push(
      `Storage is nearly full: ${megabytes(usageBytes ?? 0)} of ${megabytes(quotaBytes ?? 0)} MB are in use. Free some space on this device.`,
    );
  }
  return sentences;
}

function isNearlyFull({ usageBytes, quotaBytes }: MeshStatus["storage"]): boolean {
  if (usageBytes === null || quotaBytes === null) return false;
  return usageBytes > NEARLY_FULL * quotaBytes || quotaBytes - usageBytes < LEFT_BYTES_MIN;
}

function linkNotices(status: Omit<MeshStatus, "notices">): string[] {
  const { meshId, online, peers, platform } = status;
  if (meshId === null) return ["Not part of a mesh yet: invite somebody, or join."];
  if (!online) return ["Offline: changes are kept here and sent when back online."];
  const webrtc = platform.lacks.find(({ feature }) => feature === "webrtc");
  const sentences = webrtc === undefined ? [] : [`${webrtc.effect} ${webrtc.remedy}`];
  const linked = linkedPeers(status);
  if (linked.length === 0) {
    sentences.push("Looking for other devices.");
    // Of itself, a device finds back only to hubs and through devices that it is linked to.
    const isPairing = platform.secureContext !== null && webrtc === undefined;
    if (isPairing) sentences.push("Where no hub is near, pair with a device that is.");
  } else if (peers.some(({ link }) => link === "relayed")) {
    sentences.push("Not every device is linked directly: its changes come through others.");
  }
  const silent = linked.filter(({ quality }) => quality === "silent").length;
  if (silent > 0) {
    sentences.push(
      `${silent === 1 ? "1 linked device says" : `${silent} linked devices say`} nothing any more: wake ${silent === 1 ? "it" : "them"}, or bring it nearer.`,
    );
  }
  return sentences;
}

/** Those that data comes from. */
export const linkedPeers = ({ peers }: Pick<MeshStatus, "peers">): MeshStatus["peers"] =>
  peers.filter(({ link }) => link !== "relayed" && link !== "none");

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);
const copied = ({ formerSiteId, siteId, takenMs }: MeshStatus["newKeys"][number]): string =>
  `This profile exists twice: a copy of it wrote too. Since ${dayOf(takenMs)} this device writes as ${siteId.slice(0, 12)}… instead of ${formerSiteId.slice(0, 12)}…; nothing was lost.`;

/** A device's clock may say anything. */
const dayOf = (ms: number): string =>
  ms <= 8.64e15 ? new Date(ms).toISOString().slice(0, 16).replace("T", " ") : "an unknown day";
