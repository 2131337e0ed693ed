/** What the machine asks for once it knows that a version is large. */
import { expect, test } from "vitest";
import { CHUNK_BYTES, WANT_CHUNKS_MAX } from "../../src/protocol/limits.ts";
import type { Message } from "../../src/protocol/messages.ts";
import { subtractRanges, type VersionRange } from "../../src/protocol/version-vector.ts";
import type { IncomingChangeset } from "../../src/seams.ts";
import { firstChunks } from "../../src/gossip/chunk-order.ts";
import { siteId } from "../../src/protocol/ids.ts";
import {
  createMachine,
  entry,
  incomingOf,
  type Machine,
  only,
  runOf,
  siteOf,
} from "./replication-machine.ts";

const range = (site: number, first: number, last: number) => ({
  site: siteOf(site),
  stream: "data" as const,
  first,
  last,
});

const tell = (machine: Machine, ...incoming: readonly IncomingChangeset[]): void =>
  machine.tell({ type: "changed", entries: [], broadcasts: [], incoming });

const indexesOf = (ranges: readonly VersionRange[]): readonly number[] =>
  ranges.flatMap(({ first, last }) =>
    Array.from({ length: last - first + 1 }, (_, i) => first + i),
  );

const wantsOf = (messages: readonly Message[]) => ({
  versions: only(messages, "want").flatMap(({ ranges }) => ranges),
  chunks: only(messages, "wantChunks").flatMap(({ chunks }) => chunks),
});

test("[AE19] the version of an outline is not asked for again, its chunks are, of everybody once", () => {
  const machine = createMachine();
  tell(machine, incomingOf(1, 2, 100 * CHUNK_BYTES, 10, 99));
  for (const peer of ["a", "b", "c"]) machine.connect(peer, [entry(1, 3)]);
  machine.pass(300);
  const asked = ["a", "b", "c"].map((peer) => wantsOf(machine.sent(peer)));
  expect(asked.flatMap(({ versions }) => versions)).toEqual([range(1, 1, 1), range(1, 3, 3)]);
  // Four at first.
  const indexes = asked.map(({ chunks }) => indexesOf(chunks));
  expect(indexes.map(({ length }) => length)).toEqual([4, 4, 4]);
  expect(new Set(indexes.flat()).size).toBe(12);
  expect(Math.min(...indexes.flat())).toBeGreaterThanOrEqual(10);
});

test("[AE19] a peer that is gone leaves its chunks to others, and what was kept is not asked for", () => {
  const machine = createMachine();
  const large = incomingOf(1, 1, 6 * CHUNK_BYTES);
  tell(machine, large);
  machine.connect("a", [entry(1, 1)]);
  machine.connect("b", [entry(1, 1)]);
  machine.pass(300);
  const [want] = only(machine.sent("a"), "wantChunks");
  const [index = 0, ...lost] = indexesOf(want?.chunks ?? []);
  expect(lost.length).toBe(3);
  const others = indexesOf(wantsOf(machine.sent("b")).chunks);
  expect(new Set([index, ...lost, ...others])).toEqual(new Set([0, 1, 2, 3, 4, 5]));
  const bytes = new Uint8Array(CHUNK_BYTES);
  machine.frame("a", { type: "chunk", want: want?.want ?? 0, index, bytes });
  const missing = subtractRanges(large.missing, [{ first: index, last: index }]);
  tell(machine, { ...large, missing });
  machine.ingested({ verdict: "incomplete" });
  machine.tell({ type: "peerDown", peer: "a" });
  machine.connect("c", [entry(1, 1)]);
  machine.pass(300);
  expect(indexesOf(wantsOf(machine.sent("c")).chunks)).toEqual(lost);
  // Whole, or given up: nothing more is asked.
  tell(machine, { ...large, missing: [] });
  machine.pass(60_000);
  expect(wantsOf(machine.sent("c")).chunks).toEqual([]);
});

