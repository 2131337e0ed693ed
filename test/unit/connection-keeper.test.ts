import { describe, expect, test } from "vitest";
import {
  type ConnectionKeeper,
  createConnectionKeeper,
  DEGREE_MAX,
  DEGREE_TARGET,
  DIALS_MAX,
  FOUND_WAIT_MS,
  type KeeperEffect,
  type KeeperEvent,
  type KeptConnection,
  LARGER_WAIT_MS,
  SUPERFLUOUS_AFTER_MS,
} from "../../src/node/connection-keeper.ts";
import { CANDIDATES_MAX, FOUND_PEERS_MAX } from "../../src/protocol/limits.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { simulateRoom } from "../sim/keeper-room.ts";

const HUB = "hub";
const HUB_ADDRESS = "/ip4/10.0.0.1/udp/4001/webrtc-direct/p2p/hub";

const keeperOf = (
  self: string,
  withHub: "hub" | "no hub" = "hub",
  role: "device" | "hub" = "device",
): ConnectionKeeper =>
  createConnectionKeeper({
    self,
    role,
    hubs: withHub === "hub" ? [{ peer: HUB, addresses: [HUB_ADDRESS] }] : [],
    signalling: "relays",
    degreeMax: DEGREE_MAX,
    random: createSeededRandom(7),
  });

const connection = (id: string, peer: string, changes: Partial<KeptConnection> = {}) =>
  ({
    type: "opened",
    connection: { id, peer, path: "direct", openedBy: "us", relay: null, ...changes },
  }) satisfies KeeperEvent;

const dialsIn = (effects: readonly KeeperEffect[]) =>
  effects.flatMap((effect) => (effect.type === "dial" ? [effect.peer] : []));
const closesIn = (effects: readonly KeeperEffect[]) =>
  effects.flatMap((effect) => (effect.type === "close" ? [effect.connection] : []));
const wakeIn = (effects: readonly KeeperEffect[]) =>
  effects.find((effect) => effect.type === "wake")?.delayMs;

const FAILED = (peer: string): KeeperEvent => ({ type: "dialled", peer, outcome: "failed" });
const WOKEN: KeeperEvent = { type: "woken" };
const viaHub = (...peers: string[]): KeeperEvent => ({ type: "suggested", via: HUB, peers });

test.each([
  { company: "no link at all", meanMaxMs: 1_500 },
  { company: "another link", meanMaxMs: 10_000 },
])("a hub is dialled at once, and again, with $company", ({ company, meanMaxMs }) => {
  const keeper = keeperOf("b");
  expect(keeper.handle(WOKEN, 0)).toEqual([{ type: "dial", peer: HUB, addresses: [HUB_ADDRESS] }]);
  if (company === "another link") keeper.handle(connection("1", "c"), 0);
  const delays: number[] = [];
  let nowMs = 0;
  for (let i = 0; i < 12; i++) {
    const effects = keeper.handle(FAILED(HUB), nowMs);
    expect(dialsIn(effects)).toEqual([]);
    const delayMs = wakeIn(effects)!;
    delays.push(delayMs);
    expect(dialsIn(keeper.handle(WOKEN, nowMs + delayMs - 1))).toEqual([]);
    nowMs += delayMs;
    expect(dialsIn(keeper.handle(WOKEN, nowMs))).toEqual([HUB]);
  }
  delays.forEach((delayMs, i) => {
    const meanMs = Math.min(meanMaxMs, 500 * 2 ** i);
    expect(delayMs).toBeGreaterThanOrEqual(Math.floor(0.7 * meanMs));
    expect(delayMs).toBeLessThanOrEqual(1.3 * meanMs);
  });
  expect(new Set(delays.slice(5)).size).toBeGreaterThan(1);
});

const FOUND = (peer: string, ...addresses: string[]): KeeperEvent => ({
  type: "found",
  peer,
  addresses,
});

test("of two hubs the smaller peer id dials, the larger one when it was not dialled meanwhile", () => {
  const smaller = keeperOf("a", "hub", "hub");
  expect(dialsIn(smaller.handle(WOKEN, 50_000))).toEqual([HUB]);
  const larger = keeperOf("z", "hub", "hub");
  expect(larger.handle(WOKEN, 50_000)).toEqual([{ type: "wake", delayMs: FOUND_WAIT_MS }]);
  expect(dialsIn(larger.handle(WOKEN, 50_000 + FOUND_WAIT_MS))).toEqual([HUB]);
});

