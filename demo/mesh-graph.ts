/**
 * The mesh as a graph, as far as this device knows it: itself, the devices it knows, the links it
 * has, and those that the others tell of. Pure; `graph-drawing.ts` draws it.
 *
 * @module
 */

import type { MeshStatus, PeerStatus } from "rowmesh";
import { nameOr } from "./words.ts";

export interface GraphNode {
  readonly id: string;
  readonly kind: "self" | "hub" | "device";
  readonly name: string;
  /** "apart": known, but this device has no link with it. */
  readonly state: "self" | "inStep" | "behind" | "apart";
}

interface GraphEdge {
  readonly id: string;
  readonly source: string;
  readonly target: string;
  /** "told": between two others, as one of them says. */
  readonly kind: "direct" | "socket" | "relayed" | "told";
  readonly quality: NonNullable<PeerStatus["quality"]>;
}

export interface MeshGraph {
  /** This device first. */
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
  /** Devices that are known and not drawn. */
  readonly leftOut: number;
}

/** What a picture can hold and a person can still tell apart. */
export const NODES_MAX = 60;

/** Linked devices are drawn first, then the known ones, then those that others tell of. */
export function meshGraph(status: MeshStatus, self: string): MeshGraph {
  const linked = status.peers.filter(isLinked);
  const apart = status.peers.filter((peer) => !isLinked(peer));
  const known = new Map([...linked, ...apart].map((peer) => [peer.peerId, nodeOf(peer)]));
  for (const id of linked.flatMap((peer) => peer.linkedTo))
    if (id !== self && !known.has(id)) known.set(id, stranger(id));

  const me: GraphNode = { id: self, kind: "self", name: "This device", state: "self" };
  const nodes = [me, ...[...known.values()].slice(0, NODES_MAX - 1)];
  const drawn = new Set(nodes.map(({ id }) => id));
  const edges = [...linked.map((peer) => ownEdge(self, peer)), ...toldEdges(linked, self)].filter(
    ({ source, target }) => drawn.has(source) && drawn.has(target),
  );
  return { nodes, edges, leftOut: known.size + 1 - nodes.length };
}

function isLinked(peer: PeerStatus): boolean {
  return peer.link !== "none";
}

function nodeOf(peer: PeerStatus): GraphNode {
  const state = !isLinked(peer) ? "apart" : peer.sameDigest ? "inStep" : "behind";
  return { id: peer.peerId, kind: peer.role, name: nameOr(peer.name, peer.peerId), state };
}

/** A device of which only its neighbours told. */
function stranger(id: string): GraphNode {
  return { id, kind: "device", name: nameOr(null, id), state: "apart" };
}

function ownEdge(self: string, peer: PeerStatus): GraphEdge {
  return {
    id: edgeId(self, peer.peerId),
    source: self,
    target: peer.peerId,
    kind: linkKind(peer.link),
    quality: peer.quality ?? "good",
  };
}

function linkKind(link: PeerStatus["link"]): GraphEdge["kind"] {
  switch (link) {
    case "webrtc":
    case "webrtc-direct":
      return "direct";
    case "websocket":
    case "tcp":
    case "memory":
      return "socket";
    case "relayed":
    case "none":
      return "relayed";
  }
}

/** Each pair once, whichever of the two tells of it. */
function toldEdges(linked: readonly PeerStatus[], self: string): GraphEdge[] {
  const edges = new Map<string, GraphEdge>();
  for (const { peerId, linkedTo } of linked) {
    for (const other of linkedTo) {
      if (other === self || other === peerId) continue;
      const [source = peerId, target = other] = [peerId, other].toSorted();
      const id = edgeId(source, target);
      edges.set(id, { id, source, target, kind: "told", quality: "good" });
    }
  }
  return [...edges.values()];
}

function edgeId(source: string, target: string): string {
  return `${source} ${target}`;
}
