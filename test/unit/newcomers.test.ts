/** Authors nobody has heard of: anybody may invent them, so they come at a bounded rate. */
import { expect, test } from "vitest";
import { NEW_AUTHOR_MS, NEW_AUTHORS_BURST } from "../../src/protocol/limits.ts";
import type { PeerId } from "../../src/protocol/ids.ts";
import type { VectorEntry } from "../../src/protocol/version-vector.ts";
import {
  broadcastOf,
  createMachine,
  entry,
  helloOf,
  type Machine,
  only,
  runOf,
  siteOf,
} from "./replication-machine.ts";

/** Answers every want of every peer, as somebody would who has it all. */
function serve(machine: Machine, peers: readonly PeerId[]): VectorEntry[] {
  const taken: VectorEntry[] = [];
  for (const peer of peers) {
    for (const { want, ranges } of only(machine.sent(peer), "want")) {
      for (const { site, first, last } of ranges) {
        const number = Number.parseInt(site, 16);
        const run = runOf(number, first, last - first + 1);
        machine.frame(peer, { type: "run", want, run });
        taken.push(entry(number, last));
      }
      machine.frame(peer, { type: "served", want, complete: true });
    }
  }
  machine.ingested({ verdict: "applied" });
  if (taken.length > 0) machine.tell({ type: "changed", entries: taken, broadcasts: [] });
  return taken;
}

const invented = (from: number, count: number): VectorEntry[] =>
  Array.from({ length: count }, (_, i) => entry(from + i, 1));

/** One that goes on inventing authors while time passes. */
function flood(machine: Machine, peer: PeerId, seconds: number): number {
  let next = 0x10_0000;
  let taken = 0;
  for (let second = 0; second < seconds; second++) {
    machine.frame(peer, { type: "vector", part: "more", entries: invented(next, 500) });
    next += 500;
    for (let i = 0; i < 40; i++) {
      const more = serve(machine, [peer]).length;
      if (more === 0) break;
      taken += more;
      machine.pass(10);
    }
    machine.pass(1_000);
  }
  return taken;
}

test("[AE16] a flood of new authors is taken up to a burst, then at a rate", () => {
  const machine = createMachine();
  machine.connect("a", []);
  const seconds = 120;
  const taken = flood(machine, "a", seconds);
  expect(taken).toBeGreaterThanOrEqual(NEW_AUTHORS_BURST);
  // What was asked for before the last of the burst arrived comes on top, once.
  const byRate = (seconds * 1_400) / NEW_AUTHOR_MS;
  expect(taken).toBeLessThanOrEqual(NEW_AUTHORS_BURST + byRate + 256);
  expect(machine.take("penalise")).toEqual([]);
}, 30_000);

test("[AE16] during a flood authors who come themselves are taken at once, others when it is their turn", () => {
  const machine = createMachine([entry(7, 1)]);
  machine.connect("flooder", []);
  flood(machine, "flooder", 12);
  machine.take("verdict");
  machine.take("ingest");
  // A broadcast is hearsay like any.
  machine.tell({ type: "broadcastReceived", id: 1, from: "z", bytes: broadcastOf(0x99_9999, 1) });
  expect(machine.take("verdict")).toEqual([{ type: "verdict", id: 1, verdict: "ignore" }]);
  expect(machine.take("ingest")).toEqual([]);
  const itself = "z".codePointAt(0) ?? 0;
  machine.connect("z", [entry(5, 1), entry(7, 9), entry(itself, 3)]);
  const sites = serve(machine, ["z"]).map(({ site }) => site);
  expect(sites).toEqual([siteOf(7), siteOf(itself)]);
  // The debt of 64 that the burst left, and its turn.
  let waitedMs = 0;
  while (!serve(machine, ["z"]).some(({ site }) => site === siteOf(5))) {
    serve(machine, ["flooder"]);
    machine.pass(1_000);
    waitedMs += 1_000;
    expect(waitedMs).toBeLessThanOrEqual(84 * NEW_AUTHOR_MS);
  }
}, 30_000);

test("[AE2] who does not say hello within 30 s is dropped, others are not", () => {
  const machine = createMachine();
  machine.tell({ type: "peerUp", peer: "silent" });
  machine.tell({ type: "peerUp", peer: "late" });
  machine.pass(29_000);
  machine.frame("late", helloOf("late", []));
  expect(machine.take("penalise")).toEqual([]);
  machine.pass(2_000);
  expect(machine.take("penalise")).toEqual([
    { type: "penalise", peer: "silent", code: "ERR_HELLO_MISSING" },
  ]);
  machine.frame("silent", helloOf("silent", []));
  machine.pass(60_000);
  expect(machine.take("penalise")).toEqual([]);
});
