/** The window: hands each call of the test to a fresh worker, or to one that stays. */
import type { Call } from "./worker.ts";

const startWorker = (): Worker =>
  new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });

let held: Worker | null = null;

const ask = async (worker: Worker, call: Call): Promise<unknown> =>
  new Promise((resolve, reject) => {
    worker.addEventListener("message", ({ data }) => resolve(data), { once: true });
    worker.addEventListener("error", (event) => reject(new Error(event.message)), { once: true });
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a window's method, not a worker's
    worker.postMessage(call);
  });

Object.assign(globalThis, {
  /** Runs one call in its own worker, which dies afterwards as abruptly as a closed tab. */
  inWorker: async (call: Call) => {
    const worker = startWorker();
    try {
      return await ask(worker, call);
    } finally {
      worker.terminate();
    }
  },
  /** Starts a worker that stays, and gives it a first call. */
  hold: async (call: Call) => {
    held = startWorker();
    return ask(held, call);
  },
  /** The worker that stays, once more. */
  askHeld: async (call: Call) => {
    if (held === null) throw new RangeError("hold first");
    return ask(held, call);
  },
  isSecure: () => isSecureContext,
});
