/**
 * Streams over HTTP, the server's side: one handler for an app's own Node server, behind the app's
 * own access rules. Keeps nothing between two requests (docs/STREAMS.md, rule T15).
 *
 * @module
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import { isMeshError, MeshError, type MeshErrorCode } from "../protocol/errors.ts";
import { decodeHttpMessage, HTTP_CONTENT_TYPE, HTTP_MESSAGE_BYTES_MAX } from "./http-message.ts";
import { joinBytes } from "./packet.ts";
import type { Streams } from "./streams.ts";

/** Never rejects: what is wrong with a request is said in its answer, as a code. */
export type HttpStreamHandler = (
  request: IncomingMessage,
  response: ServerResponse,
) => Promise<void>;

/** The handler reads the body itself: mount it before anything that does. */
export const httpStreamHandler =
  (streams: Streams): HttpStreamHandler =>
  async (request, response) => {
    try {
      if (request.method !== "POST") {
        response.writeHead(405, { allow: "POST" }).end();
        return;
      }
      const bytes = await answer(streams, await readBody(request));
      if (bytes === null) response.writeHead(204).end();
      else response.writeHead(200, { "content-type": HTTP_CONTENT_TYPE }).end(bytes);
    } catch (error) {
      const code = isMeshError(error) ? error.code : "ERR_INTERNAL";
      if (response.headersSent) response.destroy();
      // What is left of the body is not read: the connection has no use after this.
      else response.writeHead(STATUS[code] ?? 400, { connection: "close" }).end(code);
    }
  };

const STATUS: Readonly<Partial<Record<MeshErrorCode, number>>> = {
  ERR_LIMIT: 413,
  ERR_CLOSED: 503,
  ERR_NO_MESH: 503,
  ERR_INTERNAL: 500,
};

/** Null: nothing to say. */
async function answer(streams: Streams, body: Uint8Array): Promise<Uint8Array | null> {
  const message = decodeHttpMessage(body);
  const inbound = streams.inboundStream();
  switch (message.type) {
    case "position":
      return (await inbound.position()).bytes;
    case "push":
      return (await inbound.accept(message.bytes)).receipt.bytes;
    case "pull": {
      const { excludeSites, position } = message;
      const packages = streams.outboundStream({ excludeSites, since: position, mode: "once" });
      for await (const { bytes } of packages) return bytes;
      return null;
    }
  }
}

async function readBody(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > HTTP_MESSAGE_BYTES_MAX) throw new MeshError("ERR_LIMIT", "body too large");
    chunks.push(chunk);
  }
  return joinBytes(chunks, length);
}