test("a peer found on the LAN is kept connected however many links there are", () => {
  const keeper = keeperOf("a", "no hub", "hub");
  for (let i = 0; i < DEGREE_TARGET; i++) keeper.handle(connection(`${i}`, `c${i}`), 0);
  expect(keeper.handle(FOUND("b", "/b"), 0)).toContainEqual({
    type: "dial",
    peer: "b",
    addresses: ["/b"],
  });
  expect(dialsIn(keeper.handle(FOUND("a", "/self"), 0))).toEqual([]);
  keeper.handle(connection("found", "b"), 100);
  keeper.handle({ type: "dialled", peer: "b", outcome: "opened" }, 100);
  expect(dialsIn(keeper.handle({ type: "closed", connection: "found" }, 60_000))).toEqual(["b"]);
});

test("a known hub found at another address is dialled there first", () => {
  const keeper = keeperOf("a");
  keeper.handle(WOKEN, 0);
  keeper.handle(FOUND(HUB, "/new"), 100);
  keeper.handle(FAILED(HUB), 200);
  const [dial] = keeper.handle(WOKEN, 5_000);
  expect(dial).toEqual({ type: "dial", peer: HUB, addresses: ["/new", HUB_ADDRESS] });
});

test("what somebody says of a known hub is tried in turn with what is known", () => {
  const keeper = keeperOf("a");
  keeper.handle(WOKEN, 0);
  keeper.handle(FOUND(HUB, "/lie1", "/lie2", "/lie3"), 100);
  keeper.handle(FAILED(HUB), 200);
  const addresses = ["/lie1", HUB_ADDRESS, "/lie2", "/lie3"];
  expect(keeper.handle(WOKEN, 5_000)[0]).toEqual({ type: "dial", peer: HUB, addresses });
});

test("a hub does not wait until peers that nobody knows are found not to answer", () => {
  const keeper = keeperOf("a");
  keeper.handle(connection("1", HUB), 0);
  for (let i = 0; i < FOUND_PEERS_MAX; i++) keeper.handle(FOUND(`f${i}`, `/f${i}`), 0);
  const lost = keeper.handle({ type: "closed", connection: "1" }, 60_000);
  expect(dialsIn(lost)).toEqual([HUB]);
  const failed = keeper.handle(FAILED(HUB), 61_000);
  expect(dialsIn(failed)).toEqual([]);
  expect(dialsIn(keeper.handle(WOKEN, 61_000 + wakeIn(failed)!))).toEqual([HUB]);
});

test("invented peers take each other's places, and no hub's", () => {
  const keeper = keeperOf("a");
  let waiting = dialsIn(keeper.handle(WOKEN, 0));
  for (let i = 0; i < 10 * FOUND_PEERS_MAX; i++) {
    waiting.push(...dialsIn(keeper.handle(FOUND(`f${i}`, `/f${i}`), 0)));
  }
  const dialled = new Map<string, number>();
  for (let nowMs = 0; nowMs < 600_000; nowMs += 1_000) {
    const failed = waiting;
    waiting = dialsIn(keeper.handle(WOKEN, nowMs));
    for (const peer of failed) waiting.push(...dialsIn(keeper.handle(FAILED(peer), nowMs)));
    for (const peer of waiting) dialled.set(peer, (dialled.get(peer) ?? 0) + 1);
  }
  const found = [...dialled.keys()].filter((peer) => peer !== HUB);
  expect(found.length).toBeGreaterThan(FOUND_PEERS_MAX / 2);
  expect(found.length).toBeLessThanOrEqual(FOUND_PEERS_MAX + DIALS_MAX);
  expect(dialled.get(HUB)).toBeGreaterThan(100);
});

test("found peers that are linked keep their places", () => {
  const keeper = keeperOf("a", "no hub", "hub");
  for (let i = 0; i < FOUND_PEERS_MAX; i++) {
    keeper.handle(connection(`${i}`, `f${i}`), 0);
    keeper.handle(FOUND(`f${i}`, `/f${i}`), 0);
  }
  expect(dialsIn(keeper.handle(FOUND("late", "/late"), 0))).toEqual([]);
  keeper.handle({ type: "closed", connection: "0" }, 60_000);
  keeper.handle(FAILED("f0"), 60_000);
  expect(dialsIn(keeper.handle(FOUND("late", "/late"), 60_000))).toEqual(["late"]);
});

