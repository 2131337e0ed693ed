/**
 * Virtual time: what is due happens in order, the clock jumps from one event to the next, and no
 * event begins before everything the last one started has come to rest. The same calls in the same
 * order give the same history.
 *
 * @module
 */

import type { Clock, Timers } from "../seams.ts";

interface Due {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
}

/** Turns of the event loop given to one event at once, and those, of 1 ms, after which it hangs. */
const EAGER_TURNS = 2_000;
const TURNS_MAX = 32_000;

export interface World {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly at: (delayMs: number, run: () => void) => () => void;
  /** The world stands still until this has settled. */
  readonly busy: <T>(work: Promise<T>) => Promise<T>;
  readonly rest: () => Promise<void>;
  /** Lets time pass until the condition holds or the time is up. @returns whether it holds. */
  readonly runUntil: (endMs: number, isDone: () => boolean) => Promise<boolean>;
  /** A promise was broken: {@link World.runUntil} throws the first one. */
  readonly fail: (fault: unknown) => void;
  readonly steps: () => number;
}

export function createWorld(): World {
  const heap: Due[] = [];
  let nowMs = 0;
  let order = 0;
  let steps = 0;
  let working = 0;
  const faults: unknown[] = [];

  function at(delayMs: number, run: () => void): () => void {
    const due = { atMs: nowMs + Math.max(0, delayMs), order: order++, run, cancelled: false };
    push(heap, due);
    return () => {
      due.cancelled = true;
    };
  }

  async function rest(): Promise<void> {
    for (let turn = 0; turn < TURNS_MAX; turn++) {
      // Some work is the machine's own, compiling WebAssembly for one: let it have the processor.
      if (turn < EAGER_TURNS) await new Promise((resolve) => void setImmediate(resolve));
      else await new Promise((resolve) => void setTimeout(resolve, 1));
      if (working === 0) return;
    }
    throw new Error(`a call was never answered: ${working} under way`);
  }

  async function busy<T>(work: Promise<T>): Promise<T> {
    working += 1;
    try {
      return await work;
    } finally {
      working -= 1;
    }
  }

  async function runUntil(endMs: number, isDone: () => boolean): Promise<boolean> {
    await rest();
    if (faults.length > 0) throw faults[0];
    while (!isDone()) {
      const due = heap[0];
      if (due === undefined || due.atMs > endMs) {
        nowMs = Math.max(nowMs, endMs);
        return false;
      }
      pop(heap);
      if (due.cancelled) continue;
      nowMs = due.atMs;
      steps += 1;
      due.run();
      await rest();
      if (faults.length > 0) throw faults[0];
    }
    return true;
  }

  return {
    clock: { nowMs: () => nowMs, wallClockMs: () => 1_700_000_000_000 + Math.floor(nowMs) },
    timers: { after: at },
    at,
    busy,
    rest,
    runUntil,
    fail: (fault) => faults.push(fault),
    steps: () => steps,
  };
}

const isBefore = (a: Due, b: Due) => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

function push(heap: Due[], due: Due): void {
  let i = heap.length;
  heap.push(due);
  while (i > 0) {
    const parent = (i - 1) >> 1;
    if (!isBefore(due, heap[parent] as Due)) break;
    heap[i] = heap[parent] as Due;
    i = parent;
  }
  heap[i] = due;
}

function pop(heap: Due[]): void {
  const last = heap.pop() as Due;
  if (heap.length === 0) return;
  let i = 0;
  for (;;) {
    let child = 2 * i + 1;
    if (child >= heap.length) break;
    const right = heap[child + 1];
    if (right !== undefined && isBefore(right, heap[child] as Due)) child += 1;
    if (!isBefore(heap[child] as Due, last)) break;
    heap[i] = heap[child] as Due;
    i = child;
  }
  heap[i] = last;
}
