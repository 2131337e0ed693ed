/**
 * `wss://` on the port of the https page, for pages over https in browsers without WebRTC: they may
 * open no `ws://`. What comes in over TLS is handed on to the hub's own WebSocket port, byte by byte;
 * who is at the other end is
 * proved there, as on every transport. To the hub these connections come from itself.
 *
 * @module
 */

import type { IncomingMessage, Server } from "node:http";
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";

/** Where the hub listens for `ws://`. */
export interface WebSocketPort {
  readonly host: string;
  readonly port: number;
}

/** `target` rejects while the hub is not ready. */
export function forwardUpgrades(server: Server, target: () => Promise<WebSocketPort>): void {
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    // A browser that goes away is no error of ours.
    socket.on("error", () => socket.destroy());
    target().then(
      (where) => join(socket, connect(where), request, head),
      () => socket.destroy(),
    );
  });
}

/** Both end with either. Each waits while the other does not read on. */
function join(socket: Duplex, upstream: Socket, request: IncomingMessage, head: Buffer): void {
  upstream.on("error", () => upstream.destroy());
  upstream.once("close", () => socket.destroy());
  socket.once("close", () => upstream.destroy());
  if (socket.destroyed) upstream.destroy();
  upstream.write(headOf(request));
  upstream.write(head);
  socket.pipe(upstream).pipe(socket);
}

/** As it came; Node's parser has refused line breaks in it. */
function headOf({ method, url, rawHeaders }: IncomingMessage): string {
  const lines = [`${method} ${url} HTTP/1.1`];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
  }
  return `${lines.join("\r\n")}\r\n\r\n`;
}
