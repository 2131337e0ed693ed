/**
 * Web Locks as tabs use them: who leads, who is still alive. The browser lets a lock go however its
 * holder ends: closed, crashed or killed.
 *
 * @module
 */

export interface HeldLock {
  /** Idempotent. */
  readonly release: () => void;
  /** Resolves when it was stolen; never after `release`. */
  readonly lost: Promise<void>;
}

interface LocksScope {
  readonly navigator?: { readonly locks?: LockManager };
}

/** Null on pages that are no secure context, whatever the type says. */
export function webLocks(scope: LocksScope = globalThis): LockManager | null {
  return scope.navigator?.locks ?? null;
}

/** What a tab is held under while its mesh is open. */
export const tabLockName = (tab: string): string => `rowmesh tab ${tab}`;

/** What a worker holds from before its database opens until it ends. */
export const termLockName = (term: string): string => `rowmesh term ${term}`;

/**
 * - "queued": waits for its turn, at most until the signal;
 * - "now": null while somebody has it;
 * - "stolen": at once, before those who wait.
 */
export function holdLock(
  locks: LockManager,
  name: string,
  how: "queued" | "now" | "stolen" = "queued",
  signal?: AbortSignal,
): Promise<HeldLock | null> {
  const released = new AbortController();
  return new Promise((resolve, reject) => {
    let lose: (() => void) | null = null;
    const options: LockOptions = {
      ...(how === "now" ? { ifAvailable: true } : {}),
      ...(how === "stolen" ? { steal: true } : {}),
      ...(signal === undefined || how !== "queued" ? {} : { signal }),
    };
    locks
      .request(name, options, async (lock) => {
        if (lock === null) return resolve(null);
        const lost = new Promise<void>((stolen) => {
          lose = stolen;
        });
        resolve({ release: () => released.abort(), lost });
        await aborted(released.signal);
      })
      // Rejected although it was granted: stolen.
      .catch((error: unknown) => (lose === null ? reject(error) : lose()));
  });
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });

/** Resolves when nobody holds it alone, at the latest with the signal. */
export async function whenFree(
  locks: LockManager,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  await locks
    .request(name, { mode: "shared", signal }, async () => undefined)
    .catch(() => undefined);
}
