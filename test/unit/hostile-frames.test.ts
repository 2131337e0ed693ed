/** A peer that says anything at all: memory stays bounded, others are served, and it is counted. */
import { expect, test } from "vitest";
import {
  INGEST_BYTES_MAX,
  PART_BYTES,
  RUN_BYTES_MAX,
  NEW_AUTHORS_CLAIMED_MAX,
} from "../../src/protocol/limits.ts";
import { encodeMessage, type Message } from "../../src/protocol/messages.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { createMachine, entry, only, runOf, siteOf } from "./replication-machine.ts";

const range = (site: number, first: number, last: number) => ({
  site: siteOf(site),
  stream: "data" as const,
  first,
  last,
});

test("[AE15] runs that never end hold at most one run's bytes, over all peers", () => {
  const machine = createMachine();
  const big = runOf(1, 1, 1, 60_000_000);
  const peers = ["a", "b", "c", "d"];
  const wants = peers.map((peer, i) => {
    machine.connect(peer, [entry(i + 1, 1)]);
    return only(machine.sent(peer), "want")[0]?.want ?? 0;
  });
  let peak = 0;
  for (let offset = 0; offset + PART_BYTES < big.length; offset += PART_BYTES) {
    for (const [i, peer] of peers.entries()) {
      const bytes = (i === 0 ? big : runOf(i + 1, 1, 1, 0)).subarray(offset, offset + PART_BYTES);
      const filled = new Uint8Array(PART_BYTES);
      filled.set(bytes);
      const part = { want: wants[i] ?? 0, totalBytes: big.length, offset, bytes: filled };
      machine.frame(peer, { type: "part", ...part });
      peak = Math.max(peak, machine.replication.intakeBytes());
    }
  }
  expect(peak).toBeLessThanOrEqual(RUN_BYTES_MAX);
  expect(peak).toBeGreaterThan(RUN_BYTES_MAX / 2);
  expect(machine.replication.status().refusals.get("ERR_BUSY")).toBeGreaterThan(0);
  // Who stops in the middle holds nothing for long; neither does who leaves.
  machine.pass(60_000);
  for (const peer of peers) machine.tell({ type: "peerDown", peer });
  expect(machine.replication.intakeBytes()).toBe(0);
}, 60_000);

test("[AE15] parts that are small, out of order, of two runs or of no want are refused", () => {
  const machine = createMachine();
  machine.connect("a", [entry(1, 9)]);
  const want = only(machine.sent("a"), "want")[0]?.want ?? 0;
  const run = runOf(1, 1, 1, 400_000);
  const part = (
    offset: number,
    length = PART_BYTES,
    totalBytes = run.length,
    id = want,
  ): Message => ({
    type: "part",
    want: id,
    totalBytes,
    offset,
    bytes: run.subarray(offset, offset + length),
  });
  const codes = (messages: readonly Message[]) => {
    const before = new Map(machine.replication.status().refusals);
    for (const message of messages) machine.frame("a", message);
    const after = machine.replication.status().refusals;
    return [...after].filter(([code, n]) => n !== before.get(code)).map(([code]) => code);
  };
  expect(codes([part(0, 200)])).toEqual(["ERR_NOT_CANONICAL"]);
  expect(codes([part(0), part(2 * PART_BYTES)])).toEqual(["ERR_NOT_CANONICAL"]);
  expect(codes([part(0), part(PART_BYTES, PART_BYTES, run.length - 1)])).toEqual([
    "ERR_NOT_CANONICAL",
  ]);
  expect(codes([part(0, PART_BYTES, run.length, 77)])).toEqual(["ERR_UNASKED"]);
  expect(machine.take("ingest")).toEqual([]);
  expect(machine.replication.intakeBytes()).toBe(0);
});

test("[AE9] a fifth unanswered want is refused, and costs no memory", () => {
  const machine = createMachine([entry(1, 1_000)]);
  machine.connect("a", [entry(1, 1_000)]);
  for (let want = 1; want <= 10_000; want++) {
    machine.frame("a", { type: "want", want, bytesMax: 1_000_000, ranges: [range(1, 1, 1_000)] });
  }
  expect(machine.take("read").length).toBe(1);
  expect(machine.replication.status().refusals.get("ERR_LIMIT")).toBe(9_996);
});

