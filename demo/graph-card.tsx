/**
 * Who is linked to whom, as a picture, and what is known of the device one points at.
 *
 * @module
 */

import type { Mesh, MeshStatus, PeerStatus } from "rowmesh";
import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { GraphPicture, stateWords } from "./graph-picture.tsx";
import { Icon } from "./icons.tsx";
import { meshGraph, type GraphNode, type MeshGraph } from "./mesh-graph.ts";
import { agoWords, bytes, count, linkWords, nameOr, qualityWords } from "./words.ts";

export function GraphCard(props: { mesh: Mesh; status: MeshStatus }): JSX.Element {
  const { mesh, status } = props;
  const graph = meshGraph(status, mesh.peerId);
  const [wanted, setWanted] = useState<string>(mesh.peerId);
  const chosen = graph.nodes.find(({ id }) => id === wanted) ?? graph.nodes[0];
  return (
    <article class="card graph-card" aria-labelledby="graph-title">
      <h2 id="graph-title">Who is linked to whom</h2>
      <div class="graph-split">
        <div class="graph-side">
          <GraphPicture graph={graph} chosen={chosen?.id ?? mesh.peerId} onChoose={setWanted} />
          <Legend graph={graph} />
        </div>
        {chosen !== undefined && <Details node={chosen} status={status} graph={graph} />}
      </div>
    </article>
  );
}

const LEGEND = [
  { mark: "direct", text: "device to device", shows: ({ kind }: Edge) => kind === "direct" },
  { mark: "socket", text: "to a hub", shows: ({ kind }: Edge) => kind === "socket" },
  { mark: "relayed", text: "greeting only", shows: ({ kind }: Edge) => kind === "relayed" },
  { mark: "told", text: "between others", shows: ({ kind }: Edge) => kind === "told" },
  { mark: "slow", text: "slow", shows: ({ quality }: Edge) => quality === "slow" },
  { mark: "silent", text: "silent", shows: ({ quality }: Edge) => quality === "silent" },
] as const;
type Edge = MeshGraph["edges"][number];

/** Of the kinds of lines that the picture has now. */
function Legend(props: { graph: MeshGraph }): JSX.Element | null {
  const { edges, leftOut } = props.graph;
  const used = LEGEND.filter(({ shows }) => edges.some(shows));
  return (
    <ul class="legend">
      {used.map(({ mark, text }) => (
        <li key={mark}>
          <span class={`legend-line legend-${mark}`} aria-hidden="true" />
          {text}
        </li>
      ))}
      {leftOut > 0 && <li>{count(leftOut, "more device")} not drawn</li>}
    </ul>
  );
}

function Details(props: { node: GraphNode; status: MeshStatus; graph: MeshGraph }): JSX.Element {
  const { node, status, graph } = props;
  const peer = status.peers.find(({ peerId }) => peerId === node.id);
  return (
    <section class="graph-details" aria-label={`About ${node.name}`} data-testid="graph-details">
      <h3>
        <Icon name={node.kind === "hub" ? "hub" : "phone"} /> {node.name}
      </h3>
      <p class="quiet">{capital(stateWords(node))}.</p>
      <dl class="facts">
        {peer === undefined ? (
          <OwnFacts node={node} graph={graph} status={status} />
        ) : (
          <PeerFacts peer={peer} node={node} graph={graph} />
        )}
      </dl>
    </section>
  );
}

/** Of this device; of one that only others told of, no more than whom it is linked to. */
function OwnFacts(props: { node: GraphNode; graph: MeshGraph; status: MeshStatus }): JSX.Element {
  const { node, graph, status } = props;
  const { intakeBytes, unsentBytes } = status.queues;
  return (
    <>
      <Fact name="Linked to">{neighbours(node, graph)}</Fact>
      {node.kind === "self" && (
        <>
          <Fact name="We lack">{amount(status.missing)}</Fact>
          <Fact name="Only here">{amount(status.unsent)}</Fact>
          {intakeBytes + unsentBytes > 0 && (
            <Fact name="In the queue">
              {bytes(unsentBytes)} to send, {bytes(intakeBytes)} to take in
            </Fact>
          )}
        </>
      )}
    </>
  );
}

function amount(changes: number): string {
  return changes === 0 ? "nothing" : count(changes, "change");
}

function PeerFacts(props: { peer: PeerStatus; node: GraphNode; graph: MeshGraph }): JSX.Element {
  const { peer, node, graph } = props;
  const link = linkWords(peer.link);
  const { unsentBytes, unhandledBytes } = peer.queue;
  return (
    <>
      <Fact name="Link" title={link.meaning}>
        {link.name}
        {peer.quality !== null && `, ${qualityWords(peer.quality)}`}
      </Fact>
      <Fact name="Last heard">
        {peer.lastHeardMs === null ? "never" : agoWords(peer.lastHeardMs)}
      </Fact>
      {peer.roundTripMs !== null && (
        <Fact name="Round trip">{Math.max(1, Math.round(peer.roundTripMs))} ms</Fact>
      )}
      <Fact name="We lack">{lacksOf(peer, "weLack")}</Fact>
      <Fact name="It lacks">{lacksOf(peer, "itLacks")}</Fact>
      {unsentBytes + unhandledBytes > 0 && (
        <Fact name="In the queue">
          {bytes(unsentBytes)} to send, {bytes(unhandledBytes)} to take in
        </Fact>
      )}
      <Fact name="Linked to">{neighbours(node, graph)}</Fact>
    </>
  );
}

function Fact(props: { name: string; title?: string; children: ComponentChildren }): JSX.Element {
  return (
    <>
      <dt>{props.name}</dt>
      <dd title={props.title}>{props.children}</dd>
    </>
  );
}

/** "3 changes: 2 of Ana, 1 of Ben". */
function lacksOf(peer: PeerStatus, which: "weLack" | "itLacks"): string {
  if (peer[which] === 0) return "nothing";
  const of = peer.lacks
    .filter((lack) => lack[which] > 0)
    .map((lack) => `${lack[which]} of ${nameOr(lack.name, lack.siteId)}`);
  const total = count(peer[which], "change");
  return of.length === 0 ? total : `${total}: ${of.join(", ")}`;
}

function neighbours({ id }: GraphNode, { nodes, edges }: MeshGraph): string {
  const ids = edges.flatMap(({ source, target }) =>
    source === id ? [target] : target === id ? [source] : [],
  );
  const names = ids.map((other) => nodes.find((node) => node.id === other)?.name ?? other);
  if (names.length === 0) return "nobody in reach";
  return names.map((name) => (name === "This device" ? "this device" : name)).join(", ");
}

function capital(text: string): string {
  return text.charAt(0).toLocaleUpperCase() + text.slice(1);
}
