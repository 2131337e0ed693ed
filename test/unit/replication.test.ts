import { expect, test } from "vitest";
import { createDigestedVector, digestOf } from "../../src/gossip/digest.ts";
import { meshId, siteId } from "../../src/protocol/ids.ts";
import { CONTRADICTIONS_MAX } from "../../src/protocol/limits.ts";
import { encodeMessage } from "../../src/protocol/messages.ts";
import { authorStream, type VectorEntry } from "../../src/protocol/version-vector.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import {
  createMachine,
  digest,
  entry,
  helloOf,
  only,
  outlineOf,
  runOf,
  self,
  siteOf,
  typesOf,
} from "./replication-machine.ts";

const own = (head: number) => ({ ...entry(0, head), site: self });
const keyed = (entries: readonly VectorEntry[]) =>
  new Map(entries.map((e) => [authorStream(e), e]));
const applied = { verdict: "applied" } as const;

test("[AE2] a peer of another mesh is blamed once and then not read", () => {
  const machine = createMachine([entry(1, 3)]);
  machine.tell({ type: "peerUp", peer: "a" });
  expect(typesOf(machine.sent("a"))).toEqual(["hello"]);
  machine.frame("a", { ...helloOf("a", []), mesh: meshId("00".repeat(32)) } as never);
  machine.frame("a", { type: "vector", part: "first", entries: [entry(2, 9)] });
  machine.frame("a", { type: "want", want: 1, bytesMax: 1000, ranges: [range(1, 1, 3)] });
  expect(machine.take("penalise")).toEqual([
    { type: "penalise", peer: "a", code: "ERR_WRONG_MESH" },
  ]);
  machine.pass(60_000);
  expect(machine.sent("a")).toEqual([]);
  expect(machine.take("read")).toEqual([]);
  expect(machine.replication.status().missing).toBe(0);
});

const range = (site: number, first: number, last: number) => ({
  site: siteOf(site),
  stream: "data" as const,
  first,
  last,
});

test("[AE2] anything before the hello, and a second hello, is refused", () => {
  const machine = createMachine();
  machine.tell({ type: "peerUp", peer: "a" });
  machine.frame("a", { type: "digest", digest: digest([]) });
  machine.frame("a", helloOf("a", []));
  machine.frame("a", helloOf("a", []));
  expect(machine.replication.status().refusals.get("ERR_UNASKED")).toBe(2);
});

test("[AE3] equal digests settle it: no vector is sent", () => {
  const machine = createMachine([entry(1, 3)]);
  machine.tell({ type: "peerUp", peer: "a" });
  machine.frame("a", helloOf("a", [entry(1, 3)]));
  machine.pass(1_000);
  expect(typesOf(machine.sent("a"))).toEqual(["hello"]);
  expect(machine.replication.status().peers[0]).toMatchObject({
    sameDigest: true,
    weLack: 0,
    itLacks: 0,
  });
});

test("[AE3] after one whole vector only what changed is told, many changes in one frame", () => {
  const machine = createMachine([entry(1, 3)]);
  machine.connect("a", [entry(2, 5)]);
  const [full] = only(machine.sent("a"), "vector");
  expect(full).toMatchObject({ part: "first", entries: [entry(1, 3)] });
  machine.tell({ type: "changed", entries: [entry(1, 4)], broadcasts: [] });
  machine.pass(10);
  machine.tell({ type: "changed", entries: [entry(1, 5)], broadcasts: [] });
  machine.tell({ type: "changed", entries: [entry(3, 1)], broadcasts: [] });
  machine.pass(100);
  const deltas = only(machine.sent("a"), "vector");
  expect(deltas.every(({ part }) => part === "more")).toBe(true);
  expect(deltas.length).toBeLessThanOrEqual(2);
  expect(deltas.at(-1)?.entries).toContainEqual(entry(1, 5));
});

test("[AE3] a whole vector is answered with one, but an answer is not", () => {
  const machine = createMachine([entry(1, 3)]);
  machine.tell({ type: "peerUp", peer: "a" });
  machine.frame("a", helloOf("a", [entry(1, 3)]));
  machine.sent("a");
  // Equal to us, while we were not equal to it.
  machine.frame("a", { type: "vector", part: "first", entries: [entry(1, 4)] });
  expect(only(machine.sent("a"), "vector")).toMatchObject([{ part: "first" }]);
  machine.connect("b", [entry(1, 5)]);
  machine.pass(2_400);
  expect(only(machine.sent("b"), "vector").length).toBe(1);
});