test("[AE9] a want for what we do not hold is answered without asking the store", () => {
  const machine = createMachine([entry(1, 3)]);
  machine.connect("a", [entry(1, 3)]);
  machine.sent("a");
  machine.frame("a", {
    type: "want",
    want: 1,
    bytesMax: 1_000_000,
    ranges: [range(1, 4, 2 ** 48), range(9, 1, 2 ** 48)],
  });
  expect(machine.take("read")).toEqual([]);
  expect(machine.sent("a")).toEqual([{ type: "served", want: 1, complete: true }]);
});

test("[AE15] a vector of ever more authors is remembered up to its limit", () => {
  const machine = createMachine();
  machine.connect("a", []);
  let site = 1;
  for (let frame = 0; frame < 40; frame++) {
    const entries = Array.from({ length: 2_000 }, () => entry(site++, 2 ** 40));
    machine.frame("a", { type: "vector", part: "more", entries });
  }
  const { missing } = machine.replication.status();
  expect(missing).toBe(NEW_AUTHORS_CLAIMED_MAX * 2 ** 40);
  // The others are asked as before.
  machine.connect("b", [entry(0x10_0000, 3)]);
  expect(only(machine.sent("b"), "want")[0]?.ranges).toEqual([range(0x10_0000, 1, 3)]);
}, 60_000);

test("[AE15] more than one want's bytes under one want are refused", () => {
  const machine = createMachine();
  machine.connect("a", [entry(1, 1_000_000)]);
  const want = only(machine.sent("a"), "want")[0]?.want ?? 0;
  for (let i = 0; i < 100; i++) {
    machine.frame("a", { type: "run", want, run: runOf(1, 1 + i, 1, 200_000) });
  }
  expect(machine.take("ingest").length).toBe(6);
  expect(machine.replication.intakeBytes()).toBeLessThan(INGEST_BYTES_MAX);
});

test("[AE15] any bytes at any time end in a count, never in an exception", () => {
  const random = createSeededRandom(3);
  const machine = createMachine([entry(1, 5)]);
  const frames = [
    encodeMessage({ type: "digest", digest: "ab".repeat(32) }),
    encodeMessage({ type: "vector", part: "first", entries: [entry(1, 9), entry(2, 3)] }),
    encodeMessage({ type: "want", want: 1, bytesMax: 100, ranges: [range(1, 1, 5)] }),
    encodeMessage({ type: "run", want: 1, run: runOf(1, 6, 2) }),
    encodeMessage({ type: "part", want: 1, totalBytes: 70_000, offset: 0, bytes: runOf(2, 1, 1) }),
    encodeMessage({ type: "served", want: 1, complete: true }),
    encodeMessage({ type: "neighbours", peers: ["x"] }),
  ];
  for (let i = 0; i < 6_000; i++) {
    // Often: a digest that contradicts what was claimed soon ends a link.
    if (i % 20 === 0) machine.connect("a", [entry(2, 1)]);
    const bytes = (frames[random.below(frames.length)] as Uint8Array).slice();
    for (let flips = random.below(4); flips > 0; flips--) {
      bytes[random.below(bytes.length)] = random.below(256);
    }
    machine.bytes(
      "a",
      random.below(4) === 0 ? bytes.subarray(0, random.below(bytes.length)) : bytes,
    );
    for (const { peer } of machine.take("read")) {
      machine.tell({ type: "read", peer, runs: [], next: null });
    }
    if (i % 7 === 0) machine.ingested({ verdict: "refused", code: "ERR_SIGNATURE_INVALID" });
    if (i % 11 === 0) machine.pass(random.below(1_000));
  }
  const { refusals, intakeBytes } = machine.replication.status();
  expect(refusals.get("ERR_NOT_CANONICAL")).toBeGreaterThan(500);
  expect(intakeBytes).toBeLessThan(RUN_BYTES_MAX);
}, 60_000);
