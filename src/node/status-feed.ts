/**
 * Tells listeners of a changing status at a bearable rate: at once, then at most every 100 ms, and
 * always of the last change.
 *
 * @module
 */

export interface StatusFeed<Status> {
  readonly now: () => Status;
  /** Calls back now and after changes. Returns the stop function. */
  readonly subscribe: (listener: (status: Status) => void) => () => void;
  readonly changed: () => void;
  readonly stop: () => void;
}

const INTERVAL_MS = 100;

/** The listener is the app's: what it throws is reported as uncaught, and spares who brought the change. */
function call<Status>(listener: (status: Status) => void, status: Status): void {
  try {
    listener(status);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

export function createStatusFeed<Status>(read: () => Status): StatusFeed<Status> {
  const listeners = new Set<(status: Status) => void>();
  let timer: ReturnType<typeof setTimeout> | null = null;
  let stale = false;

  function tell(): void {
    stale = false;
    timer = setTimeout(() => {
      timer = null;
      if (stale) tell();
    }, INTERVAL_MS);
    const status = read();
    for (const listener of listeners) call(listener, status);
  }

  return {
    now: read,
    subscribe: (listener) => {
      listeners.add(listener);
      listener(read());
      return () => listeners.delete(listener);
    },
    changed: () => {
      if (listeners.size === 0) return;
      stale = true;
      if (timer === null) tell();
    },
    stop: () => {
      if (timer !== null) clearTimeout(timer);
      timer = null;
      listeners.clear();
    },
  };
}
