/** What the machine asks for once it knows that a version is large. */
import { expect, test } from "vitest";
import { CHUNK_BYTES, WANT_CHUNKS_MAX } from "../../src/protocol/limits.ts";
import type { Message } from "../../src/protocol/messages.ts";
import type { IncomingChangeset } from "../../src/seams.ts";
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

const wantsOf = (messages: readonly Message[]) => ({
  versions: only(messages, "want").flatMap(({ ranges }) => ranges),
  chunks: only(messages, "wantChunks").flatMap(({ chunks }) => chunks),
});

test("[AE19] the version of an outline is not asked for again, its chunks are, of everybody once", () => {
  const machine = createMachine();
  tell(machine, incomingOf(1, 2, 100 * CHUNK_BYTES, 10, 99));
  for (const peer of ["a", "b", "c"]) machine.connect(peer, [entry(1, 3)]);
  machine.connect("d", [entry(1, 1)]);
  machine.pass(300);
  const asked = ["a", "b", "c", "d"].map((peer) => wantsOf(machine.sent(peer)));
  expect(asked.flatMap(({ versions }) => versions)).toEqual([range(1, 1, 1), range(1, 3, 3)]);
  // Four at first, and nothing of who does not claim the version.
  expect(asked.map(({ chunks }) => chunks)).toEqual([
    [{ first: 10, last: 13 }],
    [{ first: 14, last: 17 }],
    [{ first: 18, last: 21 }],
    [],
  ]);
});

test("[AE19] a peer that is gone leaves its chunks to others, and what was kept is not asked for", () => {
  const machine = createMachine();
  const large = incomingOf(1, 1, 6 * CHUNK_BYTES);
  tell(machine, large);
  machine.connect("a", [entry(1, 1)]);
  machine.connect("b", [entry(1, 1)]);
  machine.pass(300);
  const [want] = only(machine.sent("a"), "wantChunks");
  expect(want?.chunks).toEqual([{ first: 0, last: 3 }]);
  expect(wantsOf(machine.sent("b")).chunks).toEqual([{ first: 4, last: 5 }]);
  const bytes = new Uint8Array(CHUNK_BYTES);
  machine.frame("a", { type: "chunk", want: want?.want ?? 0, index: 0, bytes });
  tell(machine, { ...large, missing: [{ first: 1, last: 5 }] });
  machine.ingested({ verdict: "incomplete" });
  machine.tell({ type: "peerDown", peer: "a" });
  machine.connect("c", [entry(1, 1)]);
  machine.pass(300);
  expect(wantsOf(machine.sent("c")).chunks).toEqual([{ first: 1, last: 3 }]);
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
  for (const tookMs of [10, 10, 10, 4_000, 4_000, 1_000]) {
    machine.pass(300);
    const [want] = only(machine.sent("a"), "wantChunks");
    const [{ first, last } = { first: 0, last: -1 }] = want?.chunks ?? [];
    sizes.push(last - first + 1);
    // Versions are asked for meanwhile.
    at += 1;
    machine.frame("a", { type: "vector", part: "more", entries: [entry(2, at)] });
    const [version] = only(machine.sent("a"), "want");
    expect(version?.ranges).toEqual([range(2, at, at)]);
    machine.frame("a", { type: "run", want: version?.want ?? 0, run: runOf(2, at, 1) });
    machine.ingested({ verdict: "applied" });
    machine.tell({ type: "changed", entries: [entry(2, at)], broadcasts: [] });
    machine.frame("a", { type: "served", want: version?.want ?? 0, complete: true });
    for (let index = first; index <= last; index++) {
      machine.pass(tookMs / (last - first + 1));
      const bytes = new Uint8Array(CHUNK_BYTES);
      machine.frame("a", { type: "chunk", want: want?.want ?? 0, index, bytes });
    }
    tell(machine, { ...large, missing: [{ first: last + 1, last: 899 }] });
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