test("[AE3] the view of what a peer lacks follows our own changes", () => {
  const machine = createMachine([entry(1, 3)]);
  machine.connect("a", [entry(1, 3)]);
  machine.tell({ type: "changed", entries: [entry(1, 5), entry(2, 1)], broadcasts: [] });
  expect(machine.replication.status().peers[0]).toMatchObject({ itLacks: 3, sameDigest: false });
  machine.frame("a", { type: "vector", part: "more", entries: [entry(1, 5), entry(2, 1)] });
  expect(machine.replication.status().peers[0]).toMatchObject({ itLacks: 0, sameDigest: true });
});

test("[AE3] a vector of many authors takes several frames, each within the limit", () => {
  const vector = Array.from({ length: 5_000 }, (_, i) => entry(i + 1, 7));
  const machine = createMachine(vector);
  machine.connect("a", []);
  const frames = only(machine.sent("a"), "vector");
  expect(frames.map(({ part }) => part)).toEqual(["first", "more", "more"]);
  expect(frames.flatMap(({ entries }) => entries).length).toBe(5_000);
});

test("[AE4] a digest that does not fit the view brings whole vectors again, ever more seldom", () => {
  const machine = createMachine([entry(1, 3)]);
  machine.connect("a", [entry(1, 3)]);
  machine.sent("a");
  // More than is remembered of one peer: its digest says nothing of what we know.
  for (let at = 0; at < 3; at++) {
    const entries = Array.from({ length: 2_000 }, (_, i) => entry(2 + 2_000 * at + i, 1));
    machine.frame("a", { type: "vector", part: "more", entries });
  }
  const sentAt: number[] = [];
  for (let second = 0; second < 200; second++) {
    machine.frame("a", { type: "digest", digest: "cd".repeat(32) });
    machine.pass(1_000);
    const firsts = only(machine.sent("a"), "vector").filter(({ part }) => part === "first");
    for (const _ of firsts) sentAt.push(second);
  }
  expect(sentAt.length).toBeGreaterThanOrEqual(3);
  expect(sentAt.length).toBeLessThanOrEqual(8);
  expect(machine.take("penalise")).toEqual([]);
  // An honest digest ends it.
  machine.frame("a", { type: "digest", digest: digest([entry(1, 3)]) });
  expect(machine.replication.status().peers[0]).toMatchObject({ sameDigest: true });
});

test("[AE4] a peer whose digests contradict its own vector is dropped after the eighth", () => {
  const machine = createMachine([entry(1, 3)]);
  machine.connect("a", [entry(1, 3)]);
  for (let i = 1; i < CONTRADICTIONS_MAX; i++) {
    machine.frame("a", { type: "digest", digest: "cd".repeat(32) });
    machine.pass(5_000);
  }
  expect(machine.take("penalise")).toEqual([]);
  expect(only(machine.sent("a"), "vector").length).toBeLessThanOrEqual(6);
  machine.frame("a", { type: "digest", digest: "cd".repeat(32) });
  expect(machine.take("penalise")).toMatchObject([{ peer: "a", code: "ERR_CLAIM_FALSE" }]);
  machine.frame("a", { type: "vector", part: "first", entries: [entry(2, 9)] });
  machine.pass(60_000);
  expect(machine.sent("a")).toEqual([]);
  expect(machine.replication.status().missing).toBe(0);
});

test("[AE4] a digest is answered once: two peers never answer answers", () => {
  const machine = createMachine();
  machine.connect("a", []);
  machine.sent("a");
  machine.frame("a", { type: "digest", digest: digest([]) });
  expect(typesOf(machine.sent("a"))).toEqual(["digest"]);
  machine.pass(10_000);
  expect(typesOf(machine.sent("a"))).toEqual(["digest"]);
  machine.frame("a", { type: "digest", digest: digest([]) });
  expect(machine.sent("a")).toEqual([]);
  expect(machine.replication.status().peers[0]?.roundTripMs).not.toBeNull();
});

