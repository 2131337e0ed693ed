/**
 * A replica as its worker offers it: a flat set of async calls that comlink can carry. Callbacks
 * arrive as proxies; calls that can be aborted carry an id chosen by the caller.
 * The other side is `replica-client.ts`.
 *
 * @module
 */

import { type ProxyMarked, type Remote, releaseProxy } from "comlink";
import type { ChangeEvent } from "../db/change-events.ts";
import type { MeshBinding } from "../db/replica-database.ts";
import type { KeptResult, Receipt } from "../db/receipts.ts";
import type { Schema } from "../db/schema.ts";
import type { SqlRunner } from "../db/sql-runner.ts";
import type { StorageKind } from "../db/storage.ts";
import type { MeshId, SiteId } from "../protocol/ids.ts";
import type { VectorEntry } from "../protocol/version-vector.ts";
import { isMeshError, MeshError } from "../protocol/errors.ts";
import type { SqlRow, SqlValue } from "../protocol/values.ts";
import type {
  IncomingChangeset,
  IngestItem,
  IngestOutcome,
  ReplicaChange,
  StreamStore,
} from "../seams.ts";
import type { KeyPair } from "../signing/keys.ts";
import type { Replica, ReplicaReport } from "./replica.ts";

export interface ReplicaRequest {
  readonly name: string;
  readonly schema: Schema | null;
  readonly storage: "auto" | "opfs" | "indexeddb" | "memory";
  /** Null where there are no locks. */
  readonly door: WorkerDoor | null;
}

/** How others tell that the worker is alive, and how tabs reach it. */
export interface WorkerDoor {
  /** The lock of that name is held until the worker ends. */
  readonly term: string;
  /** The BroadcastChannel on which tabs meet; null: none is let in. */
  readonly channel: string | null;
}

/** Whose replica it is; told again with every new key. */
export interface ReplicaIdentity {
  readonly keys: KeyPair;
  readonly ownSites: readonly SiteId[];
}

export interface ReplicaOpened extends ReplicaIdentity {
  readonly storage: { readonly kind: StorageKind; readonly durable: boolean };
  readonly binding: MeshBinding | null;
}

/** Ties a later `abort` to a call. */
export type CallId = number;

/** The statements of one transaction; each call is a round trip to the window's callback and back. */
export interface TransactionHost {
  readonly exec: (sql: string, params: readonly SqlValue[]) => Promise<number>;
  readonly query: (sql: string, params: readonly SqlValue[]) => Promise<SqlRow[]>;
  readonly execMany: (sql: string, rows: readonly (readonly SqlValue[])[]) => Promise<number>;
}

type Callback<Arguments extends readonly unknown[], Result = void> = (
  ...args: Arguments
) => Promise<Result>;

