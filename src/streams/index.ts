/**
 * `rowmesh/streams`: carriers for the streams of a mesh (docs/STREAMS.md).
 *
 * @module
 */

export {
  type Channel,
  syncOver,
  type SyncOptions,
  type SyncSession,
  type SyncSummary,
} from "./channel.ts";
export { type HttpSyncOptions, syncOverHttp } from "./http-client.ts";
export { httpStreamHandler, type HttpStreamHandler } from "./http-handler.ts";
export { type StreamPort, syncOverMessagePort } from "./message-port.ts";
export { type StreamSocket, syncOverWebSocket } from "./web-socket.ts";
export type {
  AcceptedPackage,
  InboundStream,
  InboundStreamOptions,
  OutboundPackage,
  OutboundStreamOptions,
  Packet,
  StreamPeer,
  Streams,
} from "./streams.ts";