test("[AE5] what is missing is asked for, and runs are ingested only under the want that asked", () => {
  const machine = createMachine([entry(1, 3)]);
  machine.connect("a", [entry(1, 10), entry(2, 4)]);
  const [want] = only(machine.sent("a"), "want");
  expect(want?.ranges).toEqual([range(1, 4, 10), range(2, 1, 4)]);
  for (const [id, run] of [
    [0, runOf(1, 4, 2)],
    [99, runOf(1, 4, 2)],
    [want?.want ?? 0, runOf(1, 3, 2)],
    [want?.want ?? 0, runOf(2, 4, 2)],
    [want?.want ?? 0, runOf(7, 1, 1)],
  ] as const) {
    machine.frame("a", { type: "run", want: id, run });
  }
  expect(machine.take("ingest")).toEqual([]);
  expect(machine.replication.status().refusals.get("ERR_UNASKED")).toBe(5);
  machine.frame("a", { type: "run", want: want?.want ?? 0, run: runOf(1, 4, 7) });
  expect(machine.take("ingest").length).toBe(1);
});

test("[AE6] at most two wants ask at a time, and never more than four are unanswered", () => {
  const machine = createMachine();
  const authors = Array.from({ length: 1_000 }, (_, i) => entry(i + 1, 5));
  machine.connect("a", authors);
  const atOnce = only(machine.sent("a"), "want");
  expect(atOnce.length).toBe(2);
  expect(atOnce.every(({ ranges }) => ranges.length === 64)).toBe(true);
  machine.pass(600_000);
  expect(only(machine.sent("a"), "want").length).toBe(2);
});

test("[AE7] a version is asked of one peer, and of another when the first makes no progress", () => {
  const machine = createMachine();
  machine.connect("a", [entry(1, 10)]);
  machine.connect("b", [entry(1, 10)]);
  expect(only(machine.sent("a"), "want").length).toBe(1);
  expect(only(machine.sent("b"), "want")).toEqual([]);
  machine.pass(4_000);
  expect(only(machine.sent("b"), "want")).toEqual([]);
  machine.pass(2_000);
  const [again] = only(machine.sent("b"), "want");
  expect(again?.ranges).toEqual([range(1, 1, 10)]);
});

test("[AE7] what the store took is not asked for again before our vector had time to say so", () => {
  const machine = createMachine();
  machine.connect("a", [entry(1, 5)]);
  const [{ want } = { want: 0 }] = only(machine.sent("a"), "want");
  machine.frame("a", { type: "run", want, run: runOf(1, 1, 5) });
  machine.frame("a", { type: "served", want, complete: true });
  machine.ingested(applied);
  machine.pass(900);
  expect(only(machine.sent("a"), "want")).toEqual([]);
  machine.pass(500);
  expect(only(machine.sent("a"), "want")[0]?.ranges).toEqual([range(1, 1, 5)]);
});

test("[AE7] a peer that trickles slower than 32 kbit/s is as good as silent", () => {
  const machine = createMachine();
  machine.connect("a", [entry(1, 1_000)]);
  const [want] = only(machine.sent("a"), "want");
  machine.connect("b", [entry(1, 1_000)]);
  let version = 1;
  for (let second = 0; second < 10; second++) {
    machine.frame("a", { type: "run", want: want?.want ?? 0, run: runOf(1, version++, 1) });
    machine.ingested(applied);
    machine.pass(1_000);
  }
  expect(only(machine.sent("b"), "want").length).toBe(1);
});

/** Seconds after which b was asked for what a sends, a frame of which so many bytes come each second. */
function secondsUntilAsked(bytesPerSecond: number): number | null {
  const machine = createMachine();
  machine.connect("a", [entry(1, 10)]);
  machine.connect("b", [entry(1, 10)]);
  for (let second = 1; second <= 30; second++) {
    machine.pass(1_000);
    machine.tell({ type: "arriving", from: "a", bytes: second * bytesPerSecond });
    if (only(machine.sent("b"), "want").length > 0) return second;
  }
  return null;
}

test("[AE7] a frame that comes in slowly is progress, one that trickles is not", () => {
  expect(secondsUntilAsked(8_000)).toBe(null);
  expect(secondsUntilAsked(5_000)).toBe(null);
  expect(secondsUntilAsked(3_000)).toBeGreaterThan(5);
  expect(secondsUntilAsked(3_000)).toBeLessThanOrEqual(21);
  expect(secondsUntilAsked(100)).toBeLessThanOrEqual(6);
  expect(secondsUntilAsked(0)).toBeLessThanOrEqual(6);
});

