/**
 * Gossip as pure state machines: broadcast and anti-entropy of signed changesets.
 *
 * @module
 */

export type { Effect, ReplicationEvent } from "./effect.ts";
export { digestOf } from "./digest.ts";
export type { HeldVersions } from "./held-elsewhere.ts";
export type { AuthorDifference } from "./peer-view.ts";
export {
  createReplication,
  type Replication,
  type ReplicationOptions,
  type ReplicationPeer,
  type ReplicationStatus,
} from "./replication.ts";
