/**
 * Vocabulary and wire format of rowmesh: bytes in, values out, nothing else.
 *
 * @module
 */

export type {
  ChangesetHeader,
  ChangesetKind,
  Dependency,
  Encoding,
  SignedChangeset,
  Stream,
  UnsignedChangeset,
  UnsignedOutline,
  VerifiedChangeset,
  VerifiedOutline,
} from "./changeset.ts";
export { decodeHeader, encodeHeader } from "./changeset.ts";
export type { Broadcast, ChangesetRun } from "./changeset-run.ts";
export { decodeBroadcast, decodeRun, encodeBroadcast, encodeRun } from "./changeset-run.ts";
export type { MeshErrorCode, MeshErrorOptions } from "./errors.ts";
export { ERROR_REMEDIES, isMeshError, MeshError } from "./errors.ts";
export type { Genesis, GenesisBody, Invite } from "./genesis.ts";
export {
  decodeGenesisBody,
  decodeInvite,
  encodeGenesisBody,
  encodeInvite,
  inviteLink,
  parseInviteLink,
} from "./genesis.ts";
export type { HeaderHash, MeshId, PeerId, PublicKey, SiteId } from "./ids.ts";
export { fromHex, headerHash, meshId, publicKey, siteId, toHex } from "./ids.ts";
export { FORMAT_VERSION } from "./limits.ts";
export type {
  ChunkMessage,
  HelloMessage,
  Message,
  VectorMessage,
  WantChunksMessage,
  WantMessage,
} from "./messages.ts";
export { decodeMessage, encodeMessage } from "./messages.ts";
export type { ChangesetOutline } from "./outline.ts";
export { decodeOutline, encodeOutline } from "./outline.ts";
export type {
  CellChange,
  ChangesetPayload,
  PayloadPrefix,
  RowChanges,
  TableChanges,
} from "./payload.ts";
export { decodePayload, decodePayloadPrefix, encodePayload } from "./payload.ts";
export type { SqlRow, SqlValue, StoredValue } from "./values.ts";
export type {
  AuthorStream,
  ChainName,
  ChangesetRange,
  VectorEntry,
  VersionRange,
  VersionVector,
} from "./version-vector.ts";
export { authorStream, missingVersions } from "./version-vector.ts";
