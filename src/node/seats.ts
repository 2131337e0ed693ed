/**
 * What a tab's calls go through now: its own worker while it leads, another tab's while it follows.
 * A seat ends with the worker behind it; then calls wait for the next one.
 *
 * @module
 */

import { isMeshError, MeshError } from "../protocol/errors.ts";
import type { Mesh } from "./api.ts";
import { WorkerEndedError } from "./pending-calls.ts";
import type { Replica } from "./replica.ts";

/** The part of a mesh that lives in the leader's window. */
export type SeatMesh = Pick<Mesh, "status" | "onStatus" | "invite" | "join" | "online" | "pair">;

export interface Seat {
  readonly role: "leader" | "follower";
  readonly replica: Replica;
  readonly mesh: SeatMesh;
  /** False while the tab behind it leaves questions unanswered for long. */
  readonly answers: () => boolean;
  /** The worker behind it is no more, and wrote its last. */
  readonly ended: Promise<void>;
  /** Idempotent. A leader's: ends the worker and the network. */
  readonly close: () => Promise<void>;
}

export interface Seats {
  readonly now: () => Seat | null;
  /** The next one, or the one there is. @throws what `fail` was told, ERR_CLOSED, ERR_ABORTED */
  readonly next: (signal?: AbortSignal) => Promise<Seat>;
  /** Starts on the seat there is and on each to come. Returns what stops it all. */
  readonly each: (start: (seat: Seat) => () => void) => () => void;
  /** One call, on as many seats as it takes: for what may be done twice. */
  readonly reach: <T>(run: (seat: Seat) => Promise<T>, signal?: AbortSignal) => Promise<T>;
  /**
   * Whether the call failed with its seat alone: then it waits until that one has ended for sure.
   * Whether the call was done is not known, but with ERR_CLOSED: then it was not.
   */
  readonly isOver: (seat: Seat, error: unknown) => Promise<boolean>;
  readonly take: (seat: Seat) => void;
  readonly leave: (seat: Seat) => void;
  /** Calls are refused with this until there is a seat. */
  readonly fail: (error: unknown) => void;
  /** For good. */
  readonly close: () => void;
}

interface Waiter {
  readonly resolve: (seat: Seat) => void;
  readonly reject: (error: unknown) => void;
}

interface SeatListener {
  readonly start: (seat: Seat) => () => void;
  stop: () => void;
}

const IDLE = (): void => undefined;

export function createSeats(): Seats {
  let current: Seat | null = null;
  let failure: { readonly error: unknown } | null = null;
  let closed = false;
  const waiters = new Set<Waiter>();
  const listeners = new Set<SeatListener>();

  const rejectAll = (error: unknown): void => {
    for (const { reject } of waiters) reject(error);
    waiters.clear();
  };
  const next = (signal?: AbortSignal): Promise<Seat> =>
    new Promise((resolve, reject) => {
      if (closed) return reject(closedError());
      if (current !== null) return resolve(current);
      if (failure !== null) return reject(failure.error);
      const aborted = (): void => {
        waiters.delete(waiter);
        reject(new MeshError("ERR_ABORTED", "while waiting for the tab that leads"));
      };
      const settled = <T>(settle: (value: T) => void) => {
        return (value: T): void => {
          signal?.removeEventListener("abort", aborted);
          settle(value);
        };
      };
      const waiter = { resolve: settled(resolve), reject: settled(reject) };
      if (signal?.aborted === true) return aborted();
      signal?.addEventListener("abort", aborted, { once: true });
      waiters.add(waiter);
    });
  const leave = (seat: Seat): void => {
    if (current !== seat) return;
    current = null;
    for (const listener of listeners) {
      listener.stop();
      listener.stop = IDLE;
    }
  };
  const isOver = async (seat: Seat, error: unknown): Promise<boolean> => {
    if (closed) return false;
    if (!(error instanceof WorkerEndedError) && !isMeshError(error, "ERR_CLOSED")) return false;
    await seat.ended;
    leave(seat);
    return true;
  };

  return {
    now: () => current,
    next,
    each: (start) => {
      const listener: SeatListener = { start, stop: current === null ? IDLE : start(current) };
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
        listener.stop();
        listener.stop = IDLE;
      };
    },
    reach: async (run, signal) => {
      for (;;) {
        // A seat that is there is called at once: the callback of a transaction is told by that.
        const seat = current ?? (await next(signal));
        try {
          return await run(seat);
        } catch (error) {
          if (!(await isOver(seat, error))) throw lastError(error);
        }
      }
    },
    isOver,
    take: (seat) => {
      if (current !== null) leave(current);
      current = seat;
      failure = null;
      for (const { resolve } of waiters) resolve(seat);
      waiters.clear();
      for (const listener of listeners) listener.stop = startOn(listener, seat);
    },
    leave,
    fail: (error) => {
      failure = { error };
      rejectAll(error);
    },
    close: () => {
      closed = true;
      if (current !== null) leave(current);
      rejectAll(closedError());
    },
  };
}

/** What the app's own code throws there is reported as uncaught, and ends no seat. */
function startOn({ start }: SeatListener, seat: Seat): () => void {
  try {
    return start(seat);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
    return IDLE;
  }
}

const closedError = (): MeshError => new MeshError("ERR_CLOSED", "the mesh is closed");

/** Where `isOver` says no, the worker ended because the mesh was closed: no news to the app. */
export const lastError = (error: unknown): unknown =>
  error instanceof WorkerEndedError ? closedError() : error;