test("a lost hub is redialled at once when the link had lasted, after a pause when it had not", () => {
  const keeper = keeperOf("b");
  keeper.handle(WOKEN, 0);
  keeper.handle(connection("1", HUB), 100);
  keeper.handle({ type: "dialled", peer: HUB, outcome: "opened" }, 100);
  const lasting = keeper.handle({ type: "closed", connection: "1" }, 60_000);
  expect(dialsIn(lasting)).toEqual([HUB]);
  keeper.handle(connection("2", HUB), 60_100);
  keeper.handle({ type: "dialled", peer: HUB, outcome: "opened" }, 60_100);
  const brief = keeper.handle({ type: "closed", connection: "2" }, 60_200);
  expect(dialsIn(brief)).toEqual([]);
  expect(wakeIn(brief)).toBeGreaterThan(0);
});

test.each(["networkChanged", "visible"] as const)(
  "%s forgives the failures, but no ban",
  (type) => {
    const keeper = keeperOf("b");
    keeper.handle(WOKEN, 0);
    for (let i = 0; i < 9; i++) keeper.handle(FAILED(HUB), 0);
    expect(dialsIn(keeper.handle({ type }, 1))).toEqual([HUB]);
    keeper.handle(FAILED(HUB), 1);
    keeper.handle({ type: "banned", peer: HUB, untilMs: 90_000 }, 1);
    expect(dialsIn(keeper.handle({ type }, 50_000))).toEqual([]);
    expect(dialsIn(keeper.handle(WOKEN, 90_000))).toEqual([HUB]);
  },
);

function linked(self: string): ConnectionKeeper {
  const keeper = keeperOf(self);
  keeper.handle(connection("h", HUB), 0);
  return keeper;
}