export interface ReplicaHost {
  readonly opened: () => ReplicaOpened;
  readonly exec: (
    call: CallId,
    sql: string,
    params: readonly SqlValue[],
    receipt: Receipt | null,
  ) => Promise<number>;
  readonly query: (
    call: CallId,
    sql: string,
    params: readonly SqlValue[],
    receipt: Receipt | null,
  ) => Promise<SqlRow[]>;
  readonly execMany: (
    call: CallId,
    sql: string,
    rows: readonly (readonly SqlValue[])[],
    receipt: Receipt | null,
  ) => Promise<number>;
  readonly transaction: (
    call: CallId,
    run: Callback<[tx: Remote<TransactionHost>]>,
    timeoutMs: number | null,
    receipt: Receipt | null,
  ) => Promise<void>;
  readonly keptResult: (receipt: Receipt) => Promise<KeptResult | undefined>;
  readonly abort: (call: CallId) => void;
  readonly watch: (
    call: CallId,
    sql: string,
    params: readonly SqlValue[],
    listener: Callback<[rows: SqlRow[]]>,
    onError: Callback<[message: string, code: string | null]>,
  ) => void;
  readonly unwatch: (call: CallId) => void;
  readonly eventsOpen: (call: CallId, since: number) => void;
  readonly eventsNext: (call: CallId) => Promise<IteratorResult<ChangeEvent, undefined>>;
  readonly eventsClose: (call: CallId) => Promise<void>;
  readonly vector: () => Promise<readonly VectorEntry[]>;
  readonly ingest: (items: readonly IngestItem[]) => Promise<readonly (readonly IngestOutcome[])[]>;
  readonly read: StreamStore["read"];
  readonly readChunks: StreamStore["readChunks"];
  readonly incoming: () => Promise<readonly IncomingChangeset[]>;
  readonly judge: StreamStore["judge"];
  readonly offer: (mode: "on" | "off") => Promise<void>;
  readonly peerPosition: (name: string) => Promise<Uint8Array | null>;
  readonly keepPeerPosition: (name: string, position: Uint8Array) => Promise<void>;
  readonly subscribe: (
    listener: Callback<[change: ReplicaChange]>,
    onNewKey: Callback<[identity: ReplicaIdentity]>,
  ) => void;
  readonly bindMesh: (id: MeshId, invite: Uint8Array) => Promise<void>;
  readonly report: () => Promise<ReplicaReport>;
  readonly stateHash: () => Promise<string>;
  readonly rebuild: () => Promise<void>;
  /**
   * Ends all that was begun for the caller, transactions too, with ERR_CLOSED where nothing was
   * written; the replica stays. Resolves when every call is answered.
   */
  readonly leave: () => Promise<void>;
}

interface EventFollower {
  readonly events: AsyncIterableIterator<ChangeEvent>;
  readonly ending: AbortController;
}

/** What a worker opens for its own window. */
export interface ReplicaOwnerHost extends ReplicaHost {
  readonly open: (request: ReplicaRequest) => Promise<ReplicaOpened>;
  readonly close: () => Promise<void>;
}

export interface ReplicaHostParts {
  readonly replica: () => Replica;
  /** Makes a callback of what would be copied: comlink's `proxy`, or a tab link's own. */
  readonly carry: <T extends object>(value: T) => T & ProxyMarked;
}