/** Seconds after which b was asked for what a does not send; a digest took so long, there and back. */
function secondsOfSilence(roundTripMs: number): number | null {
  const machine = createMachine();
  machine.connect("a", []);
  const isAsked = () => machine.sent("a").some(({ type }) => type === "digest");
  for (let ms = 0; ms < 10_000 && !isAsked(); ms += 100) machine.pass(100);
  machine.pass(roundTripMs);
  machine.frame("a", { type: "digest", digest: digest([]) });
  machine.frame("a", { type: "vector", part: "more", entries: [entry(1, 10)] });
  expect(machine.replication.status().peers[0]?.roundTripMs).toBeGreaterThanOrEqual(roundTripMs);
  machine.connect("b", [entry(1, 10)]);
  for (let second = 1; second <= 60; second++) {
    machine.pass(1_000);
    if (only(machine.sent("b"), "want").length > 0) return second;
  }
  return null;
}

test("[AE7] what takes long there and back, and is no more than busy, has so much longer, up to 20 s", () => {
  expect(secondsOfSilence(0)).toBeLessThanOrEqual(6);
  expect(secondsOfSilence(12_000)).toBeGreaterThan(16);
  expect(secondsOfSilence(12_000)).toBeLessThanOrEqual(18);
  expect(secondsOfSilence(100_000)).toBeLessThanOrEqual(26);
});

test("[AE7] the first part of many frames is no answer", () => {
  const machine = createMachine();
  machine.connect("a", [entry(1, 10)]);
  machine.connect("b", [entry(1, 10)]);
  for (let second = 1; second <= 6; second++) {
    machine.tell({ type: "arriving", from: "a", bytes: 20_000 + second });
    machine.frame("a", { type: "digest", digest: digest([]) });
    machine.pass(1_000);
  }
  expect(only(machine.sent("b"), "want").length).toBe(1);
});

test("[AE10] what is coming of the own log on a slow line is waited for, for twenty seconds", () => {
  const machine = createMachine([own(2)]);
  machine.connect("a", [own(5)]);
  for (let second = 1; second <= 19; second++) {
    machine.pass(1_000);
    machine.tell({ type: "arriving", from: "a", bytes: second * 4_500 });
    expect(machine.take("offer")).toEqual([]);
  }
  machine.pass(2_000);
  expect(machine.take("offer")).toEqual([{ type: "offer", mode: "on" }]);
});

test("[AE8] a peer that does not serve what it claims is asked ever less, the others as before", () => {
  const machine = createMachine();
  machine.connect("liar", [entry(1, 1_000_000)]);
  let asked = 0;
  for (let second = 0; second < 300; second++) {
    for (const { want } of only(machine.sent("liar"), "want")) {
      asked += 1;
      machine.frame("liar", { type: "served", want, complete: true });
    }
    machine.pass(1_000);
  }
  expect(asked).toBeGreaterThanOrEqual(5);
  expect(asked).toBeLessThanOrEqual(14);
  machine.connect("honest", [entry(1, 10)]);
  expect(only(machine.sent("honest"), "want")[0]?.ranges).toEqual([range(1, 1, 10)]);
});

test("[AE9] wants are answered in order, one read in memory at a time, then `served`", () => {
  const machine = createMachine([entry(1, 100), entry(2, 100)]);
  machine.connect("a", [entry(1, 100), entry(2, 100)]);
  machine.sent("a");
  machine.frame("a", {
    type: "want",
    want: 1,
    bytesMax: 100_000,
    ranges: [range(1, 1, 10), range(2, 1, 500)],
  });
  machine.frame("a", { type: "want", want: 2, bytesMax: 100_000, ranges: [range(1, 50, 60)] });
  expect(machine.take("read")).toMatchObject([{ range: range(1, 1, 10) }]);
  machine.tell({ type: "read", peer: "a", runs: [runOf(1, 1, 5)], next: 6 });
  // The authors take turns, and nothing is read beyond what we claim to hold.
  expect(machine.take("read")).toMatchObject([{ range: range(2, 1, 100) }]);
  machine.tell({ type: "read", peer: "a", runs: [runOf(2, 1, 100)], next: null });
  expect(machine.take("read")).toMatchObject([{ range: range(1, 6, 10) }]);
  machine.tell({ type: "read", peer: "a", runs: [runOf(1, 6, 5)], next: null });
  expect(typesOf(machine.sent("a"))).toEqual(["run", "run", "run", "served"]);
  expect(machine.take("read")).toMatchObject([{ range: range(1, 50, 60) }]);
  machine.tell({ type: "read", peer: "a", runs: [], next: null });
  expect(machine.sent("a")).toEqual([{ type: "served", want: 2, complete: true }]);
});

