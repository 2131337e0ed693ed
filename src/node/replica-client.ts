/**
 * The window's side of a replica in a worker: the same {@link Replica}, every call carried by
 * comlink to `replica-host.ts`. Keeps the main thread free: no SQL, hashing or signing happens here.
 *
 * @module
 */

import { proxy, releaseProxy, type Remote, wrap } from "comlink";
import type { ChangeEvent, EventsOptions } from "../db/change-events.ts";
import type { MeshBinding } from "../db/replica-database.ts";
import type { MeshDatabase, QueryOptions, SqlRunner } from "../db/sql-runner.ts";
import { isMeshError, MeshError, type MeshErrorCode } from "../protocol/errors.ts";
import type { SqlRow } from "../protocol/values.ts";
import type { ReplicaChange } from "../seams.ts";
import type { Replica } from "./replica.ts";
import type {
  CallId,
  RemoteReplicaHost,
  ReplicaHost,
  ReplicaIdentity,
  ReplicaRequest,
  TransactionHost,
} from "./replica-host.ts";
import { carryMeshErrors } from "./rpc-errors.ts";

/** Owns the worker: closing the replica ends it. @throws what opening the storage throws */
export async function openReplicaInWorker(
  worker: Worker,
  request: ReplicaRequest,
): Promise<Replica> {
  carryMeshErrors();
  const remote: RemoteReplicaHost = wrap<ReplicaHost>(worker);
  let closed = false;
  const host = refusing(remote, () => closed);
  const died = workerDeath(worker);
  try {
    const opened = await Promise.race([host.open(request), died]);
    const listeners = new Set<(change: ReplicaChange) => void>();
    const keyListeners = new Set<() => void>();
    let identity: ReplicaIdentity = opened;
    await host.subscribe(
      proxy(async (change: ReplicaChange) => {
        for (const listener of listeners) listener(change);
      }),
      proxy(async (taken: ReplicaIdentity) => {
        identity = taken;
        for (const listener of keyListeners) listener();
      }),
    );
    let binding: MeshBinding | null = opened.binding;
    return {
      get keys() {
        return identity.keys;
      },
      ownSites: () => identity.ownSites,
      onNewKey: (listener) => {
        keyListeners.add(listener);
        return () => keyListeners.delete(listener);
      },
      storage: opened.storage,
      db: databaseOver(host),
      binding: () => binding,
      mesh: () => binding?.id ?? null,
      bindMesh: async (id, invite) => {
        await host.bindMesh(id, invite);
        binding = { id, invite };
      },
      vector: () => host.vector(),
      ingest: (items) => host.ingest(items),
      read: (range, bytesMax, large = "whole") => host.read(range, bytesMax, large),
      readChunks: (wanted) => host.readChunks(wanted),
      incoming: () => host.incoming(),
      judge: (claims, also) => host.judge(claims, also),
      offer: (mode) => host.offer(mode),
      peerPosition: (name) => host.peerPosition(name),
      keepPeerPosition: (name, position) => host.keepPeerPosition(name, position),
      onChange: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      report: () => host.report(),
      events: (options) => eventsOver(host, options),
      stateHash: () => host.stateHash(),
      rebuild: () => host.rebuild(),
      close: async () => {
        listeners.clear();
        keyListeners.clear();
        closed = true;
        await remote.close();
        remote[releaseProxy]();
        worker.terminate();
      },
    };
  } catch (error) {
    worker.terminate();
    throw error;
  }
}

/** Nobody would answer once the worker has ended: calls made from `closed` on fail here. */
const refusing = (remote: RemoteReplicaHost, closed: () => boolean): RemoteReplicaHost =>
  new Proxy(remote, {
    get: (target, name): unknown => (closed() ? refuseClosed : Reflect.get(target, name)),
  });

const refuseClosed = (): Promise<never> =>
  Promise.reject(new MeshError("ERR_CLOSED", "the database is closed"));

/** Rejects when the worker's script cannot be loaded or throws while it starts. */
function workerDeath(worker: Worker): Promise<never> {
  return new Promise((_, reject) => {
    worker.addEventListener("error", (event) => {
      reject(new MeshError("ERR_STORAGE_UNAVAILABLE", `the worker failed: ${event.message}`));
    });
  });
}

let nextCall: CallId = 1;

