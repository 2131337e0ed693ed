/**
 * Streams over a `MessagePort`: between windows, workers and frames in browsers, between threads in
 * Node (`node:worker_threads`).
 *
 * @module
 */

import { type Channel, syncOver, type SyncOptions, type SyncSession } from "./channel.ts";
import type { Streams } from "./streams.ts";

/** Both kinds of ports are one. */
export interface StreamPort {
  readonly postMessage: (message: Uint8Array | null, transfer: ArrayBuffer[]) => void;
  readonly addEventListener: (
    type: "message" | "close",
    listener: (event: unknown) => void,
  ) => void;
  readonly start: () => void;
  readonly close: () => void;
}

/** Takes the port over. Some browsers do not tell that the other end is gone: close it there. */
export function syncOverMessagePort(
  streams: Streams,
  port: StreamPort,
  options: SyncOptions = {},
): SyncSession {
  return syncOver(streams, channelOf(port), options);
}

const CLOSED = null;

const channelOf = (port: StreamPort): Channel => {
  let state: "open" | "closed" = "open";
  return {
    send: (message) => {
      // Moved when it fills its buffer; copied when it is a view.
      const copy = message.slice();
      port.postMessage(copy, [copy.buffer]);
    },
    listen: (onMessage, onClose) => {
      port.addEventListener("message", (event) => {
        const { data } = event as { readonly data: unknown };
        if (data instanceof Uint8Array) onMessage(data);
        else onClose();
      });
      // Node, and browsers of late: the other end went without a word.
      port.addEventListener("close", onClose);
      port.start();
    },
    close: () => {
      if (state === "closed") return;
      state = "closed";
      port.postMessage(CLOSED, []);
      port.close();
    },
  };
};
