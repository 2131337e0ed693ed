/** The demo's picture of the mesh: what is drawn, and that nobody who has a place is moved. */
import type { MeshStatus, PeerStatus } from "../../src/node/api.ts";
import { expect, test } from "vitest";
import { placeNodes, type Places } from "../../demo/graph-places.ts";
import { meshGraph, NODES_MAX } from "../../demo/mesh-graph.ts";

const SELF = "self";

const peer = (peerId: string, changes: Partial<PeerStatus> = {}): PeerStatus => ({
  peerId,
  name: peerId.toUpperCase(),
  role: "device",
  link: "webrtc",
  lastHeardMs: 0,
  roundTripMs: 1,
  quality: "good",
  weLack: 0,
  itLacks: 0,
  lacks: [],
  sameDigest: true,
  linkedTo: [],
  queue: { unsentBytes: 0, unhandledBytes: 0 },
  ...changes,
});

const graphOf = (peers: readonly PeerStatus[]): ReturnType<typeof meshGraph> =>
  meshGraph({ peers } as MeshStatus, SELF);

const ids = (...names: string[]): PeerStatus["linkedTo"] => names;

test("own links and those that others tell of are edges, each pair once", () => {
  const { nodes, edges } = graphOf([
    peer("hub", { role: "hub", link: "websocket", linkedTo: ids(SELF, "ana", "ben") }),
    peer("ana", { sameDigest: false, quality: "slow", linkedTo: ids(SELF, "hub", "ben") }),
    peer("ben", { link: "none", quality: null, linkedTo: ids("cleo") }),
  ]);
  expect(nodes.map(({ id, kind, state }) => [id, kind, state])).toEqual([
    [SELF, "self", "self"],
    ["hub", "hub", "inStep"],
    ["ana", "device", "behind"],
    ["ben", "device", "apart"],
  ]);
  expect(edges.map(({ source, target, kind, quality }) => [source, target, kind, quality])).toEqual(
    [
      [SELF, "hub", "socket", "good"],
      [SELF, "ana", "direct", "slow"],
      ["ana", "hub", "told", "good"],
      ["ben", "hub", "told", "good"],
      ["ana", "ben", "told", "good"],
    ],
  );
});

test("a device that only a neighbour tells of is drawn without a link of ours", () => {
  const { nodes, edges } = graphOf([peer("ana", { linkedTo: ids(SELF, "far-away") })]);
  expect(nodes.at(-1)).toMatchObject({ id: "far-away", state: "apart", name: "device -away" });
  expect(edges.map(({ kind }) => kind)).toEqual(["direct", "told"]);
});

test("a large mesh is drawn up to its limit, linked devices first, and no edge leads to nothing", () => {
  const crowd = Array.from({ length: 80 }, (_, index) => `p${index}`);
  const peers = crowd.map((id) =>
    peer(id, { link: id === "p79" ? "webrtc" : "none", linkedTo: ids(...crowd) }),
  );
  const { nodes, edges, leftOut } = graphOf(peers);
  expect(nodes).toHaveLength(NODES_MAX);
  expect(leftOut).toBe(21);
  expect(nodes[1]?.id).toBe("p79");
  const drawn = new Set(nodes.map(({ id }) => id));
  for (const { source, target } of edges)
    expect([drawn.has(source), drawn.has(target)]).toEqual([true, true]);
});

test("who has a place keeps it while others come and go, and no two share one", () => {
  let places: Places | null = null;
  let before: Places | null = null;
  const crowd = Array.from({ length: NODES_MAX - 1 }, (_, index) => `p${index}`);
  for (const length of [2, 7, 30, 20, 59, 3, 59]) {
    before = places;
    const present = length === 20 ? crowd.slice(10, 30) : crowd.slice(0, length);
    places = placeNodes(before, [SELF, ...present]);
    expect(places.placeById.get(SELF)).toEqual({ x: 0, y: 0 });
    const spots = [...places.placeById.values()].map(
      ({ x, y }) => `${x.toFixed(3)} ${y.toFixed(3)}`,
    );
    expect(new Set(spots).size).toBe(present.length + 1);
    const stayed = present.filter((id) => before?.placeById.has(id));
    expect(stayed.map((id) => places?.placeById.get(id))).toEqual(
      stayed.map((id) => before?.placeById.get(id)),
    );
  }
  expect(places?.rings).toBe(4);
});
