/** What the machine tells of its peers: by author, and what of our own log they hold. */
import { expect, test } from "vitest";
import type { VectorEntry } from "../../src/protocol/version-vector.ts";
import type { Message } from "../../src/protocol/messages.ts";
import {
  createMachine,
  digest,
  entry,
  helloOf,
  type Machine,
  self,
  siteOf,
} from "./replication-machine.ts";

const OWN = 0xffff;
const own = (head: number, hash?: string): VectorEntry => entry(OWN, head, hash);
const wrote = (machine: Machine, head: number): void =>
  machine.tell({ type: "changed", entries: [own(head)], broadcasts: [] });
const claim = (machine: Machine, peer: string, ...entries: readonly VectorEntry[]): void =>
  machine.frame(peer, { type: "vector", part: "more", entries });
const unheld = (machine: Machine): number => machine.replication.status().unheld;

test("a peer's difference is told by author, those with most first, eight at most", () => {
  const theirs = Array.from({ length: 20 }, (_, i) => entry(i + 1, i + 1));
  const machine = createMachine([own(50)]);
  machine.connect("a", theirs);
  const [peer] = machine.replication.status().peers;
  expect(peer).toMatchObject({ weLack: 210, itLacks: 50 });
  expect(peer?.lacks).toEqual([
    { site: self, weLack: 0, itLacks: 50 },
    ...[20, 19, 18, 17, 16, 15, 14].map((count) => ({
      site: siteOf(count),
      weLack: count,
      itLacks: 0,
    })),
  ]);
  claim(machine, "a", own(49));
  const counts = machine.replication.status().peers[0]?.lacks.map(({ weLack }) => weLack);
  expect(counts).toEqual([20, 19, 18, 17, 16, 15, 14, 13]);
});

test("a hub is who said so in its hello, and is still here", () => {
  const machine = createMachine();
  const { isHub } = machine.replication;
  machine.tell({ type: "peerUp", peer: "a" });
  expect(isHub("a")).toBe(false);
  machine.frame("a", { ...helloOf("a", []), role: "hub" } as Message);
  expect(isHub("a")).toBe(true);
  machine.connect("b", []);
  expect(isHub("b")).toBe(false);
  machine.tell({ type: "peerDown", peer: "a" });
  expect(isHub("a")).toBe(false);
});

test("of an author with branches all chains count", () => {
  const branch = { ...entry(1, 9, "bb"), floor: 4, branch: "bb".repeat(16) };
  const machine = createMachine();
  machine.connect("a", [entry(1, 6), branch]);
  expect(machine.replication.status().peers[0]?.lacks).toEqual([
    { site: siteOf(1), weLack: 11, itLacks: 0 },
  ]);
});

test("own versions count as unsent until one peer claims them, also when it has left", () => {
  const machine = createMachine([own(5)]);
  expect(unheld(machine)).toBe(5);
  machine.connect("a", []);
  expect(unheld(machine)).toBe(5);
  claim(machine, "a", own(3));
  expect(unheld(machine)).toBe(2);
  machine.connect("b", [own(4)]);
  // Versions build on one another: who has the most has all that others have.
  expect(unheld(machine)).toBe(1);
  wrote(machine, 6);
  expect(unheld(machine)).toBe(2);
  claim(machine, "b", own(6));
  machine.tell({ type: "peerDown", peer: "b" });
  machine.tell({ type: "peerDown", peer: "a" });
  expect(unheld(machine)).toBe(0);
  wrote(machine, 9);
  expect(unheld(machine)).toBe(3);
});

test("a peer that claims another content under our version holds nothing of ours", () => {
  const machine = createMachine([own(5)]);
  machine.connect("a", [own(5, "bb")]);
  expect(unheld(machine)).toBe(5);
  // An equal digest says that it holds exactly what we hold.
  machine.connect("b", [own(5)]);
  expect(unheld(machine)).toBe(0);
});

test("a peer is waited for from the question on, until it answers", () => {
  const machine = createMachine([own(5)]);
  const theirs = [own(4)];
  machine.connect("a", theirs);
  const awaited = () => machine.replication.status().peers[0]?.awaitedMs;
  expect(awaited()).toBeNull();
  // One round: it is asked once, however long it says nothing.
  machine.pass(7_500);
  const askedMs = awaited();
  expect(askedMs).toBeGreaterThan(1_000);
  machine.pass(60_000);
  expect(awaited()).toBe(askedMs);
  machine.frame("a", { type: "digest", digest: digest(theirs) });
  expect(awaited()).toBeNull();
});

test("a peer that takes nothing is waited for too", () => {
  const machine = createMachine([own(5)]);
  machine.replication.handle({ type: "peerUp", peer: "a" }, 1_000);
  // The hello is on its way, and no `sent` comes back.
  expect(machine.replication.status().peers[0]?.awaitedMs).toBe(1_000);
});

test("of more claims than a status may look at it looks at the first ones", () => {
  const machine = createMachine();
  // The last author has most.
  const theirs = Array.from({ length: 4_000 }, (_, i) => entry(i + 1, i === 3_999 ? 50 : 2));
  const most = () => machine.replication.status().peers.map(({ lacks }) => lacks[0]?.weLack);
  for (const peer of ["a", "b"]) claimAll(machine, peer, theirs);
  expect(most()).toEqual([50, 50]);
  claimAll(machine, "c", theirs);
  expect(most()).toEqual([2, 2, 2]);
  expect(machine.replication.status().peers[2]).toMatchObject({ weLack: 8_048 });
});

/** A vector of more than one frame. */
function claimAll(machine: Machine, peer: string, entries: readonly VectorEntry[]): void {
  machine.connect(peer, entries.slice(0, 2_000));
  machine.frame(peer, { type: "vector", part: "more", entries: entries.slice(2_000) });
}
