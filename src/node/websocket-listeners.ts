/**
 * Who connects to a WebSocket port has a while to ask for a WebSocket, there is room for so many, and
 * their messages are small.
 * libp2p's listener waits for the first byte for ever, and so it does for the rest of a request,
 * since its HTTP server never listens itself and Node then keeps no time (@libp2p/websockets 10).
 * Whoever could reach the port would take all file descriptors of the process, without a word.
 * Messages may have 100 MiB there, and are held until they are whole: ten strangers, a gigabyte. And
 * nobody hears the error that a malformed frame makes, which then ends the process.
 *
 * @module
 */

import type { EventEmitter } from "node:events";
import { Server as NetServer, type Socket } from "node:net";
import type { Libp2p } from "@libp2p/interface";
import {
  WEBSOCKET_MESSAGE_BYTES_MAX,
  WEBSOCKET_REQUEST_MS,
  WEBSOCKETS_MAX,
} from "../protocol/limits.ts";

interface ServedWebSocket extends EventEmitter {
  close: (code?: number, reason?: string) => void;
  readonly terminate: () => void;
}

/** How libp2p aborts a connection; no code that may be sent, so the package throws and closes nothing. */
const ABNORMAL = 1_006;

/** The parts of libp2p's listener that this needs; there is no public way. */
interface WebSocketListener {
  readonly server: NetServer;
  readonly wsServer: {
    readonly options: { maxPayload: number };
    handleUpgrade: (
      request: unknown,
      socket: unknown,
      head: unknown,
      upgraded: (webSocket: ServedWebSocket, request: unknown) => void,
    ) => void;
  };
  readonly http: EventEmitter;
}

interface Internals {
  readonly components?: {
    readonly transportManager?: { readonly getListeners: () => readonly object[] };
  };
}

const isWebSocketListener = (listener: object): listener is WebSocketListener =>
  "wsServer" in listener &&
  "http" in listener &&
  "server" in listener &&
  listener.server instanceof NetServer;

/** Call when it listens. */
export function limitWebSocketListeners(libp2p: Libp2p): void {
  const { components } = libp2p as unknown as Internals;
  for (const listener of components?.transportManager?.getListeners() ?? []) {
    if (isWebSocketListener(listener)) limit(listener);
  }
}

function limit({ server, wsServer, http }: WebSocketListener): void {
  wsServer.options.maxPayload = WEBSOCKET_MESSAGE_BYTES_MAX;
  const handleUpgrade = wsServer.handleUpgrade.bind(wsServer);
  wsServer.handleUpgrade = (request, socket, head, done) =>
    handleUpgrade(request, socket, head, (webSocket, of) => {
      // Its end follows, which the listener hears.
      webSocket.on("error", () => undefined);
      const close = webSocket.close.bind(webSocket);
      webSocket.close = (code, reason) =>
        code === ABNORMAL ? webSocket.terminate() : close(code, reason);
      done(webSocket, of);
    });
  const upgraded = new WeakSet<Socket>();
  http.prependListener("upgrade", (_request: unknown, socket: Socket) => upgraded.add(socket));
  server.maxConnections = WEBSOCKETS_MAX;
  server.on("connection", (socket) => {
    const timer = setTimeout(() => {
      if (!upgraded.has(socket)) socket.destroy();
    }, WEBSOCKET_REQUEST_MS);
    timer.unref();
    socket.once("close", () => clearTimeout(timer));
  });
}