test("[AE19] who has no chunk of it is asked for the version: it may hold another one", () => {
  const machine = createMachine();
  tell(machine, incomingOf(1, 1, 6 * CHUNK_BYTES));
  machine.connect("a", [entry(1, 1, "bb")]);
  machine.pass(300);
  const messages = machine.sent("a");
  expect(wantsOf(messages).versions).toEqual([]);
  const [want] = only(messages, "wantChunks");
  machine.frame("a", { type: "served", want: want?.want ?? 0, complete: true });
  machine.pass(5_000);
  expect(wantsOf(machine.sent("a")).versions).toContainEqual(range(1, 1, 1));
});

test("[AE20] one want is left for versions; a want of chunks keeps pace with the link", () => {
  const machine = createMachine();
  const large = incomingOf(1, 1, 900 * CHUNK_BYTES);
  tell(machine, large);
  machine.connect("a", [entry(1, 1)]);
  const sizes: number[] = [];
  let at = 0;
  let { missing } = large;
  for (const tookMs of [10, 10, 10, 4_000, 4_000, 1_000]) {
    machine.pass(300);
    const [want] = only(machine.sent("a"), "wantChunks");
    const indexes = indexesOf(want?.chunks ?? []);
    sizes.push(indexes.length);
    // Versions are asked for meanwhile.
    at += 1;
    machine.frame("a", { type: "vector", part: "more", entries: [entry(2, at)] });
    const [version] = only(machine.sent("a"), "want");
    expect(version?.ranges).toEqual([range(2, at, at)]);
    machine.frame("a", { type: "run", want: version?.want ?? 0, run: runOf(2, at, 1) });
    machine.ingested({ verdict: "applied" });
    machine.tell({ type: "changed", entries: [entry(2, at)], broadcasts: [] });
    machine.frame("a", { type: "served", want: version?.want ?? 0, complete: true });
    for (const index of indexes) {
      machine.pass(tookMs / indexes.length);
      const bytes = new Uint8Array(CHUNK_BYTES);
      machine.frame("a", { type: "chunk", want: want?.want ?? 0, index, bytes });
    }
    missing = subtractRanges(missing, want?.chunks ?? []);
    tell(machine, { ...large, missing });
    machine.ingested({ verdict: "incomplete" });
    machine.frame("a", { type: "served", want: want?.want ?? 0, complete: true });
  }
  expect(sizes).toEqual([4, 8, WANT_CHUNKS_MAX, WANT_CHUNKS_MAX, 4, 2]);
});

test("[AE19] nothing is asked for faster than it is kept", () => {
  const machine = createMachine();
  tell(machine, incomingOf(1, 1, 900 * CHUNK_BYTES));
  machine.connect("a", [entry(1, 1)]);
  let asked = 0;
  for (let i = 0; i < 20; i++) {
    machine.pass(300);
    for (const { want, chunks } of only(machine.sent("a"), "wantChunks")) {
      for (const { first, last } of chunks) {
        for (let index = first; index <= last; index++) {
          asked++;
          const bytes = new Uint8Array(CHUNK_BYTES);
          machine.frame("a", { type: "chunk", want, index, bytes });
        }
      }
      machine.frame("a", { type: "served", want, complete: true });
    }
  }
  expect(asked).toBe(4 + 8);
});

test("[AE10] a link so slow that a lease lapses is still waited for while chunks of the own log come", () => {
  const machine = createMachine();
  const own = incomingOf(0xffff, 1, 20 * CHUNK_BYTES);
  machine.connect("a", [entry(0xffff, 1)]);
  tell(machine, own);
  machine.pass(300);
  const bytes = new Uint8Array(CHUNK_BYTES);
  const asked = () => only(machine.sent("a"), "wantChunks").map(({ want }) => want);
  let [want = 0] = asked();
  for (let index = 0; index < 4; index++) {
    machine.pass(7_000);
    machine.frame("a", { type: "chunk", want, index, bytes });
    tell(machine, { ...own, missing: [{ first: index + 1, last: 19 }] });
    machine.ingested({ verdict: "incomplete" });
    expect(machine.take("offer")).toEqual([]);
  }
  machine.frame("a", { type: "served", want, complete: true });
  machine.pass(5_000);
  [want = 0] = asked();
  expect(want).toBeGreaterThan(0);
  machine.pass(10_000);
  expect(machine.take("offer")).toEqual([{ type: "offer", mode: "on" }]);
});

