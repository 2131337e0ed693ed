/**
 * The replica: an app's tables and the signed log they are a view of, in one SQLite file. Two layers
 * that never mix: the log verifies nothing and reads no rows, it stores what is
 * {@link VerifiedChangeset}; the merge turns logged changesets into rows (docs/MERGE.md).
 *
 * Whatever is awaited here is durable when it resolves. Calls are served one after another.
 *
 * @module
 */

import type { VerifiedChangeset, VerifiedOutline } from "../protocol/changeset.ts";
import type { MeshErrorCode } from "../protocol/errors.ts";
import type { HeaderHash, MeshId, PublicKey, SiteId } from "../protocol/ids.ts";
import type { VectorEntry } from "../protocol/version-vector.ts";
import type {
  Clock,
  IncomingChangeset,
  IngestOutcome,
  ReplicaChange,
  Signer,
  StreamStore,
} from "../seams.ts";
import type { ChangeEvent, EventsOptions } from "./change-events.ts";
import type { IdentitySource } from "./database-file.ts";
import type { ForkProof } from "./forks.ts";
import type { ArrivedChunk } from "./incoming.ts";
import type { FormerKey } from "./replica-state.ts";
import type { Schema } from "./schema.ts";
import type { KeptResult, Receipt } from "./receipts.ts";
import type { ReceiptedDatabase } from "./sql-runner.ts";
import type { Storage } from "./storage.ts";

export { openReplicaDatabase } from "./open-replica-database.ts";

export interface ReplicaDatabaseOptions {
  /** Closed by {@link ReplicaDatabase.close}. */
  readonly storage: Storage;
  /** Compiled once, shared: `wasm-node.ts`, `wasm-browser.ts`. */
  readonly wasm: WebAssembly.Module;
  /** Null: stores and forwards, merges nothing, has no tables (a relay, a hub). */
  readonly schema: Schema | null;
  readonly clock: Clock;
  /**
   * Given the secret kept in the file, answers with its signer; another one than the file's is
   * refused (ERR_OPTION_INVALID). Given null, in a new file or when a copy of the file wrote with the
   * same key, answers with a new secret too. Who answers with a known key keeps it, and its forks.
   */
  readonly identity: IdentitySource;
}

export interface MeshBinding {
  readonly id: MeshId;
  /** Opaque here: an encoded invite. */
  readonly invite: Uint8Array;
}

/** What a commit changed, local or remote. */
export interface DatabaseChange extends ReplicaChange {
  /** Names of the app's tables with changed rows. */
  readonly tables: ReadonlySet<string>;
}

/** What waits for a schema version that this replica does not have. */
interface NewerSchema {
  readonly version: number;
  /** Those that follow of the same authors are counted too, whatever they name. */
  readonly changesets: number;
  /** Who names it, ascending. Nobody else vouches for the version. */
  readonly authors: readonly SiteId[];
}

export interface LogCounts {
  /** Changesets in the log that wait for a cause. */
  readonly held: number;
  /** Changesets that wait for an upgrade, and those behind them of the same author. */
  readonly parked: number;
  /** Why the first parked one is parked. */
  readonly parkedCode: MeshErrorCode | null;
  /** Those among the parked that wait for a schema version, ascending by it. */
  readonly newerSchemas: readonly NewerSchema[];
  readonly void: number;
  /** By code: what was void, parked or refused here, over the life of the file where it is logged. */
  readonly refusedByCode: ReadonlyMap<MeshErrorCode, number>;
  readonly forks: readonly ForkProof[];
  /** Oldest first. */
  readonly formerKeys: readonly FormerKey[];
  /** Own changesets that were never offered to anybody. */
  readonly unreleased: number;
}

export interface LogAuthor {
  readonly siteId: SiteId;
  readonly publicKey: PublicKey;
  readonly local: boolean;
  /** Of the data stream: the highest version without a gap before it. */
  readonly version: number;
  /** The author's clock at its last settled changeset seen since opening, for people only. */
  readonly lastWroteMs: number | null;
}