describe("with a hub", () => {
  test("a suggested peer is dialled through whoever told of it", () => {
    expect(linked("b").handle(viaHub("c"), 0)).toEqual([
      { type: "dial", peer: "c", addresses: ["/p2p/hub/p2p-circuit/webrtc/p2p/c"] },
    ]);
  });

  test("only relays that are linked directly now are used, the latest teller first", () => {
    const keeper = linked("b");
    keeper.handle(connection("1", "r1"), 0);
    keeper.handle(connection("2", "r2", { path: "relayed" }), 0);
    for (const via of ["r1", "r2", "r3"])
      keeper.handle({ type: "suggested", via, peers: ["z"] }, 0);
    keeper.handle(FAILED("z"), 0);
    keeper.handle(viaHub("z"), 0);
    const effects = keeper.handle(WOKEN, 60_000);
    expect(effects.find((effect) => effect.type === "dial" && effect.peer === "z")).toEqual({
      type: "dial",
      peer: "z",
      addresses: ["/p2p/hub/p2p-circuit/webrtc/p2p/z", "/p2p/r1/p2p-circuit/webrtc/p2p/z"],
    });
  });

  test("the larger id waits for the smaller to dial, then dials itself", () => {
    const keeper = linked("b");
    const effects = keeper.handle(viaHub("a"), 1_000);
    expect(dialsIn(effects)).toEqual([]);
    expect(wakeIn(effects)).toBe(LARGER_WAIT_MS);
    expect(dialsIn(keeper.handle(WOKEN, 1_000 + LARGER_WAIT_MS))).toEqual(["a"]);
  });

  test("at most two dials are under way", () => {
    const keeper = linked("b");
    const first = dialsIn(keeper.handle(viaHub("c", "d", "e"), 0));
    expect(first.length).toBe(DIALS_MAX);
    expect(dialsIn(keeper.handle(WOKEN, 1))).toEqual([]);
    expect(dialsIn(keeper.handle(FAILED(first[0]!), 1)).length).toBe(1);
  });

  test("it neither dials itself nor its hub through itself", () => {
    expect(dialsIn(linked("b").handle(viaHub("b", HUB), 0))).toEqual([]);
  });

  test("enough links are enough", () => {
    const keeper = linked("b");
    for (let i = 0; i < DEGREE_TARGET; i++) keeper.handle(connection(`${i}`, `n${i}`), 0);
    expect(dialsIn(keeper.handle(viaHub("x", "y"), 0))).toEqual([]);
  });

  test("too many are shed, the newest that others opened", () => {
    const keeper = linked("b");
    for (let i = 0; i < DEGREE_MAX; i++) {
      const effects = keeper.handle(connection(`${i}`, `n${i}`, { openedBy: "them" }), i);
      expect(closesIn(effects)).toEqual([]);
    }
    expect(closesIn(keeper.handle(connection("ours", "m"), 100))).toEqual([`${DEGREE_MAX - 1}`]);
    expect(closesIn(keeper.handle(WOKEN, 101))).toEqual([]);
  });

  test("a link that people made by hand is not shed", () => {
    const keeper = linked("b");
    for (let i = 0; i < DEGREE_MAX; i++) {
      keeper.handle(connection(`${i}`, `n${i}`, { openedBy: "them" }), i);
    }
    keeper.handle({ type: "paired", peer: "p" }, 100);
    const opened = keeper.handle(connection("paired", "p", { openedBy: "them" }), 100);
    expect(closesIn(opened)).toEqual([`${DEGREE_MAX - 1}`]);
    expect(closesIn(keeper.handle(WOKEN, 10 * SUPERFLUOUS_AFTER_MS))).toEqual([]);
  });

  test("a relayed link is upgraded over its relay, then closed", () => {
    const keeper = linked("b");
    const opened = keeper.handle(connection("r", "c", { path: "relayed", relay: HUB }), 0);
    expect(dialsIn(opened)).toEqual(["c"]);
    const direct = keeper.handle(connection("d", "c"), 50);
    expect(closesIn(direct)).toEqual([]);
    expect(closesIn(keeper.handle(WOKEN, SUPERFLUOUS_AFTER_MS))).toEqual([]);
    const dialled = { type: "dialled", peer: "c", outcome: "opened" } as const;
    expect(closesIn(keeper.handle(dialled, SUPERFLUOUS_AFTER_MS))).toEqual(["r"]);
    keeper.handle({ type: "closed", connection: "r" }, SUPERFLUOUS_AFTER_MS);
    expect(closesIn(keeper.handle(WOKEN, 10 * SUPERFLUOUS_AFTER_MS))).toEqual([]);
  });

  test("a relayed link that leads to nothing is closed", () => {
    const keeper = linked("b");
    const opened = keeper.handle(connection("r", "a", { path: "relayed", openedBy: "them" }), 0);
    expect(wakeIn(opened)).toBe(SUPERFLUOUS_AFTER_MS);
    expect(closesIn(keeper.handle(WOKEN, SUPERFLUOUS_AFTER_MS))).toEqual(["r"]);
    expect(closesIn(keeper.handle(WOKEN, SUPERFLUOUS_AFTER_MS + 1))).toEqual([]);
  });

  test.each([
    ["b", "c", ["first"]],
    ["d", "c", []],
  ])(
    "of two direct connections only the smaller id closes the idle one (%s, %s)",
    (self, peer, closed) => {
      const keeper = linked(self);
      keeper.handle(connection("first", peer), 0);
      keeper.handle(connection("second", peer, { openedBy: "them" }), 10);
      keeper.handle({ type: "carrying", peer, connection: "second" }, 20);
      expect(closesIn(keeper.handle(WOKEN, 10 + SUPERFLUOUS_AFTER_MS))).toEqual(closed);
    },
  );

  test("a flood of suggestions is remembered up to a limit, and never woken for without end", () => {
    const keeper = linked("b");
    const flood = Array.from({ length: 4 * CANDIDATES_MAX }, (_, i) => `c${i}`);
    for (let i = 0; i < flood.length; i += 256) {
      keeper.handle({ type: "suggested", via: HUB, peers: flood.slice(i, i + 256) }, 0);
    }
    const dialled = new Set<string>();
    for (let nowMs = 0; nowMs < 400_000; nowMs += 1_000) {
      for (const peer of dialsIn(keeper.handle(WOKEN, nowMs))) {
        dialled.add(peer);
        keeper.handle(FAILED(peer), nowMs);
      }
    }
    expect(dialled.size).toBeLessThanOrEqual(CANDIDATES_MAX);
  });
});

describe.each([3, 12, 32])("a room of %i devices", (devices) => {
  test.each([1, 2])("grows together around a hub, and stays when it dies (seed %i)", (seed) => {
    const room = simulateRoom({ devices, seed });
    room.run(60_000);
    expect(room.components()).toBe(1);
    const wanted = Math.min(DEGREE_TARGET, devices - 1);
    expect(Math.min(...room.degrees())).toBeGreaterThanOrEqual(Math.min(4, wanted));
    expect(Math.max(...room.degrees())).toBeLessThanOrEqual(DEGREE_MAX);
    expect(room.dialsInFlightMax()).toBeLessThanOrEqual(DIALS_MAX);
    // Settled: nobody goes on dialling, and no relayed connection is left.
    const { dials } = room.counts();
    expect(dials).toBeLessThanOrEqual(devices * (DEGREE_MAX + 2));
    room.run(60_000);
    expect(room.counts().dials - dials).toBeLessThanOrEqual(devices / 2);
    expect(room.counts().relayed).toBe(0);

    room.killHub();
    room.run(30_000);
    expect(room.components()).toBe(1);
    room.isolate(0);
    room.run(60_000);
    expect(room.degrees()[0]).toBeGreaterThanOrEqual(Math.min(4, wanted));
  });
});