/** For one who calls. */
export function createReplicaHost({ replica, carry }: ReplicaHostParts): ReplicaHost {
  const aborts = new Map<CallId, AbortController>();
  const watches = new Map<CallId, () => void>();
  const eventFollowers = new Map<CallId, EventFollower>();
  const subscriptions: (() => void)[] = [];
  const underWay = new Set<Promise<unknown>>();
  let left = false;

  async function abortable<T>(call: CallId, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (left) throw new MeshError("ERR_CLOSED", "the database closed");
    const controller = new AbortController();
    aborts.set(call, controller);
    const result = run(controller.signal);
    underWay.add(result);
    try {
      return await result;
    } catch (error) {
      // Its caller did not abort it: nothing of it was written, and it may be made again elsewhere.
      if (!left || !isMeshError(error, "ERR_ABORTED")) throw error;
      throw new MeshError("ERR_CLOSED", "the database closed", { cause: error });
    } finally {
      underWay.delete(result);
      aborts.delete(call);
    }
  }

  async function leave(): Promise<void> {
    left = true;
    for (const controller of aborts.values()) controller.abort();
    for (const call of watches.keys()) host.unwatch(call);
    for (const call of eventFollowers.keys()) void eventsClose(call);
    for (const stop of subscriptions.splice(0)) stop();
    await Promise.allSettled(underWay);
  }

  async function eventsClose(call: CallId): Promise<void> {
    const follower = eventFollowers.get(call);
    eventFollowers.delete(call);
    // `return` alone waits until the one at work has an event.
    follower?.ending.abort();
    await follower?.events.return?.();
  }

  const host: ReplicaHost = {
    opened: () => {
      const { storage, binding } = replica();
      return { ...identityOf(replica()), storage, binding: binding() };
    },
    exec: (call, sql, params, receipt) =>
      abortable(call, (signal) =>
        replica().db.exec(sql, params, { signal, ...receipted(receipt) }),
      ),
    query: (call, sql, params, receipt) =>
      abortable(call, (signal) =>
        replica().db.query(sql, params, { signal, ...receipted(receipt) }),
      ),
    execMany: (call, sql, rows, receipt) =>
      abortable(call, (signal) =>
        replica().db.execMany(sql, rows, { signal, ...receipted(receipt) }),
      ),
    transaction: (call, run, timeoutMs, receipt) =>
      abortable(call, (signal) =>
        replica()
          .db.transaction((tx) => run(transactionHost(tx, carry)), {
            signal,
            ...(timeoutMs === null ? {} : { timeoutMs }),
            ...receipted(receipt),
          })
          .finally(() => release(run)),
      ),
    keptResult: (receipt) => replica().keptResult(receipt),
    abort: (call) => aborts.get(call)?.abort(),
    watch: (call, sql, params, listener, onError) => {
      const stop = replica().db.watch(sql, params, ({ rows }) => void listener(rows), {
        onError: (error) => void onError(error.message, codeOf(error)),
      });
      watches.set(call, () => {
        stop();
        release(listener);
        release(onError);
      });
    },
    unwatch: (call) => {
      watches.get(call)?.();
      watches.delete(call);
    },
    eventsOpen: (call, since) => {
      const ending = new AbortController();
      const { signal } = ending;
      eventFollowers.set(call, { ending, events: replica().events({ since, signal }) });
    },
    eventsNext: async (call) =>
      (await eventFollowers.get(call)?.events.next()) ?? { done: true, value: undefined },
    eventsClose,
    vector: () => replica().vector(),
    ingest: (items) => replica().ingest(items),
    read: (range, bytesMax, large) => replica().read(range, bytesMax, large),
    readChunks: (request) => replica().readChunks(request),
    incoming: () => replica().incoming(),
    judge: (claims, also) => replica().judge(claims, also),
    offer: (mode) => replica().offer(mode),
    peerPosition: (name) => replica().peerPosition(name),
    keepPeerPosition: (name, position) => replica().keepPeerPosition(name, position),
    subscribe: (listener, onNewKey) => {
      subscriptions.push(
        replica().onChange(
          ({ entries, broadcasts, incoming = [] }) =>
            void listener({ entries, broadcasts, incoming }),
        ),
        replica().onNewKey(() => void onNewKey(identityOf(replica()))),
      );
    },
    bindMesh: (id, invite) => replica().bindMesh(id, invite),
    report: () => replica().report(),
    stateHash: () => replica().stateHash(),
    rebuild: () => replica().rebuild(),
    leave,
  };

  return host;
}

const receipted = (receipt: Receipt | null): { readonly receipt?: Receipt } =>
  receipt === null ? {} : { receipt };

/** A callback's way back is closed with it, not only when memory is tidied up. */
const release = (callback: unknown): void =>
  (callback as { readonly [releaseProxy]?: () => void })[releaseProxy]?.();

const identityOf = ({ keys, ownSites }: Replica): ReplicaIdentity => ({
  keys,
  ownSites: ownSites(),
});

/** Becomes a `Remote` on its way: comlink's types speak of the other side only. */
const transactionHost = (
  tx: SqlRunner,
  carry: ReplicaHostParts["carry"],
): Remote<TransactionHost> =>
  carry<TransactionHost>({
    exec: (sql, params) => tx.exec(sql, params),
    query: (sql, params) => tx.query(sql, params),
    execMany: (sql, rows) => tx.execMany(sql, rows),
  }) as unknown as Remote<TransactionHost>;

const codeOf = (error: Error): string | null => ("code" in error ? String(error.code) : null);

/** What the window holds. */
export type RemoteReplicaHost = Remote<ReplicaHost>;
export type RemoteReplicaOwnerHost = Remote<ReplicaOwnerHost>;