test("[AE19] two of an author on their way put off its later versions, not at a peer that has neither", () => {
  const machine = createMachine();
  const two = [2, 3].map((version) => incomingOf(1, version, 100 * CHUNK_BYTES));
  tell(machine, ...two);
  machine.connect("a", [entry(1, 9)]);
  machine.connect("b", [{ ...entry(1, 0), beyond: [{ first: 7, last: 8 }] }]);
  machine.pass(300);
  expect(wantsOf(machine.sent("a")).versions).toEqual([range(1, 1, 1)]);
  expect(wantsOf(machine.sent("b")).versions).toEqual([range(1, 7, 8)]);
});

/** Answers what the machine asks this peer for with those of its chunks that the store has. */
const servedOf = (machine: Machine, peer: string): readonly Message[] => {
  const bytes = new Uint8Array(CHUNK_BYTES);
  for (const { request } of machine.take("readChunks")) {
    const chunks = request.indexes.map((index) => ({ index, bytes }));
    machine.tell({ type: "chunksRead", peer, chunks });
  }
  return machine.sent(peer);
};

test("[AE22] of what is half here those chunks are served that are, and it is not claimed", () => {
  const machine = createMachine();
  const large = incomingOf(1, 1, 10 * CHUNK_BYTES);
  tell(machine, { ...large, missing: [{ first: 2, last: 8 }] });
  machine.connect("a", []);
  const { site, stream, version, headerHash } = large;
  const of = { site, stream, version, headerHash };
  const chunks = [
    { first: 1, last: 3 },
    { first: 7, last: 9 },
  ];
  machine.sent("a");
  machine.frame("a", { type: "wantChunks", want: 1, ...of, chunks });
  const answer = servedOf(machine, "a");
  expect(only(answer, "chunk").map(({ index }) => index)).toEqual([1, 9]);
  expect(only(answer, "served")).toEqual([{ type: "served", want: 1, complete: true }]);
  machine.frame("a", { type: "wantChunks", want: 2, ...of, chunks: [{ first: 2, last: 8 }] });
  expect(machine.take("readChunks")).toEqual([]);
  expect(servedOf(machine, "a")).toEqual([{ type: "served", want: 2, complete: true }]);
  machine.pass(10_000);
  const claimed = only(machine.sent("a"), "vector").flatMap(({ entries }) => entries);
  expect(claimed.some(({ head }) => head > 0)).toBe(false);
});

test("[AE22] a neighbour that lacks it too is asked for what it fetches first, ever less while it has nothing", () => {
  const machine = createMachine();
  const large = incomingOf(1, 1, 100 * CHUNK_BYTES);
  tell(machine, large);
  machine.connect("b", []);
  machine.pass(300);
  const asked = (): readonly {
    readonly want: number;
    readonly chunks: readonly VersionRange[];
  }[] => only(machine.sent("b"), "wantChunks");
  const first = firstChunks(siteOf(98), large.headerHash, large.missing, 4);
  let [want] = asked();
  expect(want?.chunks).toEqual(first);
  let times = 0;
  for (let second = 0; second < 120; second++) {
    if (want !== undefined) machine.frame("b", { type: "served", want: want.want, complete: true });
    machine.pass(1_000);
    [want] = asked();
    if (want !== undefined) times++;
  }
  // After 0.5, 1, 2 … 60 s.
  expect(times).toBeGreaterThan(5);
  expect(times).toBeLessThan(10);
  // It has all that else it claims: other wants go on, and its versions are not doubted.
  machine.frame("b", { type: "vector", part: "more", entries: [entry(2, 3)] });
  machine.pass(50);
  expect(wantsOf(machine.sent("b")).versions).toEqual([range(2, 1, 3)]);
});

