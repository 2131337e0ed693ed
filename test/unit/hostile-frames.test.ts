/** A peer that says anything at all: memory stays bounded, others are served, and it is counted. */
import { expect, test } from "vitest";
import {
  CHUNK_BYTES,
  FRAME_BYTES_MAX,
  INGEST_BYTES_MAX,
  NEW_AUTHORS_CLAIMED_MAX,
  WANT_BYTES_MAX,
  WANT_CHUNKS_MAX,
} from "../../src/protocol/limits.ts";
import { encodeMessage, type Message } from "../../src/protocol/messages.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import {
  createMachine,
  entry,
  incomingOf,
  only,
  outlineOf,
  runOf,
  siteOf,
} from "./replication-machine.ts";

const indexesOf = (ranges: readonly { readonly first: number; readonly last: number }[]) =>
  ranges.flatMap(({ first, last }) =>
    Array.from({ length: last - first + 1 }, (_, i) => first + i),
  );

const range = (site: number, first: number, last: number) => ({
  site: siteOf(site),
  stream: "data" as const,
  first,
  last,
});

test("[AE15] chunks of no want, twice, of another length or beyond what was asked are refused", () => {
  const machine = createMachine();
  machine.connect("a", [entry(1, 9)]);
  const large = incomingOf(1, 5, 20 * CHUNK_BYTES);
  machine.tell({ type: "changed", entries: [], broadcasts: [], incoming: [large] });
  machine.pass(300);
  const [asked] = only(machine.sent("a"), "wantChunks");
  const indexes = indexesOf(asked?.chunks ?? []);
  const [one = 0, two = 0] = indexes;
  const other = Array.from({ length: 20 }, (_, i) => i).find((i) => !indexes.includes(i)) ?? 0;
  const chunk = (index: number, length = CHUNK_BYTES, id = asked?.want ?? 0): Message => ({
    type: "chunk",
    want: id,
    index,
    bytes: new Uint8Array(length),
  });
  const codes = (messages: readonly Message[]) => {
    const before = new Map(machine.replication.status().refusals);
    for (const message of messages) machine.frame("a", message);
    const after = machine.replication.status().refusals;
    return [...after].filter(([code, n]) => n !== before.get(code)).map(([code]) => code);
  };
  expect(codes([chunk(one)])).toEqual([]);
  expect(codes([chunk(one)])).toEqual(["ERR_UNASKED"]);
  expect(codes([chunk(two, CHUNK_BYTES - 2)])).toEqual(["ERR_NOT_CANONICAL"]);
  expect(codes([chunk(other)])).toEqual(["ERR_UNASKED"]);
  expect(codes([chunk(two, CHUNK_BYTES, 77)])).toEqual(["ERR_UNASKED"]);
  expect(machine.take("ingest").map(({ item }) => item)).toMatchObject([
    { type: "chunk", index: one, headerHash: large.headerHash },
  ]);
  expect(machine.replication.intakeBytes()).toBe(CHUNK_BYTES);
});

test("[AE15] peers that answer everything at once fill the intake to what was asked, no further", () => {
  const machine = createMachine();
  const large = incomingOf(1, 5, 60_000_000);
  machine.tell({ type: "changed", entries: [], broadcasts: [], incoming: [large] });
  let peak = 0;
  const peers = ["a", "b", "c", "d", "e", "f", "g", "h"];
  for (const peer of peers) machine.connect(peer, [entry(1, 9)]);
  for (let round = 0; round < 20; round++) {
    machine.pass(300);
    for (const peer of peers) {
      for (const { want, chunks } of only(machine.sent(peer), "wantChunks")) {
        for (const index of indexesOf(chunks)) {
          machine.frame(peer, { type: "chunk", want, index, bytes: new Uint8Array(CHUNK_BYTES) });
          peak = Math.max(peak, machine.replication.intakeBytes());
        }
        machine.frame(peer, { type: "served", want, complete: true });
      }
    }
  }
  // Nobody is asked for more while one want's worth is not kept yet.
  const wantBytes = WANT_CHUNKS_MAX * CHUNK_BYTES;
  expect(peak).toBeGreaterThan(wantBytes);
  expect(peak).toBeLessThanOrEqual((1 + peers.length) * wantBytes);
});