test("[AE9] an answer ends where its bytes end; outlines go with runs, and what they count is all", () => {
  const sender = createMachine([entry(1, 3)]);
  sender.connect("a", [entry(1, 0)]);
  sender.sent("a");
  sender.frame("a", { type: "want", want: 1, bytesMax: 1_000, ranges: [range(1, 1, 3)] });
  const run = runOf(1, 1, 1, 10);
  const outline = outlineOf(1, 2, 3_000_000);
  sender.tell({ type: "read", peer: "a", runs: [run], outlines: [outline], next: 3 });
  const answer = sender.sent("a");
  expect(typesOf(answer)).toEqual(["run", "outline", "served"]);
  expect(answer.at(-1)).toMatchObject({ complete: false });

  const receiver = createMachine();
  receiver.connect("s", [entry(1, 3)]);
  for (const message of answer) receiver.frame("s", message);
  expect(receiver.take("ingest").map(({ item }) => item)).toEqual([
    { type: "run", bytes: run },
    { type: "outline", bytes: outline },
  ]);
});

test("[AE10] nothing own is offered before the first peer was looked at, and more of it fetched", () => {
  const machine = createMachine([own(2)]);
  machine.tell({ type: "peerUp", peer: "a" });
  machine.frame("a", helloOf("a", [own(5), entry(1, 9)]));
  expect(machine.take("offer")).toEqual([]);
  machine.frame("a", { type: "vector", part: "first", entries: [own(5), entry(1, 9)] });
  const [want] = only(machine.sent("a"), "want");
  expect(want?.ranges).toEqual([{ site: self, stream: "data", first: 3, last: 5 }]);
  expect(machine.take("offer")).toEqual([]);
  machine.tell({ type: "changed", entries: [own(5)], broadcasts: [] });
  expect(machine.take("offer")).toEqual([{ type: "offer", mode: "on" }]);
  machine.tell({ type: "peerDown", peer: "a" });
  expect(machine.take("offer")).toEqual([{ type: "offer", mode: "off" }]);
});

test("[AE10] a peer that claims more of our log and has nothing to give is not waited for", () => {
  const machine = createMachine();
  machine.connect("liar", [own(9)]);
  const [want] = only(machine.sent("liar"), "want");
  machine.frame("liar", { type: "served", want: want?.want ?? 0, complete: true });
  machine.pass(300);
  expect(machine.take("offer")).toEqual([{ type: "offer", mode: "on" }]);
});

test("[AE11] a fork is reported, and nobody asks or sends for ever because of it", () => {
  const machine = createMachine([entry(1, 3, "aa")]);
  machine.connect("a", [entry(1, 3, "bb")]);
  expect(machine.replication.status().forks).toEqual([{ site: siteOf(1), version: 3 }]);
  machine.sent("a");
  for (let round = 0; round < 20; round++) {
    machine.frame("a", { type: "digest", digest: digest([entry(1, 3, "bb")]) });
    machine.pass(5_000);
  }
  const wants = typesOf(machine.sent("a")).filter((type) => type === "want");
  expect(wants.length).toBeLessThanOrEqual(12);
});

test("[AE11] a longer branch of a fork is asked for ever less", () => {
  const machine = createMachine([entry(1, 3, "aa")]);
  machine.connect("a", [entry(1, 5, "bb")]);
  let asked = 0;
  for (let second = 0; second < 300; second++) {
    for (const { want } of only(machine.sent("a"), "want")) {
      asked += 1;
      machine.frame("a", { type: "run", want, run: runOf(1, 4, 2) });
      machine.frame("a", { type: "served", want, complete: true });
      machine.ingested({ verdict: "refused", code: "ERR_FORK" });
    }
    machine.pass(1_000);
  }
  expect(asked).toBeLessThanOrEqual(14);
  expect(machine.take("penalise")).toEqual([]);
});

