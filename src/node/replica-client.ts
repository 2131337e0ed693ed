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
  const host: RemoteReplicaHost = wrap<ReplicaHost>(worker);
  const died = workerDeath(worker);
  try {
    const opened = await Promise.race([host.open(request), died]);
    const listeners = new Set<(change: ReplicaChange) => void>();
    await host.subscribe(
      proxy(async (change: ReplicaChange) => {
        for (const listener of listeners) listener(change);
      }),
    );
    let binding: MeshBinding | null = opened.binding;
    return {
      keys: opened.keys,
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
      read: (range, bytesMax) => host.read(range, bytesMax),
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
        await host.close();
        host[releaseProxy]();
        worker.terminate();
      },
    };
  } catch (error) {
    worker.terminate();
    throw error;
  }
}

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
  return {
    exec: (sql, params = [], options = {}) =>
      abortable(host, options, (call) => host.exec(call, sql, params)),
    query: async <Row extends SqlRow>(
      sql: string,
      params: Parameters<SqlRunner["query"]>[1] = [],
      options: QueryOptions = {},
    ) => (await abortable(host, options, (call) => host.query(call, sql, params))) as Row[],
    execMany: (sql, paramRows, options = {}) =>
      abortable(host, options, (call) => host.execMany(call, sql, paramRows)),
    transaction: async <T>(
      run: (tx: SqlRunner) => Promise<T>,
      { signal, timeoutMs }: { signal?: AbortSignal; timeoutMs?: number } = {},
    ): Promise<T> => {
      // The callback's own result and error stay on this side: they need not be cloneable.
      let outcome: { readonly value: T } | { readonly error: unknown } | null = null;
      const callback = proxy(async (remote: Remote<TransactionHost>) => {
        try {
          outcome = { value: await run(runnerOver(remote)) };
        } catch (error) {
          outcome = { error };
          throw isMeshError(error) ? error : new Error("the transaction's callback threw");
        } finally {
          remote[releaseProxy]();
        }
      });
      try {
        await abortable(host, signal === undefined ? {} : { signal }, (call) =>
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

const runnerOver = (tx: Remote<TransactionHost>): SqlRunner => ({
  exec: (sql, params = []) => tx.exec(sql, params),
  query: async <Row extends SqlRow>(sql: string, params: Parameters<SqlRunner["query"]>[1] = []) =>
    (await tx.query(sql, params)) as Row[],
  execMany: (sql, paramRows) => tx.execMany(sql, paramRows),
});

async function abortable<T>(
  host: RemoteReplicaHost,
  { signal }: QueryOptions,
  run: (call: CallId) => Promise<T>,
): Promise<T> {
  if (signal?.aborted === true) throw new MeshError("ERR_ABORTED", "aborted before it began");
  const call = nextCall++;
  const abort = (): void => void host.abort(call);
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
  await host.eventsOpen(call, since);
  const close = (): void => void host.eventsClose(call);
  signal?.addEventListener("abort", close, { once: true });
  try {
    for (;;) {
      if (signal?.aborted === true) return;
      const next = await host.eventsNext(call);
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    signal?.removeEventListener("abort", close);
    close();
  }
}
