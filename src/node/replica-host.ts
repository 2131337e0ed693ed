/**
 * A replica as its worker offers it: a flat set of async calls that comlink can carry. Callbacks
 * arrive as proxies; calls that can be aborted carry an id chosen by the caller.
 * The other side is `replica-client.ts`.
 *
 * @module
 */

import { proxy, type Remote } from "comlink";
import type { ChangeEvent } from "../db/change-events.ts";
import type { MeshBinding } from "../db/replica-database.ts";
import type { Schema } from "../db/schema.ts";
import type { SqlRunner } from "../db/sql-runner.ts";
import type { StorageKind } from "../db/storage.ts";
import type { MeshId, SiteId } from "../protocol/ids.ts";
import type { VectorEntry } from "../protocol/version-vector.ts";
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
}

/** Whose replica it is; told again with every new key. */
export interface ReplicaIdentity {
  readonly keys: KeyPair;
  readonly ownSites: readonly SiteId[];
}

interface ReplicaOpened extends ReplicaIdentity {
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
  readonly open: (request: ReplicaRequest) => Promise<ReplicaOpened>;
  readonly exec: (call: CallId, sql: string, params: readonly SqlValue[]) => Promise<number>;
  readonly query: (call: CallId, sql: string, params: readonly SqlValue[]) => Promise<SqlRow[]>;
  readonly execMany: (
    call: CallId,
    sql: string,
    rows: readonly (readonly SqlValue[])[],
  ) => Promise<number>;
  readonly transaction: (
    call: CallId,
    run: Callback<[tx: Remote<TransactionHost>]>,
    timeoutMs: number | null,
  ) => Promise<void>;
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
  readonly close: () => Promise<void>;
}

interface Follower {
  readonly events: AsyncIterableIterator<ChangeEvent>;
  readonly ending: AbortController;
}

/** `openReplica` chooses the storage; called once, by `open`. */
export function createReplicaHost(
  openReplica: (request: ReplicaRequest) => Promise<Replica>,
): ReplicaHost {
  let replica: Replica | null = null;
  const aborts = new Map<CallId, AbortController>();
  const watches = new Map<CallId, () => void>();
  const followers = new Map<CallId, Follower>();

  const opened = (): Replica => {
    if (replica === null) throw new RangeError("call open first");
    return replica;
  };

  async function abortable<T>(call: CallId, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    aborts.set(call, controller);
    try {
      return await run(controller.signal);
    } finally {
      aborts.delete(call);
    }
  }

  return {
    open: async (request) => {
      replica = await openReplica(request);
      const { storage, binding } = replica;
      return { ...identityOf(replica), storage, binding: binding() };
    },
    exec: (call, sql, params) =>
      abortable(call, (signal) => opened().db.exec(sql, params, { signal })),
    query: (call, sql, params) =>
      abortable(call, (signal) => opened().db.query(sql, params, { signal })),
    execMany: (call, sql, rows) =>
      abortable(call, (signal) => opened().db.execMany(sql, rows, { signal })),
    transaction: (call, run, timeoutMs) =>
      abortable(call, (signal) =>
        opened().db.transaction((tx) => run(transactionHost(tx)), {
          signal,
          ...(timeoutMs === null ? {} : { timeoutMs }),
        }),
      ),
    abort: (call) => aborts.get(call)?.abort(),
    watch: (call, sql, params, listener, onError) => {
      const stop = opened().db.watch(sql, params, ({ rows }) => void listener(rows), {
        onError: (error) => void onError(error.message, codeOf(error)),
      });
      watches.set(call, stop);
    },
    unwatch: (call) => {
      watches.get(call)?.();
      watches.delete(call);
    },
    eventsOpen: (call, since) => {
      const ending = new AbortController();
      const { signal } = ending;
      followers.set(call, { ending, events: opened().events({ since, signal }) });
    },
    eventsNext: async (call) =>
      (await followers.get(call)?.events.next()) ?? { done: true, value: undefined },
    eventsClose: async (call) => {
      const follower = followers.get(call);
      followers.delete(call);
      // `return` alone waits until the one at work has an event.
      follower?.ending.abort();
      await follower?.events.return?.();
    },
    vector: () => opened().vector(),
    ingest: (items) => opened().ingest(items),
    read: (range, bytesMax, large) => opened().read(range, bytesMax, large),
    readChunks: (request) => opened().readChunks(request),
    incoming: () => opened().incoming(),
    judge: (claims, also) => opened().judge(claims, also),
    offer: (mode) => opened().offer(mode),
    peerPosition: (name) => opened().peerPosition(name),
    keepPeerPosition: (name, position) => opened().keepPeerPosition(name, position),
    subscribe: (listener, onNewKey) => {
      opened().onChange(
        ({ entries, broadcasts, incoming = [] }) =>
          void listener({ entries, broadcasts, incoming }),
      );
      opened().onNewKey(() => void onNewKey(identityOf(opened())));
    },
    bindMesh: (id, invite) => opened().bindMesh(id, invite),
    report: () => opened().report(),
    stateHash: () => opened().stateHash(),
    rebuild: () => opened().rebuild(),
    close: async () => {
      for (const stop of watches.values()) stop();
      watches.clear();
      await replica?.close();
    },
  };
}

const identityOf = ({ keys, ownSites }: Replica): ReplicaIdentity => ({
  keys,
  ownSites: ownSites(),
});

/** Becomes a `Remote` on its way: comlink's types speak of the other side only. */
const transactionHost = (tx: SqlRunner): Remote<TransactionHost> =>
  proxy<TransactionHost>({
    exec: (sql, params) => tx.exec(sql, params),
    query: (sql, params) => tx.query(sql, params),
    execMany: (sql, rows) => tx.execMany(sql, rows),
  }) as unknown as Remote<TransactionHost>;

const codeOf = (error: Error): string | null => ("code" in error ? String(error.code) : null);

/** What the window holds. */
export type RemoteReplicaHost = Remote<ReplicaHost>;
