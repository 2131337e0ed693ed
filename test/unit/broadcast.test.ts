import { expect, test } from "vitest";
import { broadcastOf, createMachine, entry, only, self, siteOf } from "./replication-machine.ts";

const range = (site: number, first: number, last: number) => ({
  site: siteOf(site),
  stream: "data" as const,
  first,
  last,
});

test("[B1] the verdict follows the outcome; what is forged or malformed is blamed", () => {
  const machine = createMachine();
  machine.connect("a", []);
  const verdictOf = (bytes: Uint8Array, outcome: Parameters<typeof machine.ingested>[0]) => {
    machine.take("verdict");
    machine.tell({ type: "broadcastReceived", id: 1, from: "a", bytes });
    machine.ingested(outcome);
    return machine.take("verdict").map(({ verdict }) => verdict);
  };
  for (const verdict of ["applied", "held", "parked", "void"] as const) {
    expect(verdictOf(broadcastOf(1, 2), { verdict })).toEqual(["accept"]);
  }
  expect(machine.take("penalise")).toEqual([]);
  expect(
    verdictOf(broadcastOf(1, 2), { verdict: "later", code: "ERR_UNKNOWN_PREDECESSOR" }),
  ).toEqual(["ignore"]);
  expect(verdictOf(broadcastOf(1, 2), { verdict: "refused", code: "ERR_FORK" })).toEqual([
    "ignore",
  ]);
  expect(machine.take("penalise")).toEqual([]);
  expect(
    verdictOf(broadcastOf(1, 2), { verdict: "refused", code: "ERR_SIGNATURE_INVALID" }),
  ).toEqual(["reject"]);
  expect(verdictOf(new Uint8Array(100), { verdict: "applied" })).toEqual(["reject"]);
  expect(verdictOf(new Uint8Array(20_000), { verdict: "applied" })).toEqual(["reject"]);
  expect(machine.take("penalise").length).toBe(3);
});

test("[B1] what is known is passed on while it is new, and ends here when it is sent again later", () => {
  const machine = createMachine([entry(1, 4)]);
  machine.connect("a", []);
  const verdictOf = (version: number) => {
    machine.tell({ type: "broadcastReceived", id: 1, from: "a", bytes: broadcastOf(1, version) });
    machine.ingested({ verdict: "known" });
    return machine.take("verdict").map(({ verdict }) => verdict);
  };
  expect(verdictOf(4)).toEqual(["ignore"]);
  machine.tell({ type: "changed", entries: [entry(1, 6)], broadcasts: [] });
  expect([verdictOf(4), verdictOf(5), verdictOf(6)]).toEqual([["ignore"], ["accept"], ["accept"]]);
  machine.pass(29_000);
  machine.tell({ type: "changed", entries: [entry(1, 7)], broadcasts: [] });
  expect([verdictOf(6), verdictOf(7)]).toEqual([["accept"], ["accept"]]);
  machine.pass(61_000);
  expect([verdictOf(6), verdictOf(7)]).toEqual([["ignore"], ["ignore"]]);
  expect(machine.take("penalise")).toEqual([]);
});

test("[B2] a verdict takes 200 ms at most; a late outcome changes nothing", () => {
  const machine = createMachine();
  machine.connect("a", []);
  machine.tell({ type: "broadcastReceived", id: 7, from: "a", bytes: broadcastOf(1, 1) });
  machine.pass(199);
  expect(machine.take("verdict")).toEqual([]);
  machine.pass(1);
  expect(machine.take("verdict")).toEqual([{ type: "verdict", id: 7, verdict: "ignore" }]);
  machine.ingested({ verdict: "applied" });
  expect(machine.take("verdict")).toEqual([]);
});

test("[B3] beyond 256 under way broadcasts are ignored at once, and the sender's digest is asked", () => {
  const machine = createMachine();
  machine.connect("a", []);
  machine.sent("a");
  for (let id = 1; id <= 1_000; id++) {
    machine.tell({ type: "broadcastReceived", id, from: "a", bytes: broadcastOf(1, id) });
  }
  expect(machine.take("ingest").length).toBe(256);
  expect(machine.take("verdict").length).toBe(744);
  expect(machine.sent("a").map(({ type }) => type)).toEqual(["digest"]);
});

test("[B4] what a broadcast is bringing is not asked for as well", () => {
  const machine = createMachine([entry(1, 4)]);
  machine.connect("a", [entry(1, 4)]);
  machine.sent("a");
  machine.tell({ type: "broadcastReceived", id: 1, from: "a", bytes: broadcastOf(1, 5) });
  machine.frame("a", { type: "vector", part: "more", entries: [entry(1, 5)] });
  expect(only(machine.sent("a"), "want")).toEqual([]);
  machine.ingested({ verdict: "later", code: "ERR_UNKNOWN_PREDECESSOR" });
  machine.pass(500);
  expect(only(machine.sent("a"), "want")[0]?.ranges).toEqual([range(1, 5, 5)]);
});

test.each([
  { peers: 3, atOnce: 0 },
  { peers: 0, atOnce: 1 },
])(
  "[B5] a broadcast to $peers peers: $atOnce vectors at once, one in 50 ms",
  ({ peers, atOnce }) => {
    const machine = createMachine();
    machine.connect("a", []);
    machine.pass(1_000);
    machine.sent("a");
    const entries = [{ ...entry(0, 1), site: self }];
    machine.tell({ type: "changed", entries, broadcasts: [broadcastOf(1, 1)] });
    expect(machine.take("broadcast").length).toBe(1);
    expect(machine.sent("a")).toEqual([]);
    machine.tell({ type: "broadcastSent", peers });
    const vectors = () => only(machine.sent("a"), "vector").length;
    expect(vectors()).toBe(atOnce);
    machine.pass(50);
    expect(vectors()).toBe(1 - atOnce);
  },
);
