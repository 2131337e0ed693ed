/**
 * Calls to a worker that may end before it answers: then nobody would ever settle them.
 *
 * @module
 */

/** Where the answer would have come from ended; whether the call was done is not known. */
export class WorkerEndedError extends Error {
  override readonly name = "WorkerEndedError";
}

/**
 * "inner": of what is under way already, as the statements of a transaction and the next event are:
 * refused only at the end, and never waited for.
 */
export type CallPart = "whole" | "inner";

export interface PendingCalls {
  /** What the call gives; or, when that is sooner, what `end` was told. */
  readonly settle: <T>(call: () => PromiseLike<T>, part?: CallPart) => Promise<T>;
  /** From now on calls are refused with this; those under way may still be answered. */
  readonly refuse: (error: Error) => void;
  /** Resolves when no whole call is under way; with the signal at the latest. */
  readonly idle: (limit: AbortSignal) => Promise<void>;
  /** Settles those under way too. Only the first refusal and the first end count. */
  readonly end: (error: Error) => void;
}

export function createPendingCalls(): PendingCalls {
  const pending = new Set<(error: Error) => void>();
  const wholes = new Set<(error: Error) => void>();
  let whenIdle: (() => void) | null = null;
  let refusal: Error | null = null;
  let ended: Error | null = null;
  return {
    settle: (call, part = "whole") =>
      new Promise((resolve, reject) => {
        const why = part === "whole" ? refusal : ended;
        if (why !== null) return reject(why);
        pending.add(reject);
        if (part === "whole") wholes.add(reject);
        const done = (): void => {
          pending.delete(reject);
          if (wholes.delete(reject) && wholes.size === 0) whenIdle?.();
        };
        call().then(
          (value) => {
            done();
            resolve(value);
          },
          (error: unknown) => {
            done();
            reject(error);
          },
        );
      }),
    idle: (limit) =>
      new Promise((resolve) => {
        if (wholes.size === 0 || limit.aborted) return resolve();
        whenIdle = resolve;
        limit.addEventListener("abort", () => resolve(), { once: true });
      }),
    refuse: (error) => {
      refusal ??= error;
    },
    end: (error) => {
      refusal ??= error;
      ended ??= error;
      for (const reject of pending) reject(error);
      pending.clear();
      wholes.clear();
      whenIdle?.();
    },
  };
}

/** The same calls, each settled one way or the other. */
export const settling = <Remote extends object>(
  remote: Remote,
  calls: PendingCalls,
  part: CallPart = "whole",
): Remote =>
  new Proxy(remote, {
    get:
      (target, name) =>
      (...args: readonly unknown[]): Promise<unknown> =>
        calls.settle(
          () =>
            (Reflect.get(target, name) as (...all: readonly unknown[]) => Promise<unknown>)(
              ...args,
            ),
          part,
        ),
  });
