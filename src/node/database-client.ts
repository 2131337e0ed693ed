/**
 * `mesh.db` over a {@link ReplicaHost} elsewhere: signals become abort calls, a transaction's callback
 * stays on this side.
 *
 * @module
 */

import { releaseProxy, type Remote } from "comlink";
import type {
  QueryOptions,
  Receipted,
  ReceiptedDatabase,
  SqlRunner,
  TransactionOptions,
} from "../db/sql-runner.ts";
import { isMeshError, MeshError, type MeshErrorCode } from "../protocol/errors.ts";
import type { SqlRow } from "../protocol/values.ts";
import { type PendingCalls, settling, WorkerEndedError } from "./pending-calls.ts";
import type {
  CallId,
  RemoteReplicaHost,
  ReplicaHostParts,
  TransactionHost,
} from "./replica-host.ts";

let lastCall: CallId = 0;

/** Unique in this window, and so for every host it calls. */
export const nextCall = (): CallId => ++lastCall;

/** @param host settles its calls by itself when the worker ends */
export function databaseOver(
  host: RemoteReplicaHost,
  carry: ReplicaHostParts["carry"],
  calls: PendingCalls,
): ReceiptedDatabase {
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
    exec: (sql, params = [], options = {}) =>
      turn(options, (call) => host.exec(call, sql, params, options.receipt ?? null)),
    query: async <Row extends SqlRow>(
      sql: string,
      params: Parameters<SqlRunner["query"]>[1] = [],
      options: QueryOptions & Receipted = {},
    ) =>
      (await turn(options, (call) =>
        host.query(call, sql, params, options.receipt ?? null),
      )) as Row[],
    execMany: (sql, paramRows, options = {}) =>
      turn(options, (call) => host.execMany(call, sql, paramRows, options.receipt ?? null)),
    transaction: async <T>(
      run: (tx: SqlRunner) => Promise<T>,
      { signal, timeoutMs, receipt }: TransactionOptions & Receipted = {},
    ): Promise<T> => {
      // The callback's own result and error stay on this side: they need not be cloneable.
      let outcome: { readonly value: T } | { readonly error: unknown } | null = null;
      const callback = carry(async (remote: Remote<TransactionHost>) => {
        try {
          outcome = { value: await begin(run, runnerOver(remote, calls)) };
        } catch (error) {
          outcome = { error };
          throw isMeshError(error) ? error : new Error("the transaction's callback threw");
        } finally {
          remote[releaseProxy]();
        }
      });
      try {
        await turn(signal === undefined ? {} : { signal }, (call) =>
          host.transaction(call, callback, timeoutMs ?? null, receipt ?? null),
        );
      } catch (error) {
        throw thrownBy(outcome) ?? error;
      }
      return valueOf(outcome);
    },
    watch: (sql, params, listener, options = {}) => {
      const call = nextCall();
      let stopped = false;
      const onRows = carry(async (rows: SqlRow[]) => {
        if (!stopped) listener({ rows: rows as never });
      });
      const onError = carry(async (message: string, code: string | null) => {
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

/** It has its turn already: its signal is looked at once. */
async function statement<T>({ signal }: QueryOptions, run: () => Promise<T>): Promise<T> {
  assertNotAborted(signal);
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof WorkerEndedError)) throw error;
    throw new MeshError("ERR_TAB_LOST", "inside a transaction", { cause: error });
  }
}

const runnerOver = (remote: Remote<TransactionHost>, calls: PendingCalls): SqlRunner => {
  const tx = settling(remote, calls, "inner");
  return {
    exec: (sql, params = [], options = {}) => statement(options, () => tx.exec(sql, params)),
    query: async <Row extends SqlRow>(
      sql: string,
      params: Parameters<SqlRunner["query"]>[1] = [],
      options: QueryOptions = {},
    ) => (await statement(options, () => tx.query(sql, params))) as Row[],
    execMany: (sql, paramRows, options = {}) =>
      statement(options, () => tx.execMany(sql, paramRows)),
  };
};

function assertNotAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new MeshError("ERR_ABORTED", "aborted before it began");
}

async function abortable<T>(
  host: RemoteReplicaHost,
  options: QueryOptions,
  run: (call: CallId) => Promise<T>,
): Promise<T> {
  const { signal } = options;
  assertNotAborted(signal);
  const call = nextCall();
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