export interface ReplicaDatabase extends ReceiptedDatabase {
  /** Of the key in use: another one after {@link ReplicaDatabase.onNewKey}. */
  readonly signer: Signer;
  /**
   * After the file took a new key, since a copy of it wrote with the same one (rule L13). Returns
   * the stop function.
   */
  readonly onNewKey: (listener: () => void) => () => void;
  /** Of the key in use, then of those it had before. */
  readonly ownSites: () => readonly SiteId[];
  readonly mesh: () => MeshBinding | null;
  /**
   * Binds drafts (unreleased changesets, signed for no mesh) to a mesh: signs them again with the
   * same rows, in one transaction. The same id again only replaces the invite.
   * @throws ERR_MESH_DIFFERENT
   */
  readonly bindMesh: (id: MeshId, invite: Uint8Array) => Promise<void>;
  readonly vector: () => readonly VectorEntry[];
  /** Of the changeset of that version on the author's main chain; null when it is not held. */
  readonly hashOf: (
    site: SiteId,
    stream: VectorEntry["stream"],
    version: number,
  ) => HeaderHash | null;
  /** Of the held changeset of that version, on any branch, whose hash begins with these hex digits. */
  readonly findHash: (
    site: SiteId,
    stream: VectorEntry["stream"],
    version: number,
    hashPrefix: string,
  ) => HeaderHash | null;
  readonly authorOf: (site: SiteId) => PublicKey | null;
  /**
   * Logs and merges, each changeset whole or not at all. One outcome each, in order.
   * @throws ERR_STORAGE_FULL, ERR_STORAGE_LOST, ERR_ENGINE_TRAP: nothing of the rest was kept; try again
   */
  readonly append: (changesets: readonly VerifiedChangeset[]) => Promise<readonly IngestOutcome[]>;
  /** Keeps those that would be logged, to be filled with chunks. One outcome each. @throws as `append` */
  readonly appendOutlines: (
    outlines: readonly VerifiedOutline[],
  ) => Promise<readonly IngestOutcome[]>;
  /** The hash that this chunk of an incoming changeset must have; null when it is not missing. */
  readonly missingChunkHash: (headerHash: HeaderHash, index: number) => Uint8Array | null;
  /**
   * Keeps them, in one transaction. Who brings the last one has the outcome of the changeset, the
   * others "incomplete". @throws as `append`
   */
  readonly appendChunks: (chunks: readonly ArrivedChunk[]) => Promise<readonly IngestOutcome[]>;
  readonly incoming: () => readonly IncomingChangeset[];
  /** As {@link StreamStore.read}: own unreleased changesets in the range are released first. */
  readonly read: StreamStore["read"];
  /** As {@link StreamStore.readChunks}. */
  readonly readChunks: StreamStore["readChunks"];
  /** As {@link StreamStore.judge}. */
  readonly judge: StreamStore["judge"];
  /** As {@link ReplicaStore.offer}. */
  readonly offer: (mode: "on" | "off") => Promise<void>;
  /** After every commit that changed the log or the tables. Returns the stop function. */
  readonly onChange: (listener: (change: DatabaseChange) => void) => () => void;
  /** As {@link StreamStore.peerPosition}. */
  readonly peerPosition: (name: string) => Promise<Uint8Array | null>;
  /** As {@link StreamStore.keepPeerPosition}. */
  readonly keepPeerPosition: (name: string, position: Uint8Array) => Promise<void>;
  /** Of a call that carried it: undefined when nothing of it was written. */
  readonly keptResult: (receipt: Receipt) => Promise<KeptResult | undefined>;
  /** Forgets those of tabs that are no more. */
  readonly dropReceipts: (isOpen: (tab: string) => boolean) => Promise<void>;
  readonly counts: () => LogCounts;
  readonly authors: () => readonly LogAuthor[];
  readonly events: (options?: EventsOptions) => AsyncIterableIterator<ChangeEvent>;
  /** 64 hex digits: SHA-256 over all rows of all tables, with their storage classes. */
  readonly stateHash: () => Promise<string>;
  /** Re-creates the tables from the log in a fresh file, compares, and switches to it. */
  readonly rebuild: () => Promise<void>;
  /** Finishes the call under way, refuses those waiting (ERR_CLOSED), closes the storage. Idempotent. */
  readonly close: () => Promise<void>;
}