test("[AE22] two orders have little in common, and one is the same everywhere", () => {
  const { headerHash, missing } = incomingOf(1, 1, 1_000 * CHUNK_BYTES);
  const orders = ["0badcafe", "0badcaff", "12345678"].map((name) =>
    indexesOf(firstChunks(siteId(name.padEnd(32, "0")), headerHash, missing, 500)),
  );
  for (const order of orders) expect(new Set(order).size).toBe(500);
  for (const [i, order] of orders.entries()) {
    for (const other of orders.slice(i + 1)) {
      const both = order.filter((index) => other.includes(index)).length;
      expect(both).toBeGreaterThan(200);
      expect(both).toBeLessThan(300);
    }
  }
  const few = indexesOf(
    firstChunks(siteId("12345678".padEnd(32, "0")), headerHash, [{ first: 3, last: 4 }], 3),
  );
  expect(few).toEqual([3, 4]);
});

test("[AE19] what nobody has any more does not keep the chunks of others waiting", () => {
  const machine = createMachine();
  const lost = incomingOf(1, 1, 6 * CHUNK_BYTES);
  tell(machine, lost);
  machine.connect("a", [entry(1, 1, "bb"), entry(2, 1)]);
  // Under that version the peer holds another changeset: it has none of these chunks.
  const [want] = only(machine.sent("a"), "wantChunks");
  expect(want?.headerHash).toBe(lost.headerHash);
  machine.frame("a", { type: "served", want: want?.want ?? 0, complete: true });
  const fresh = incomingOf(2, 1, 2 * CHUNK_BYTES);
  tell(machine, lost, fresh);
  machine.pass(300);
  const [next] = only(machine.sent("a"), "wantChunks");
  expect(next?.headerHash).toBe(fresh.headerHash);
});

test("[AE19] of two that may be asked for, chunks that never came are asked for last", () => {
  const machine = createMachine();
  const lost = incomingOf(1, 1, 6 * CHUNK_BYTES);
  const first = incomingOf(2, 1, 2 * CHUNK_BYTES);
  const second = incomingOf(3, 1, 2 * CHUNK_BYTES);
  const serve = (headerHash: string): void => {
    const [want] = only(machine.sent("a"), "wantChunks");
    expect(want?.headerHash).toBe(headerHash);
    machine.frame("a", { type: "served", want: want?.want ?? 0, complete: true });
  };
  tell(machine, lost);
  machine.connect("a", [entry(1, 1, "bb")]);
  serve(lost.headerHash);
  tell(machine, lost, first);
  machine.frame("a", { type: "vector", part: "more", entries: [entry(2, 1)] });
  // One want of chunks at a time: until the first is served, the lost one's pause ends.
  machine.pass(1_500);
  const incoming = [lost, { ...first, missing: [] }, second];
  machine.tell({ type: "changed", entries: [entry(2, 1)], broadcasts: [], incoming });
  machine.frame("a", { type: "vector", part: "more", entries: [entry(3, 1)] });
  serve(first.headerHash);
  machine.pass(300);
  serve(second.headerHash);
});

test("[AE19] chunks that never come do not keep their author's next version waiting", () => {
  const machine = createMachine();
  tell(machine, incomingOf(1, 1, 6 * CHUNK_BYTES));
  machine.connect("a", [entry(1, 1, "bb")]);
  let chunkWants = 0;
  for (let i = 0; chunkWants < 3 && i < 100; i++) {
    for (const message of machine.sent("a")) {
      if (message.type !== "want" && message.type !== "wantChunks") continue;
      if (message.type === "wantChunks") chunkWants += 1;
      else {
        machine.frame("a", { type: "run", want: message.want, run: runOf(1, 1, 1) });
        machine.tell({ type: "changed", entries: [entry(1, 1, "bb")], broadcasts: [] });
        machine.ingested({ verdict: "applied" });
      }
      machine.frame("a", { type: "served", want: message.want, complete: true });
    }
    if (chunkWants < 3) machine.pass(50);
  }
  expect(chunkWants).toBe(3);
  machine.frame("a", { type: "vector", part: "more", entries: [entry(1, 2, "cc")] });
  machine.pass(20);
  expect(wantsOf(machine.sent("a")).versions).toEqual([range(1, 2, 2)]);
});
