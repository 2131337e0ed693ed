/**
 * The picture of the mesh: drawn by a lazily loaded library, and over each node an element that can
 * be pointed at, reached by the keyboard (one stop; arrow keys go from device to device) and read out.
 *
 * @module
 */

import type { JSX, RefObject } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { GraphDrawing, Point } from "./graph-drawing.ts";
import { placeNodes, type Places } from "./graph-places.ts";
import { Icon } from "./icons.tsx";
import type { GraphNode, MeshGraph } from "./mesh-graph.ts";
import { complain } from "./toasts.tsx";

/** Pixels around the outermost nodes: half a node and its name. */
const MARGIN_X = 46;
const MARGIN_TOP = 30;
const MARGIN_BOTTOM = 44;
/** Names need so much room between two rings; with less only the chosen one shows its. */
const NAME_ROOM = 84;

export function GraphPicture(props: {
  graph: MeshGraph;
  chosen: string;
  onChoose: (id: string) => void;
}): JSX.Element {
  const { graph, chosen, onChoose } = props;
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLDivElement>(null);
  const { width, height } = useSize(frame);
  const places = usePlaces(graph);
  // The graph is made anew with every status; what it shows rarely changes.
  const key = JSON.stringify([graph, width, height]);
  const positions = useMemo(() => positionsOf(places, width, height), [key]);
  const nodeSize = places.rings > 2 ? 24 : 36;
  const drawing = useDrawing(canvas);
  useEffect(() => {
    if (width > 0) drawing?.update(graph, positions, nodeSize, chosen);
  }, [drawing, key, chosen]);
  const namesFit = (width - 2 * MARGIN_X) / (2 * places.rings) >= NAME_ROOM;
  const go = (event: KeyboardEvent): void => {
    const next = nodeByKey(event.key, graph.nodes, chosen);
    if (next === null) return;
    event.preventDefault();
    onChoose(next.id);
    frame.current?.querySelector<HTMLElement>(`[data-node="${CSS.escape(next.id)}"]`)?.focus();
  };
  return (
    <div
      ref={frame}
      class={`graph ${namesFit ? "graph-named" : ""} ${graph.nodes.length === 1 ? "graph-alone" : ""}`}
      data-testid="graph"
      data-nodes={graph.nodes.length}
      data-edges={graph.edges.length}
      data-drawn={drawing !== null}
    >
      <div ref={canvas} class="graph-canvas" aria-hidden="true" />
      <div role="listbox" aria-label="Devices of the mesh" onKeyDown={go}>
        {width > 0 &&
          graph.nodes.map((node) => (
            <Node
              key={node.id}
              node={node}
              at={positions.get(node.id) ?? { x: 0, y: 0 }}
              size={nodeSize}
              isChosen={node.id === chosen}
              onChoose={onChoose}
            />
          ))}
      </div>
    </div>
  );
}

function Node(props: {
  node: GraphNode;
  at: Point;
  size: number;
  isChosen: boolean;
  onChoose: (id: string) => void;
}): JSX.Element {
  const { node, at, size, isChosen, onChoose } = props;
  return (
    <div
      role="option"
      class={`graph-node graph-node-${node.state}`}
      style={{ "--x": `${at.x}px`, "--y": `${at.y}px`, "--size": `${size}px` }}
      tabIndex={isChosen ? 0 : -1}
      aria-selected={isChosen}
      aria-label={`${node.name}, ${stateWords(node)}`}
      data-testid="graph-node"
      data-node={node.id}
      data-kind={node.kind}
      data-state={node.state}
      onClick={() => onChoose(node.id)}
    >
      <Icon name={node.kind === "hub" ? "hub" : "phone"} size={size / 2} />
      <span class="graph-name">{node.name}</span>
    </div>
  );
}

export function stateWords({ kind, state }: GraphNode): string {
  const what = kind === "hub" ? "hub" : "device";
  switch (state) {
    case "self":
      return "you are here";
    case "inStep":
      return `${what}, in step`;
    case "behind":
      return `${what}, comparing`;
    case "apart":
      return `${what}, no link from here`;
  }
}

function nodeByKey(key: string, nodes: readonly GraphNode[], chosen: string): GraphNode | null {
  const index = nodes.findIndex(({ id }) => id === chosen);
  const last = nodes.length - 1;
  switch (key) {
    case "ArrowRight":
    case "ArrowDown":
      return nodes[index === last ? 0 : index + 1] ?? null;
    case "ArrowLeft":
    case "ArrowUp":
      return nodes[index <= 0 ? last : index - 1] ?? null;
    case "Home":
      return nodes[0] ?? null;
    case "End":
      return nodes[last] ?? null;
    default:
      return null;
  }
}

function usePlaces(graph: MeshGraph): Places {
  const before = useRef<Places | null>(null);
  const ids = graph.nodes.map(({ id }) => id);
  return useMemo(() => {
    before.current = placeNodes(before.current, ids);
    return before.current;
  }, [ids.join(" ")]);
}

function positionsOf(places: Places, width: number, height: number): ReadonlyMap<string, Point> {
  const stepX = Math.max(0, width / 2 - MARGIN_X) / places.rings;
  const stepY = Math.max(0, (height - MARGIN_TOP - MARGIN_BOTTOM) / 2) / places.rings;
  const middle = { x: width / 2, y: MARGIN_TOP + stepY * places.rings };
  return new Map(
    [...places.placeById].map(([id, { x, y }]) => [
      id,
      { x: Math.round(middle.x + x * stepX), y: Math.round(middle.y + y * stepY) },
    ]),
  );
}

/** Of the element, in pixels; zero before it is laid out. */
function useSize(element: RefObject<HTMLElement | null>): { width: number; height: number } {
  const [size, setSize] = useState({ width: 0, height: 0 });
  useEffect(() => {
    if (element.current === null) return undefined;
    const observer = new ResizeObserver(([entry]) => {
      if (entry === undefined) return;
      const { width, height } = entry.contentRect;
      setSize({ width: Math.round(width), height: Math.round(height) });
    });
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return size;
}

/** Null while the library loads; the nodes are usable without it. */
function useDrawing(canvas: RefObject<HTMLElement | null>): GraphDrawing | null {
  const [drawing, setDrawing] = useState<GraphDrawing | null>(null);
  useEffect(() => {
    let opened: GraphDrawing | null = null;
    let wanted = true;
    import("./graph-drawing.ts").then(
      ({ drawGraph }) => {
        if (!wanted || canvas.current === null) return;
        opened = drawGraph(canvas.current);
        setDrawing(opened);
      },
      (error: unknown) => complain("load the picture of the mesh", error),
    );
    return () => {
      wanted = false;
      opened?.close();
    };
  }, []);
  return drawing;
}
