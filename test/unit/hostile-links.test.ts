/** A peer that keeps to every single rule and still wants to stall, starve or fill us. */
import { expect, test } from "vitest";
import { CHUNK_BYTES } from "../../src/protocol/limits.ts";
import { encodeMessage, type Message } from "../../src/protocol/messages.ts";
import { WANTS_QUEUED_MAX } from "../../src/gossip/serving.ts";
import { createReplication } from "../../src/gossip/replication.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import {
  createMachine,
  entry,
  helloOf,
  incomingOf,
  type Machine,
  mesh,
  only,
  runOf,
  self,
  siteOf,
} from "./replication-machine.ts";

const OWN = 0xffff;

test("[AE9] a peer that asks for nothing and reads nothing has few answers waiting", () => {
  const replication = createReplication({
    mesh,
    site: self,
    role: "device",
    name: "self",
    vector: [entry(1, 9)],
    random: createSeededRandom(1),
    roundMs: 5_000,
  });
  const say = (message: Message) =>
    replication.handle({ type: "frame", from: "a", bytes: encodeMessage(message) }, 1_000);
  replication.handle({ type: "peerUp", peer: "a" }, 1_000);
  say(helloOf("a", []));
  // The hello is never taken by the network: everything else waits behind it.
  for (let want = 1; want <= 1_000; want++) say({ type: "want", want, bytesMax: 0, ranges: [] });
  expect(replication.status().refusals.get("ERR_LIMIT")).toBe(1_000 - WANTS_QUEUED_MAX);
  const frames = replication
    .handle({ type: "sent", peer: "a" }, 1_000)
    .flatMap((effect) => (effect.type === "send" ? effect.frames : []));
  expect(frames.length).toBeLessThanOrEqual(WANTS_QUEUED_MAX + 4);
});

/** What "b" is asked for while "a", asked first, says `chatter` every second. */
function askedOfB(machine: Machine, chatter: (want: number) => void, seconds: number): number {
  const want = only(machine.sent("a"), "want")[0]?.want ?? 0;
  expect(want).toBe(1);
  let asked = 0;
  for (let i = 0; i < seconds; i++) {
    chatter(want);
    machine.pass(1_000);
    asked += only(machine.sent("b"), "want").length;
  }
  return asked;
}

test("[AE7] chunks that nobody asked for are no progress", () => {
  const machine = createMachine();
  machine.connect("a", [entry(1, 9)]);
  machine.connect("b", [entry(1, 9)]);
  const bytes = new Uint8Array(CHUNK_BYTES);
  const asked = askedOfB(
    machine,
    (want) => machine.frame("a", { type: "chunk", want, index: 0, bytes }),
    10,
  );
  expect(asked).toBeGreaterThan(0);
  expect(machine.replication.status().refusals.get("ERR_UNASKED")).toBe(10);
});

test.each([1, 2, 3, 20])("[AE10] %i liars about our own log delay our offer, no more", (liars) => {
  const machine = createMachine();
  for (let i = 0; i < liars; i++) machine.connect(String.fromCodePoint(97 + i), [entry(OWN, 50)]);
  machine.connect("honest", [entry(1, 3)]);
  // Each is asked once, for as long as a lease lasts.
  machine.pass(5_000 * liars + 5_000);
  expect(machine.take("offer").map(({ mode }) => mode)).toEqual(["on"]);
  machine.pass(1_000);
  const wanted = only(machine.sent("honest"), "want").flatMap(({ ranges }) => ranges);
  expect(wanted.some(({ site }) => site === siteOf(1))).toBe(true);
});

test("[AE9] a peer that asks again for what it was served gets one read a second, others go on", () => {
  const machine = createMachine([entry(1, 1_000)]);
  machine.connect("loop", [entry(1, 0)]);
  machine.connect("honest", [entry(1, 0)]);
  const all = { site: siteOf(1), stream: "data" as const, first: 1, last: 1_000 };
  const run = runOf(1, 1, 1, 60_000);
  let reads = 0;
  /** Asks for all of it, is read a run of 60 kB for it, and asks again. */
  const ask = (peer: string, want: number): number => {
    machine.frame(peer, { type: "want", want, bytesMax: 60_000, ranges: [all] });
    const taken = machine.take("read").filter((read) => read.peer === peer);
    for (const _ of taken) machine.tell({ type: "read", peer, runs: [run], next: 2 });
    machine.sent(peer);
    return taken.length;
  };
  for (let want = 1; want <= 1_000; want++) {
    reads += ask("loop", want);
    machine.pass(20);
  }
  // The first time, 8 MiB and twice the first time, then one a second for 20 s.
  expect(reads).toBeGreaterThan(140);
  expect(reads).toBeLessThanOrEqual(3 + (8 * 1024 * 1024) / run.length + 21);
  expect(ask("honest", 1)).toBe(1);
});

test("[AE9] so does one that asks again for chunks, and not one that takes them in any order", () => {
  const machine = createMachine([entry(1, 1)]);
  machine.connect("loop", [entry(1, 0)]);
  machine.connect("honest", [entry(1, 0)]);
  const { site, stream, version, headerHash } = incomingOf(1, 1, 1_024 * CHUNK_BYTES);
  const bytes = new Uint8Array(CHUNK_BYTES);
  /** Two chunks of it. */
  const ask = (peer: string, want: number, first: number): number => {
    const chunks = [{ first, last: first + 1 }];
    const of = { site, stream, version, headerHash };
    machine.frame(peer, { type: "wantChunks", want, ...of, chunks });
    const taken = machine.take("readChunks").filter((read) => read.peer === peer);
    for (const { request } of taken) {
      const read = request.indexes.map((index) => ({ index, bytes }));
      machine.tell({ type: "chunksRead", peer, chunks: read });
    }
    machine.sent(peer);
    return taken.length;
  };
  let reads = 0;
  for (let want = 1; want <= 1_000; want++) {
    reads += ask("loop", want, 0);
    machine.pass(20);
  }
  expect(reads).toBeGreaterThan(64);
  expect(reads).toBeLessThanOrEqual(3 + (8 * 1024 * 1024) / (2 * CHUNK_BYTES) + 21);
  // From the end to the beginning, all of it.
  for (let want = 1; want <= 512; want++) expect(ask("honest", want, 1_024 - 2 * want)).toBe(1);
});

test("[AE10] twenty liars together cost ten seconds, and none when they come back", () => {
  const machine = createMachine();
  const names = Array.from({ length: 20 }, (_, i) => `liar${i}`);
  for (const name of names) machine.connect(name, [entry(OWN, 50)]);
  for (const name of names) expect(only(machine.sent(name), "want").length).toBe(1);
  machine.pass(10_500);
  expect(machine.take("offer").map(({ mode }) => mode)).toEqual(["on"]);
  for (const name of names) machine.tell({ type: "peerDown", peer: name });
  expect(machine.take("offer").map(({ mode }) => mode)).toEqual(["off"]);
  for (const name of names) machine.connect(name, [entry(OWN, 60)]);
  machine.pass(300);
  expect(machine.take("offer").map(({ mode }) => mode)).toEqual(["on"]);
});