function databaseOver(host: RemoteReplicaHost): MeshDatabase {
  // While a transaction's callback runs up to its first await; later nobody can tell whose call it is.
  let inside = false;
  const turn = <T>(options: QueryOptions, run: (call: CallId) => Promise<T>): Promise<T> =>
    inside
      ? Promise.reject(new MeshError("ERR_NESTED", "mesh.db was called inside a transaction"))
      : abortable(host, options, run);
  const begin = <T>(run: (tx: SqlRunner) => Promise<T>, tx: SqlRunner): Promise<T> => {
    inside = true;
    try {
      return run(tx);
    } finally {
      inside = false;
    }
  };
  return {
    exec: (sql, params = [], options = {}) => turn(options, (call) => host.exec(call, sql, params)),
    query: async <Row extends SqlRow>(
      sql: string,
      params: Parameters<SqlRunner["query"]>[1] = [],
      options: QueryOptions = {},
    ) => (await turn(options, (call) => host.query(call, sql, params))) as Row[],
    execMany: (sql, paramRows, options = {}) =>
      turn(options, (call) => host.execMany(call, sql, paramRows)),
    transaction: async <T>(
      run: (tx: SqlRunner) => Promise<T>,
      { signal, timeoutMs }: { signal?: AbortSignal; timeoutMs?: number } = {},
    ): Promise<T> => {
      // The callback's own result and error stay on this side: they need not be cloneable.
      let outcome: { readonly value: T } | { readonly error: unknown } | null = null;
      const callback = proxy(async (remote: Remote<TransactionHost>) => {
        try {
          outcome = { value: await begin(run, runnerOver(remote)) };
        } catch (error) {
          outcome = { error };
          throw isMeshError(error) ? error : new Error("the transaction's callback threw");
        } finally {
          remote[releaseProxy]();
        }
      });
      try {
        await turn(signal === undefined ? {} : { signal }, (call) =>
          host.transaction(call, callback, timeoutMs ?? null),
        );
      } catch (error) {
        throw thrownBy(outcome) ?? error;
      }
      return valueOf(outcome);
    },
    watch: (sql, params, listener, options = {}) => {
      const call = nextCall++;
      let stopped = false;
      const onRows = proxy(async (rows: SqlRow[]) => {
        if (!stopped) listener({ rows: rows as never });
      });
      const onError = proxy(async (message: string, code: string | null) => {
        if (!stopped) options.onError?.(errorFrom(message, code));
      });
      host
        .watch(call, sql, params, onRows, onError)
        .catch((error: Error) => options.onError?.(error));
      return () => {
        if (stopped) return;
        stopped = true;
        host.unwatch(call).catch(() => undefined);
      };
    },
  };
}

/** A statement inside a transaction has its turn already: its signal is looked at once. */
const runnerOver = (tx: Remote<TransactionHost>): SqlRunner => ({
  exec: async (sql, params = [], options = {}) => {
    assertNotAborted(options);
    return tx.exec(sql, params);
  },
  query: async <Row extends SqlRow>(
    sql: string,
    params: Parameters<SqlRunner["query"]>[1] = [],
    options: QueryOptions = {},
  ) => {
    assertNotAborted(options);
    return (await tx.query(sql, params)) as Row[];
  },
  execMany: async (sql, paramRows, options = {}) => {
    assertNotAborted(options);
    return tx.execMany(sql, paramRows);
  },
});

function assertNotAborted({ signal }: QueryOptions): void {
  if (signal?.aborted === true) throw new MeshError("ERR_ABORTED", "aborted before it began");
}

async function abortable<T>(
  host: RemoteReplicaHost,
  options: QueryOptions,
  run: (call: CallId) => Promise<T>,
): Promise<T> {
  assertNotAborted(options);
  const { signal } = options;
  const call = nextCall++;
  const abort = (): void => void host.abort(call).catch(() => undefined);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    return await run(call);
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

type TransactionOutcome<T> = { readonly value: T } | { readonly error: unknown } | null;

const thrownBy = <T>(outcome: TransactionOutcome<T>): unknown =>
  outcome !== null && "error" in outcome ? outcome.error : null;

function valueOf<T>(outcome: TransactionOutcome<T>): T {
  if (outcome === null || !("value" in outcome)) throw new RangeError("no result of a transaction");
  return outcome.value;
}

const errorFrom = (message: string, code: string | null): Error =>
  code === null
    ? new Error(message)
    : new MeshError(code as MeshErrorCode, message.slice(code.length + 2));

async function* eventsOver(
  host: RemoteReplicaHost,
  { since = 0, signal }: EventsOptions = {},
): AsyncGenerator<ChangeEvent, undefined> {
  const call = nextCall++;
  const close = (): void => void host.eventsClose(call).catch(() => undefined);
  signal?.addEventListener("abort", close, { once: true });
  try {
    await host.eventsOpen(call, since);
    for (;;) {
      if (signal?.aborted === true) return;
      const next = await host.eventsNext(call);
      if (next.done === true) return;
      yield next.value;
    }
  } catch (error) {
    // Events end with the database.
    if (!isMeshError(error, "ERR_CLOSED")) throw error;
  } finally {
    signal?.removeEventListener("abort", close);
    close();
  }
}
