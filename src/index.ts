/**
 * rowmesh in Node. In browsers the exports map leads to `browser.ts`, whose face is the same.
 *
 * @module
 */

export type {
  AuthorStatus,
  ChangeEvent,
  Mesh,
  MeshDatabase,
  MeshStatus,
  OpenMeshOptions,
  Pairing,
  PairingPeer,
  PeerStatus,
  PlatformFeature,
  PlatformStatus,
  QueryOptions,
  Schema,
  SchemaMigration,
  SqlRunner,
  StorageChoice,
  StorageStatus,
  TabRole,
  TransactionOptions,
  WatchOptions,
} from "./node/api.ts";
export { openMesh } from "./node/open-mesh-node.ts";
export type { IngestOutcome } from "./seams.ts";
export { ERROR_REMEDIES, isMeshError, MeshError, type MeshErrorCode } from "./protocol/errors.ts";
export type { HeaderHash, MeshId, PeerId, PublicKey, SiteId } from "./protocol/ids.ts";
export type { BundleReport, ExportBundleOptions, ImportBundleOptions } from "./streams/bundle.ts";
export type {
  AcceptedPackage,
  Bundles,
  InboundStream,
  InboundStreamOptions,
  OutboundPackage,
  OutboundStreamOptions,
  Packet,
  StreamPeer,
  Streams,
} from "./streams/streams.ts";
export type { SqlRow, SqlValue } from "./protocol/values.ts";
