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

export interface World {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly at: (delayMs: number, run: () => void) => () => void;
  /** The world stands still until this has settled. */
  readonly busy: <T>(work: Promise<T>) => Promise<T>;
  readonly rest: () => Promise<void>;
  /** Lets time pass until the condition holds or the time is up. @returns whether it holds. */
  readonly runUntil: (endMs: number, isDone: () => boolean) => Promise<boolean>;
  /** Called after every event, at rest. */
  readonly onStep: (check: () => void) => void;
  readonly steps: () => number;
}

export function createWorld(): World {
  const heap: Due[] = [];
  const checks: (() => void)[] = [];
  let nowMs = 0;
  let order = 0;
  let steps = 0;
  let working = 0;

  function at(delayMs: number, run: () => void): () => void {
    const due = { atMs: nowMs + Math.max(0, delayMs), order: order++, run, cancelled: false };
    push(heap, due);
    return () => {
      due.cancelled = true;
    };
  }

  async function rest(): Promise<void> {
    for (;;) {
      await new Promise((resolve) => void setImmediate(resolve));
      if (working === 0) return;
    }
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
      for (const check of checks) check();
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
    onStep: (check) => checks.push(check),
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
