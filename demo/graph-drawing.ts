/**
 * Draws the mesh's graph with cytoscape. A chunk of its own: only the mesh screen loads it. What a
 * person reaches, by pointer, keyboard or screen reader, are the elements that `graph-picture.tsx`
 * lays over it.
 *
 * @module
 */

import cytoscape, { type StylesheetJson } from "cytoscape";
import type { MeshGraph } from "./mesh-graph.ts";

export interface GraphDrawing {
  /**
   * @param positions in pixels of the container, by node id
   * @param chosen of the node whose links stand out
   */
  readonly update: (
    graph: MeshGraph,
    positions: ReadonlyMap<string, Point>,
    nodeSize: number,
    chosen: string,
  ) => void;
  readonly close: () => void;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

const BEND = 36;
const BEND_AROUND = 130;
/** A line that comes so near to the middle would run through it. */
const NEAR = 24;
/** As the elements above it move, `.graph-node` in style.css. */
const MOVE_MS = 300;

export function drawGraph(container: HTMLElement): GraphDrawing {
  withoutInlineStyle();
  const cy = cytoscape({
    container,
    layout: { name: "preset" },
    style: stylesheet(container),
    userZoomingEnabled: false,
    userPanningEnabled: false,
    boxSelectionEnabled: false,
    autoungrabify: true,
    autounselectify: true,
  });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const restyle = (): void => void cy.style(stylesheet(container));
  dark.addEventListener("change", restyle);
  return {
    update: (graph, positions, nodeSize, chosen) => update(cy, graph, positions, nodeSize, chosen),
    close: () => {
      dark.removeEventListener("change", restyle);
      cy.destroy();
    },
  };
}

/** cytoscape adds a style element, which the hub's content security policy refuses, unless it is there. */
function withoutInlineStyle(): void {
  const id = "__________cytoscape_stylesheet";
  if (document.getElementById(id) !== null) return;
  const stand = document.createElement("meta");
  stand.id = id;
  document.head.append(stand);
}

/** Changes what changed; nothing else moves. */
function update(
  cy: cytoscape.Core,
  graph: MeshGraph,
  positions: ReadonlyMap<string, Point>,
  nodeSize: number,
  chosen: string,
): void {
  cy.resize();
  const wanted = new Set([...graph.nodes, ...graph.edges].map(({ id }) => id));
  const moves: (() => void)[] = [];
  cy.batch(() => {
    cy.elements()
      .filter((element) => !wanted.has(element.id()))
      .remove();
    for (const { id, kind, state } of graph.nodes) {
      const position = { ...(positions.get(id) ?? { x: 0, y: 0 }) };
      const node = cy.getElementById(id);
      const data = { id, kind, state, size: kind === "self" ? nodeSize * 1.2 : nodeSize };
      if (node.empty()) cy.add({ group: "nodes", data, position });
      else {
        node.data(data);
        moves.push(() => move(node, position));
      }
    }
    for (const edge of graph.edges) {
      const drawn = cy.getElementById(edge.id);
      const isNear = edge.source === chosen || edge.target === chosen;
      const data = { ...edge, isNear, bend: bendOf(edge, graph, positions) };
      if (drawn.empty()) cy.add({ group: "edges", data });
      else drawn.data({ kind: data.kind, quality: data.quality, isNear, bend: data.bend });
    }
  });
  for (const run of moves) run();
}

/** How far a line bows, in pixels: around the middle, when it would else run through it. */
function bendOf(
  { source, target }: MeshGraph["edges"][number],
  graph: MeshGraph,
  positions: ReadonlyMap<string, Point>,
): number {
  const [from, to] = [positions.get(source), positions.get(target)];
  const middle = positions.get(graph.nodes[0]?.id ?? "");
  if (from === undefined || to === undefined || middle === undefined) return BEND;
  const [width, height] = [to.x - from.x, to.y - from.y];
  const [x, y] = [middle.x - from.x, middle.y - from.y];
  const length = Math.max(1, Math.hypot(width, height));
  const along = (width * x + height * y) / length;
  const distance = (width * y - height * x) / length;
  if (Math.abs(distance) >= NEAR || along <= 0 || along >= length) return BEND;
  return distance > 0 ? -BEND_AROUND : BEND_AROUND;
}

function move(node: cytoscape.NodeSingular, position: Point): void {
  const { x, y } = node.position();
  if (x === position.x && y === position.y) return;
  node.stop();
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) node.position({ ...position });
  else node.animate({ position: { ...position } }, { duration: MOVE_MS, easing: "ease" });
}

/** The colours are those of style.css, in whichever theme. */
function stylesheet(container: HTMLElement): StylesheetJson {
  const theme = getComputedStyle(container);
  const colour = (name: string): string => theme.getPropertyValue(`--${name}`).trim();
  return [
    {
      selector: "node",
      style: {
        width: "data(size)",
        height: "data(size)",
        "background-color": colour("sheet"),
        "border-width": 2,
        "border-color": colour("faint"),
      },
    },
    { selector: "node[kind = 'hub']", style: { shape: "round-rectangle" } },
    {
      selector: "node[state = 'self']",
      style: { "background-color": colour("leaf"), "border-color": colour("leaf") },
    },
    {
      selector: "node[state = 'inStep']",
      style: { "background-color": colour("leaf-wash"), "border-color": colour("leaf") },
    },
    {
      selector: "node[state = 'behind']",
      style: { "background-color": colour("ochre-wash"), "border-color": colour("ochre") },
    },
    { selector: "node[state = 'apart']", style: { "border-style": "dashed", "border-width": 1.5 } },
    {
      selector: "edge",
      style: { width: 3, "curve-style": "straight", "line-color": colour("leaf") },
    },
    { selector: "edge[kind = 'socket']", style: { "line-color": colour("faint") } },
    { selector: "edge[kind = 'relayed']", style: { "line-color": colour("ochre"), width: 2 } },
    {
      selector: "edge[kind = 'told']",
      style: {
        width: 1.2,
        "line-color": colour("faint"),
        opacity: 0.6,
        "curve-style": "unbundled-bezier",
        // A list of one; typed as numbers only.
        "control-point-distances": "data(bend)" as unknown as number[],
        "control-point-weights": [0.5],
      },
    },
    { selector: "edge[kind = 'told'][?isNear]", style: { width: 2.4, opacity: 1 } },
    {
      selector: "edge[quality = 'slow']",
      style: { "line-style": "dashed", "line-color": colour("ochre") },
    },
    {
      selector: "edge[quality = 'silent']",
      style: { "line-style": "dotted", "line-color": colour("rust") },
    },
  ];
}
