/**
 * The replica: signing and the database put together. Bytes from peers are decoded, verified, logged
 * and merged here; local transactions are signed here. Runs in the process (Node) or in a dedicated
 * worker (browsers), behind the same interface.
 *
 * @module
 */

import type { ChangeEvent, EventsOptions } from "../db/change-events.ts";
import {
  type LogAuthor,
  type LogCounts,
  type MeshBinding,
  openReplicaDatabase,
  type ReplicaDatabase,
} from "../db/replica-database.ts";
import type { Schema } from "../db/schema.ts";
import type { KeptResult, Receipt } from "../db/receipts.ts";
import type { ReceiptedDatabase } from "../db/sql-runner.ts";
import type { Storage, StorageKind } from "../db/storage.ts";
import type { MeshId, SiteId } from "../protocol/ids.ts";
import type { Clock, IncomingChangeset, Random, StreamStore } from "../seams.ts";
import { type Ed25519, SECRET_KEY_BYTES } from "../signing/ed25519.ts";
import { createKeyPair, type KeyPair } from "../signing/keys.ts";
import { createSigner } from "../signing/verified-changeset.ts";
import { createIngestQueue } from "./ingest-queue.ts";

/** What a replica tells of itself: the part of `MeshStatus` that needs no network. */
export interface ReplicaReport {
  readonly counts: LogCounts;
  readonly authors: readonly LogAuthor[];
  readonly incoming: readonly IncomingChangeset[];
}

export interface Replica extends StreamStore {
  /** Of the key in use: others after {@link Replica.onNewKey}. */
  readonly keys: KeyPair;
  /** As {@link ReplicaDatabase.onNewKey}. */
  readonly onNewKey: (listener: () => void) => () => void;
  /** As {@link ReplicaDatabase.ownSites}. */
  readonly ownSites: () => readonly SiteId[];
  readonly storage: { readonly kind: StorageKind; readonly durable: boolean };
  readonly db: ReceiptedDatabase;
  /** As {@link ReplicaDatabase.keptResult}. */
  readonly keptResult: (receipt: Receipt) => Promise<KeptResult | undefined>;
  readonly binding: () => MeshBinding | null;
  /** See {@link ReplicaDatabase.bindMesh}. @throws ERR_MESH_DIFFERENT */
  readonly bindMesh: (id: MeshId, invite: Uint8Array) => Promise<void>;
  readonly report: () => Promise<ReplicaReport>;
  readonly events: (options?: EventsOptions) => AsyncIterableIterator<ChangeEvent>;
  readonly stateHash: () => Promise<string>;
  readonly rebuild: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/** A replica in the place where its database is. */
export interface LocalReplica extends Replica {
  /** As {@link ReplicaDatabase.dropReceipts}. */
  readonly dropReceipts: ReplicaDatabase["dropReceipts"];
}

export interface ReplicaOptions {
  /** Open; closed with the replica. */
  readonly storage: Storage;
  readonly wasm: WebAssembly.Module;
  /** Null: log only. */
  readonly schema: Schema | null;
  readonly ed25519: Ed25519;
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * Makes a key pair for a new file, and for one of which a copy wrote; else the file's own is used.
 * @throws what the database throws
 */
export async function openReplica(options: ReplicaOptions): Promise<LocalReplica> {
  const { storage, wasm, schema, ed25519, clock, random } = options;
  const keysBySite = new Map<SiteId, KeyPair>();
  const database = await openReplicaDatabase({
    storage,
    wasm,
    schema,
    clock,
    identity: async (stored) => {
      const keys = await createKeyPair(ed25519, stored ?? random.bytes(SECRET_KEY_BYTES));
      keysBySite.set(keys.siteId, keys);
      return { secret: keys.secretKey, signer: createSigner(ed25519, keys) };
    },
  });
  return createReplica(database, keysBySite, ed25519, storage);
}

function createReplica(
  database: ReplicaDatabase,
  keysBySite: ReadonlyMap<SiteId, KeyPair>,
  ed25519: Ed25519,
  { kind, durable }: Storage,
): LocalReplica {
  const queue = createIngestQueue({ database, ed25519 });
  const { exec, query, execMany, transaction, watch } = database;
  return {
    get keys() {
      const keys = keysBySite.get(database.signer.siteId);
      if (keys === undefined) throw new RangeError("the database asked for no identity");
      return keys;
    },
    onNewKey: database.onNewKey,
    ownSites: database.ownSites,
    storage: { kind, durable },
    db: { exec, query, execMany, transaction, watch },
    keptResult: database.keptResult,
    dropReceipts: database.dropReceipts,
    binding: database.mesh,
    mesh: () => database.mesh()?.id ?? null,
    bindMesh: database.bindMesh,
    vector: async () => database.vector(),
    ingest: queue.ingest,
    read: database.read,
    readChunks: database.readChunks,
    incoming: async () => database.incoming(),
    judge: database.judge,
    offer: database.offer,
    onChange: database.onChange,
    peerPosition: database.peerPosition,
    keepPeerPosition: database.keepPeerPosition,
    report: async () => ({
      counts: database.counts(),
      authors: database.authors(),
      incoming: database.incoming(),
    }),
    events: database.events,
    stateHash: database.stateHash,
    rebuild: database.rebuild,
    close: async () => {
      await queue.close();
      await database.close();
    },
  };
}
