/** A peer that keeps to every single rule and still wants to stall, starve or fill us. */
import { expect, test } from "vitest";
import { PART_BYTES } from "../../src/protocol/limits.ts";
import { encodeMessage, type Message } from "../../src/protocol/messages.ts";
import { WANTS_QUEUED_MAX } from "../../src/gossip/serving.ts";
import { createReplication } from "../../src/gossip/replication.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import {
  createMachine,
  entry,
  helloOf,
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

test("[AE7] parts that continue nothing are no progress", () => {
  const machine = createMachine();
  machine.connect("a", [entry(1, 9)]);
  machine.connect("b", [entry(1, 9)]);
  const bytes = new Uint8Array(PART_BYTES);
  const part = { totalBytes: 40 * PART_BYTES, offset: PART_BYTES, bytes };
  const asked = askedOfB(
    machine,
    (want) => machine.frame("a", { type: "part", want, ...part }),
    10,
  );
  expect(asked).toBeGreaterThan(0);
});

test("[AE7] a run begun again and again is refused, and no progress", () => {
  const machine = createMachine();
  machine.connect("a", [entry(1, 9)]);
  machine.connect("b", [entry(1, 9)]);
  const run = runOf(1, 1, 1, 40 * PART_BYTES);
  const part = { totalBytes: run.length, offset: 0, bytes: run.subarray(0, PART_BYTES) };
  const asked = askedOfB(
    machine,
    (want) => machine.frame("a", { type: "part", want, ...part }),
    12,
  );
  expect(asked).toBeGreaterThan(0);
  expect(machine.replication.status().refusals.get("ERR_NOT_CANONICAL")).toBeGreaterThan(0);
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