test("[AE9] a want for more chunks than fit one answer costs one read", () => {
  const machine = createMachine([entry(1, 9)]);
  machine.connect("a", [entry(1, 9)]);
  machine.sent("a");
  const { site, stream, version, headerHash } = incomingOf(1, 5, 60_000_000);
  const chunks = Array.from({ length: 64 }, (_, at) => ({ first: 16 * at, last: 16 * at + 14 }));
  const of = { site, stream, version, headerHash };
  machine.frame("a", { type: "wantChunks", want: 1, ...of, chunks });
  let sent = 0;
  for (let reads = 0; ; reads++) {
    const [read] = machine.take("readChunks");
    if (read === undefined) break;
    expect(reads).toBeLessThan(WANT_CHUNKS_MAX);
    const { indexes } = read.request;
    sent += indexes.length;
    const bytes = new Uint8Array(CHUNK_BYTES);
    const answered = indexes.map((index) => ({ index, bytes }));
    machine.tell({ type: "chunksRead", peer: "a", chunks: answered });
  }
  expect(sent).toBe(WANT_CHUNKS_MAX);
  expect(machine.sent("a").at(-1)).toEqual({ type: "served", want: 1, complete: false });
  machine.frame("a", { type: "wantChunks", want: 2, ...of, version: 10, chunks });
  expect(machine.take("readChunks")).toEqual([]);
  expect(machine.sent("a")).toEqual([{ type: "served", want: 2, complete: true }]);
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

test("[AE15] more than one want's bytes, and a frame, under one want are refused", () => {
  const machine = createMachine();
  machine.connect("a", [entry(1, 1_000_000)]);
  const want = only(machine.sent("a"), "want")[0]?.want ?? 0;
  for (let i = 0; i < 100; i++) {
    machine.frame("a", { type: "run", want, run: runOf(1, 1 + i, 1, 200_000) });
  }
  expect(machine.take("ingest").length).toBe(7);
  expect(machine.replication.intakeBytes()).toBeLessThan(INGEST_BYTES_MAX);
});

test("[AE15] any bytes at any time end in a count, never in an exception", () => {
  const random = createSeededRandom(3);
  const machine = createMachine([entry(1, 5)]);
  const large = incomingOf(1, 5, 70_000);
  const frames = [
    encodeMessage({ type: "digest", digest: "ab".repeat(32) }),
    encodeMessage({ type: "vector", part: "first", entries: [entry(1, 9), entry(2, 3)] }),
    encodeMessage({ type: "want", want: 1, bytesMax: 100, ranges: [range(1, 1, 5)] }),
    encodeMessage({ type: "run", want: 1, run: runOf(1, 6, 2) }),
    encodeMessage({ type: "outline", want: 1, outline: outlineOf(2, 1, 70_000) }),
    encodeMessage({ type: "wantChunks", want: 1, ...large, chunks: large.missing }),
    encodeMessage({ type: "chunk", want: 1, index: 0, bytes: new Uint8Array(CHUNK_BYTES) }),
    encodeMessage({ type: "served", want: 1, complete: true }),
    encodeMessage({ type: "neighbours", peers: ["x"] }),
  ];
  for (let i = 0; i < 6_000; i++) {
    // Often: a digest that contradicts what was claimed soon ends a link.
    if (i % 20 === 0) {
      machine.connect("a", [entry(2, 1)]);
      // What the link before it was reading nobody waits for.
      machine.take("read");
      machine.take("readChunks");
    }
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
    for (const { peer } of machine.take("readChunks")) {
      machine.tell({ type: "chunksRead", peer, chunks: [] });
    }
    const incoming = [i % 2 === 0 ? incomingOf(2, 1, 200_000) : incomingOf(2, 1, 200_000, 1, 0)];
    if (i % 5 === 0) machine.tell({ type: "changed", entries: [], broadcasts: [], incoming });
    if (i % 7 === 0) machine.ingested({ verdict: "refused", code: "ERR_SIGNATURE_INVALID" });
    if (i % 11 === 0) machine.pass(random.below(1_000));
  }
  const { refusals, intakeBytes } = machine.replication.status();
  expect(refusals.get("ERR_NOT_CANONICAL")).toBeGreaterThan(500);
  expect(intakeBytes).toBeLessThan(8 * WANT_BYTES_MAX);
}, 60_000);

test("[AE5] the last read of an answer may go beyond its bytes, no more", () => {
  const machine = createMachine();
  machine.connect("a", [entry(1, 2_000)]);
  const [{ want } = { want: 0 }] = only(machine.sent("a"), "want");
  let version = 0;
  /** @returns its bytes */
  const say = (type: "run" | "outline", payloadBytes: number): number => {
    version++;
    const part =
      type === "run" ? runOf(1, version, 1, payloadBytes) : outlineOf(1, version, payloadBytes);
    machine.frame("a", type === "run" ? { type, want, run: part } : { type, want, outline: part });
    return part.length;
  };
  const refusals = () => [...machine.replication.status().refusals];
  let bytes = 0;
  while (bytes < WANT_BYTES_MAX - 10_000) bytes += say("run", 1_000);
  // Read as outline, outline, and then the run that crosses the limit; sent with the run first.
  bytes += say("run", CHUNK_BYTES);
  expect(bytes).toBeGreaterThan(WANT_BYTES_MAX);
  bytes += say("outline", 3 * CHUNK_BYTES) + say("outline", 3 * CHUNK_BYTES);
  expect(refusals()).toEqual([]);
  while (bytes < WANT_BYTES_MAX + FRAME_BYTES_MAX) bytes += say("run", 10_000);
  expect(refusals()).toEqual([]);
  say("run", 1);
  expect(refusals()).toEqual([["ERR_UNASKED", 1]]);
});