test("[AE12] a vector that changed entry by entry has the digest of one made at once", () => {
  const random = createSeededRandom(5);
  const changing = createDigestedVector();
  for (let step = 0; step < 300; step++) {
    changing.digest();
    const site = random.below(600) * 2 ** 24;
    const next = { ...entry(1, random.below(3)), site: siteId(site.toString(16).padEnd(32, "0")) };
    changing.set(authorStream(next), next);
  }
  expect(changing.digest()).toBe(digestOf(changing.entries));
});

test("[AE12] the digest is of the set of entries: order and empty ones do not matter", () => {
  const one = { ...entry(3, 7), beyond: [{ first: 9, last: 11 }] };
  const a = digestOf(keyed([one, entry(1, 2)]));
  expect(digestOf(keyed([entry(1, 2), one, entry(4, 0)]))).toBe(a);
  expect(digestOf(keyed([entry(1, 2), { ...one, beyond: [] }]))).not.toBe(a);
  expect(digestOf(keyed([entry(1, 2, "ab"), one]))).not.toBe(a);
  expect(digestOf(keyed([entry(1, 2), { ...one, stream: "membership" }]))).not.toBe(a);
});

test("[AE13] neighbours are told of one another, and what they say is passed on", () => {
  const machine = createMachine();
  machine.connect("a", []);
  machine.connect("b", []);
  expect(only(machine.sent("a"), "neighbours").at(-1)?.peers).toEqual(["b"]);
  expect(only(machine.sent("b"), "neighbours").at(-1)?.peers).toEqual(["a"]);
  machine.frame("a", { type: "neighbours", peers: ["c", "d"] });
  expect(machine.take("suggest")).toEqual([{ type: "suggest", via: "a", peers: ["c", "d"] }]);
  const linkedTo = () => machine.replication.status().peers.map((peer) => peer.linkedTo);
  expect(linkedTo()).toEqual([["c", "d"], []]);
  // What is no peer id is not shown; nobody says twice whom it knows.
  machine.frame("a", { type: "neighbours", peers: ["d", "d", "<b>", "\u202e", ""] });
  expect(linkedTo()).toEqual([["d"], []]);
  machine.frame("a", { type: "neighbours", peers: [] });
  expect(linkedTo()).toEqual([[], []]);
  machine.tell({ type: "peerDown", peer: "b" });
  expect(only(machine.sent("a"), "neighbours").map(({ peers }) => peers)).toEqual([[]]);
});

test("[AE14] a slow peer is told once what changed many times", () => {
  const machine = createMachine();
  machine.connect("a", []);
  machine.sent("a");
  // The network takes nothing: no `sent` comes back.
  const stuck = machine.replication;
  let frames = 0;
  for (let i = 1; i <= 500; i++) {
    for (const effect of stuck.handle(
      { type: "changed", entries: [entry(1, i)], broadcasts: [] },
      10_000 + 100 * i,
    )) {
      if (effect.type === "send") frames += effect.frames.length;
    }
  }
  expect(frames).toBeLessThanOrEqual(2);
  const [send] = stuck.handle({ type: "sent", peer: "a" }, 70_000);
  expect(send?.type === "send" && send.frames[0]).toEqual(
    encodeMessage({ type: "vector", part: "more", entries: [entry(1, 500)] }),
  );
});

test("[AE8] what a peer holds beyond a gap it is not asked for over and over", () => {
  const machine = createMachine();
  const beyond = [{ first: 2, last: 8 }];
  machine.connect("a", [{ ...entry(1, 0), beyond }]);
  let asked = 0;
  for (let i = 0; i < 100; i++) {
    machine.pass(20);
    for (const { want } of only(machine.sent("a"), "want")) {
      asked += 1;
      machine.frame("a", { type: "run", want, run: runOf(1, 2, 7) });
      machine.ingested({ verdict: "later", code: "ERR_UNKNOWN_PREDECESSOR" });
      machine.frame("a", { type: "served", want, complete: true });
    }
  }
  // In two seconds: at once, after 0.5 s and after another 1 s.
  expect(asked).toBe(3);
});
