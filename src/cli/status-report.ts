/**
 * A status for people: what there is, what is missing from whom, what was refused, what to do.
 *
 * @module
 */

import type { AuthorStatus, MeshStatus, PeerStatus } from "../node/api.ts";
import { printable } from "./command.ts";

/** What `rowmesh status` knows of a hub: its control socket's answer, or what its database holds. */
export interface HubStatus extends MeshStatus {
  readonly running: boolean;
  readonly peerId: string;
  readonly meshName: string | null;
  /** Origins of its page, most promising first; empty when it is stopped. */
  readonly pages: readonly string[];
  /** Where it can be dialled, best for browsers first; empty when it is stopped. */
  readonly addresses: readonly string[];
}

/** A screen's worth; `--json` has them all. */
const LISTED_MAX = 40;

export function statusReport(status: HubStatus): readonly string[] {
  return [
    ...overview(status),
    ...devices(status),
    ...listed("Authors", writers(status), authorLine),
    ...listed("Large changes on their way", status.incoming, ({ siteId, bytes, totalBytes }) => {
      return `${nameOf(status, siteId)}: ${sizeOf(bytes)} of ${sizeOf(totalBytes)}`;
    }),
    ...listed(
      "Forks",
      status.forks,
      ({ siteId, version, headers }) =>
        `${nameOf(status, siteId)} at version ${version}: ${headers.length === 0 ? "claimed by a peer" : `${headers.length} branches, all merged`}`,
    ),
    ...listed("Refused", status.refusals, ({ code, count, remedy }) => {
      return `${count} × ${code}: ${remedy}`;
    }),
    ...listed("To know, and to do", advice(status), (sentence) => sentence),
  ];
}

function overview(status: HubStatus): readonly string[] {
  const { meshId, meshName, peerId, digest, storage, waiting, missing, queues } = status;
  const name = meshName === null ? "" : `"${printable(meshName)}" `;
  const waits = waiting.held + waiting.parked;
  const bytes = queues.intakeBytes + queues.unsentBytes + queues.unhandledBytes;
  return [
    `mesh     ${meshId === null ? "none" : `${name}${meshId}`}`,
    `peer     ${peerId}, ${status.running ? "running" : "stopped"}`,
    `digest   ${digest}`,
    `storage  ${storage.kind}${storage.durable ? "" : ", not durable"}. ${storage.eviction}`,
    `waiting  ${waits}${waiting.reason === null || waits === 0 ? "" : `: ${waiting.reason}`}`,
    `missing  ${missing}`,
    `queues   ${bytes === 0 ? "empty" : `${sizeOf(queues.intakeBytes)} to store, ${sizeOf(queues.unsentBytes)} to send, ${sizeOf(queues.unhandledBytes)} to read`}`,
  ];
}

const isLinked = ({ link }: PeerStatus): boolean => link !== "none" && link !== "relayed";

function devices(status: HubStatus): readonly string[] {
  if (!status.running) return [];
  const linked = status.peers.filter(isLinked);
  if (linked.length === 0) return ["", "Devices (0)"];
  const rest = status.peers.filter((peer) => !isLinked(peer));
  return listed("Devices", [...linked, ...rest], (peer) =>
    peerLines(status, peer).join("\n      "),
  );
}

function peerLines(status: HubStatus, peer: PeerStatus): readonly string[] {
  const { name, role, link, quality, lastHeardMs, roundTripMs, queue } = peer;
  const facts = [
    role,
    link === "none" ? "no link" : link,
    ...(quality === null ? [] : [quality]),
    lastHeardMs === null ? "not heard yet" : `heard ${ago(lastHeardMs)}`,
    ...(roundTripMs === null ? [] : [`round trip ${Math.round(roundTripMs)} ms`]),
    ...(queue.unsentBytes === 0 ? [] : [`${sizeOf(queue.unsentBytes)} unsent`]),
  ];
  const others = peer.linkedTo.map((id) => peerName(status, id));
  return [
    `${peerLabel(name, peer.peerId)}  ${facts.join(", ")}`,
    ...lacking(status, peer),
    ...(others.length === 0 ? [] : [`linked to ${shortened(others)}`]),
  ];
}

function lacking(status: HubStatus, { weLack, itLacks, lacks, sameDigest }: PeerStatus): string[] {
  if (sameDigest) return ["in step"];
  const by = (which: "weLack" | "itLacks"): string => {
    const parts = lacks
      .filter((each) => each[which] > 0)
      .map((each) => `${each[which]} by ${nameOf(status, each.siteId)}`);
    return parts.length === 0 ? "" : `: ${parts.join(", ")}`;
  };
  return [
    ...(itLacks === 0 ? [] : [`it lacks ${itLacks}${by("itLacks")}`]),
    ...(weLack === 0 ? [] : [`we lack ${weLack}${by("weLack")}`]),
  ];
}

/** A hub writes nothing itself. */
const writers = ({ authors }: HubStatus): readonly AuthorStatus[] =>
  authors.filter(({ version }) => version > 0);

function authorLine({ siteId, name, version, local, lastWroteMs }: AuthorStatus): string {
  const wrote = lastWroteMs === null ? "" : `, wrote ${dayOf(lastWroteMs)}`;
  const whose = local ? ", this hub" : "";
  return `${siteId}  ${name === null ? "" : `${printable(name)}, `}up to version ${version}${wrote}${whose}`;
}

/** Most important first. A stopped hub's peers say nothing of what to do. */
const advice = ({ notices, running }: HubStatus): readonly string[] =>
  running ? notices : notices.filter((notice) => !notice.startsWith("Offline"));

function listed<T>(
  title: string,
  items: readonly T[],
  line: (item: T) => string,
): readonly string[] {
  if (items.length === 0) return [];
  const shown = items.slice(0, LISTED_MAX).map((item) => `  ${printableLines(line(item))}`);
  const more = items.length - shown.length;
  return [
    "",
    `${title} (${items.length})`,
    ...shown,
    ...(more === 0 ? [] : [`  and ${more} more`]),
  ];
}

const printableLines = (text: string): string => text.split("\n").map(printable).join("\n");

const nameOf = ({ authors }: HubStatus, siteId: string): string =>
  authors.find((author) => author.siteId === siteId)?.name ?? `${siteId.slice(0, 12)}…`;

const peerName = ({ peers }: HubStatus, peerId: string): string =>
  peers.find((peer) => peer.peerId === peerId)?.name ?? `…${peerId.slice(-8)}`;

const peerLabel = (name: string | null, peerId: string): string =>
  name === null ? `…${peerId.slice(-8)}` : `${name} (…${peerId.slice(-8)})`;

const NAMES_MAX = 8;

const shortened = (names: readonly string[]): string =>
  names.length <= NAMES_MAX
    ? names.join(", ")
    : `${names.slice(0, NAMES_MAX).join(", ")} and ${names.length - NAMES_MAX} more`;

function ago(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 100) return `${seconds} s ago`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min ago` : `${Math.round(minutes / 60)} h ago`;
}

export function sizeOf(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  const units = ["kB", "MB", "GB", "TB"];
  const power = Math.min(units.length, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1_000 ** power).toFixed(1)} ${units[power - 1]}`;
}

/** A device's clock may say anything. */
const dayOf = (ms: number): string =>
  ms <= 8.64e15 ? new Date(ms).toISOString().slice(0, 16).replace("T", " ") : "on an unknown day";
