/** Who may bring an outline when places are few, by count and by bytes. */
import { expect, test } from "vitest";
import { createDigestedVector } from "../../src/gossip/digest.ts";
import { createIncomingView } from "../../src/gossip/incoming.ts";
import { createPeerView } from "../../src/gossip/peer-view.ts";
import { createPlaceQueue } from "../../src/gossip/place-queue.ts";
import { CHUNK_BYTES, INCOMING_MAX, PAYLOAD_BYTES_MAX } from "../../src/protocol/limits.ts";
import { authorStream } from "../../src/protocol/version-vector.ts";
import {
  createMachine,
  entry,
  incomingOf,
  type Machine,
  only,
  outlineOf,
} from "./replication-machine.ts";

const LARGE_BYTES = 3 * CHUNK_BYTES;

const entries = (from: number, count: number) =>
  Array.from({ length: count }, (_, i) => entry(from + i, 1));

/** The peer answers what it is asked with outlines, and the store keeps them. @returns the sites kept */
function bring(machine: Machine, peer: string): number {
  let kept = 0;
  for (const { want, ranges } of only(machine.sent(peer), "want")) {
    for (const { site } of ranges) {
      const number = Number.parseInt(site, 16);
      machine.take("ingest");
      machine.frame(peer, { type: "outline", want, outline: outlineOf(number, 1, LARGE_BYTES) });
      if (machine.take("ingest").length === 0) continue;
      kept++;
      keep(machine, number, true);
      machine.ingested({ verdict: "incomplete" });
    }
    machine.frame(peer, { type: "served", want, complete: true });
  }
  return kept;
}

/** The store has got this outline, or all of it. */
const keep = (machine: Machine, site: number, isMissing: boolean): void =>
  machine.tell({
    type: "changed",
    entries: isMissing ? [] : [entry(site, 1)],
    broadcasts: [],
    incoming: [incomingOf(site, 1, LARGE_BYTES, 0, isMissing ? 2 : -1)],
  });

test("[AE21] one peer takes half of the places, the next half of the rest", () => {
  const machine = createMachine();
  machine.connect("a", entries(1, 200));
  expect(bring(machine, "a")).toBe(INCOMING_MAX / 2);
  machine.connect("b", entries(1_000, 200));
  expect(bring(machine, "b")).toBe(INCOMING_MAX / 4);
  machine.connect("c", entries(2_000, 1));
  expect(bring(machine, "c")).toBe(1);
  expect(machine.replication.status().refusals).toEqual(new Map());
});

/** A peer that has brought 32 and claims 64 authors, of which the others wait. */
function createQueue() {
  const ours = createDigestedVector();
  const view = createPeerView(ours);
  view.claim({ type: "vector", part: "first", entries: entries(1, 64) });
  const incoming = createIncomingView();
  const queue = createPlaceQueue({ peer: "a", view, incoming });
  for (let site = 1; site <= 64; site++) {
    if (!queue.mayBring(LARGE_BYTES, 0)) {
      queue.add(keyOf(site), LARGE_BYTES, 0);
      continue;
    }
    const place = incomingOf(site, 1, LARGE_BYTES);
    const brought = incoming.bring("a", { ...place, first: 1, last: 1 }, LARGE_BYTES);
    incoming.update([place]);
    brought(true);
  }
  return {
    queue,
    finish: (site: number) => incoming.update([incomingOf(site, 1, LARGE_BYTES, 0, -1)]),
    /** Another peer has brought it. */
    gain: (site: number) => {
      ours.set(keyOf(site), entry(site, 1));
      view.oursChanged([keyOf(site)]);
    },
    awake: (nowMs: number) => [...queue.awake(nowMs)].map((key) => Number.parseInt(key, 16)),
  };
}

const keyOf = (site: number) => authorStream(entry(site, 1));

test("[AE21] who found no place is asked again when there is one, in order, and none beyond", () => {
  const { queue, finish, awake } = createQueue();
  expect([32, 33, 64].map((site) => queue.has(keyOf(site)))).toEqual([false, true, true]);
  expect(awake(30_000)).toEqual([]);
  for (const site of [7, 5, 9]) finish(site);
  expect(awake(30_000)).toEqual([33, 34, 35]);
  // Asked and not there yet: nobody else has its turn meanwhile.
  expect(awake(31_000)).toEqual([33, 34, 35]);
  queue.delete(keyOf(33));
  finish(8);
  queue.add(keyOf(33), LARGE_BYTES, 31_000);
  expect(awake(31_000)).toEqual([34, 35, 36, 37]);
});

test("[AE21] what waits and came by another peer takes nobody's turn", () => {
  const { finish, gain, awake } = createQueue();
  for (const site of [33, 34, 36]) gain(site);
  for (const site of [1, 2]) finish(site);
  expect(awake(1_000)).toEqual([35, 37]);
  for (const site of [35, 37]) gain(site);
  expect(awake(1_000)).toEqual([38, 39]);
});

test("[AE21] once a minute the store may say whether something has stalled", () => {
  const { queue, awake } = createQueue();
  const tried: number[] = [];
  for (let nowMs = 0; nowMs < 200_000; nowMs += 1_000) {
    for (const site of awake(nowMs)) {
      queue.delete(keyOf(site));
      if (queue.mayBring(LARGE_BYTES, nowMs)) tried.push(site);
      else queue.add(keyOf(site), LARGE_BYTES, nowMs);
    }
  }
  expect(tried).toEqual([33, 34, 35]);
});

test("[AE21] the largest take as many as half of the bytes, and there is room for one of another", () => {
  const view = createIncomingView();
  const largest = { places: 1, bytes: PAYLOAD_BYTES_MAX };
  const bringLargest = (peer: string, site: number): boolean => {
    if (!view.mayBring(peer, largest)) return false;
    const place = incomingOf(site, 1, PAYLOAD_BYTES_MAX);
    const brought = view.bring(peer, { ...place, first: 1, last: 1 }, PAYLOAD_BYTES_MAX);
    expect(view.mayBring(peer, { places: INCOMING_MAX / 2, bytes: 0 })).toBe(false);
    view.update([place]);
    brought(true);
    return true;
  };
  expect([1, 2, 3].map((site) => bringLargest("a", site))).toEqual([true, true, false]);
  expect([4, 5].map((site) => bringLargest("b", site))).toEqual([true, false]);
  view.update([incomingOf(1, 1, PAYLOAD_BYTES_MAX, 0, -1)]);
  expect(view.freed()).toBe(1);
  // What the store did not keep leaves its place.
  const refused = view.bring("a", { ...incomingOf(9, 1, 0), first: 1, last: 1 }, 1);
  refused(false);
  expect(view.freed()).toBe(2);
});
