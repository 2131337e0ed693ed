/**
 * Streams over a WebSocket: the browser's, Node's, or one of the `ws` package, either end.
 *
 * @module
 */

import { type Channel, syncOver, type SyncOptions, type SyncSession } from "./channel.ts";
import type { Streams } from "./streams.ts";

/** What is used of a socket. */
export interface StreamSocket {
  binaryType: string;
  readonly readyState: number;
  readonly send: (message: Uint8Array<ArrayBuffer>) => void;
  readonly close: () => void;
  readonly addEventListener: (
    type: "open" | "message" | "close" | "error",
    listener: (event: unknown) => void,
  ) => void;
}

const CONNECTING = 0;
const OPEN = 1;

/** Takes the socket over, whether it is open yet or not. */
export function syncOverWebSocket(
  streams: Streams,
  socket: StreamSocket,
  options: SyncOptions = {},
): SyncSession {
  return syncOver(streams, channelOf(socket), options);
}

function channelOf(socket: StreamSocket): Channel {
  socket.binaryType = "arraybuffer";
  const early: Uint8Array[] = [];
  const send = (message: Uint8Array): void => {
    if (socket.readyState === OPEN) socket.send(new Uint8Array(message));
    else if (socket.readyState === CONNECTING) early.push(message);
  };
  return {
    send,
    listen: (onMessage, onClose) => {
      socket.addEventListener("open", () => {
        for (const message of early.splice(0)) send(message);
      });
      socket.addEventListener("message", (event) => {
        const { data } = event as { readonly data: unknown };
        if (data instanceof ArrayBuffer) onMessage(new Uint8Array(data));
        else onClose();
      });
      // An error is followed by a close.
      socket.addEventListener("error", onClose);
      socket.addEventListener("close", onClose);
    },
    close: () => socket.close(),
  };
}
