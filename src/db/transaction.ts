/**
 * The app's side: statements, and transactions that become signed changesets. Every call takes a
 * turn on the one connection; a transaction keeps its turn until it ends.
 *
 * `mesh.db` called inside a transaction would wait for itself. It fails at once with ERR_NESTED where
 * that can be known: always in Node (AsyncLocalStorage), in browsers while the callback has not
 * awaited yet. Otherwise the transaction's time limit ends it, and the message names the cause.
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";
import type { SqlRow, SqlValue } from "../protocol/values.ts";
import type { Engine, GatedStatement } from "./engine.ts";
import type { Mutex } from "./mutex.ts";
import { type KeptResult, keepResult } from "./receipts.ts";
import type {
  QueryOptions,
  Receipted,
  ReceiptedDatabase,
  SqlRunner,
  TransactionOptions,
} from "./sql-runner.ts";

const TIMEOUT_MS = 10_000;
/** Timers take a longer delay for none at all; 24 days are as good as no limit. */
const TIMER_MS_MAX: number = 2 ** 31 - 1;
/** Rows between two looks at the limit: SQLite itself looks only within one long statement. */
const ROWS_PER_CHECK = 1_024;

export interface TransactionHost {
  readonly mutex: Mutex;
  readonly nowMs: () => number;
  readonly engine: () => Engine;
  /** Opens another engine when this one has trapped. */
  readonly recover: () => Promise<void>;
  /**
   * Begins, runs `work` with the engine and the set it fills with the tables written, seals the
   * changeset, commits, tells the listeners. Rolls back when anything fails.
   */
  readonly commit: <T>(work: (engine: Engine, written: Set<string>) => Promise<T>) => Promise<T>;
}

export type AppTransactions = Omit<ReceiptedDatabase, "watch">;

export function createTransactions(host: TransactionHost): AppTransactions {
  const inside = createNesting();

  const turn = <T>(signal: AbortSignal | undefined, task: () => Promise<T>): Promise<T> => {
    if (inside.isNested()) {
      return Promise.reject(new MeshError("ERR_NESTED", "mesh.db was called inside a transaction"));
    }
    return host.mutex.run(task, signal);
  };
  /** One statement: read without a transaction, written in one of its own. */
  const single = <T extends KeptResult>(
    sql: string,
    options: (QueryOptions & Receipted) | undefined,
    run: (runner: Runner) => T,
  ): Promise<T> =>
    turn(options?.signal, async () => {
      const limit = createLimit(host, Number.POSITIVE_INFINITY, options?.signal);
      await host.recover();
      const engine = host.engine();
      if (engine.prepareGated(sql).writes.size === 0) {
        try {
          return limit.during(engine, () => run(createRunner(engine, new Set(), limit.check)));
        } finally {
          await host.recover();
        }
      }
      return host.commit(async (current, written) => {
        const result = limit.during(current, () =>
          run(createRunner(current, written, limit.check)),
        );
        if (options?.receipt !== undefined) keepResult(current, options.receipt, result);
        return result;
      });
    });

  return {
    exec: (sql, params = [], options) => single(sql, options, (runner) => runner.exec(sql, params)),
    query: <Row extends SqlRow>(
      sql: string,
      params: readonly SqlValue[] = [],
      options?: QueryOptions & Receipted,
    ) => single(sql, options, (runner) => runner.query(sql, params) as Row[]),
    execMany: (sql, paramRows, options) =>
      single(sql, options, (runner) => runner.execMany(sql, paramRows)),
    transaction: (run, options) =>
      turn(options?.signal, () =>
        host.commit(async (engine, written) => {
          const value = await runTransaction(host, inside, engine, written, run, options ?? {});
          if (options?.receipt !== undefined) keepResult(engine, options.receipt, null);
          return value;
        }),
      ),
  };
}

async function runTransaction<T>(
  host: TransactionHost,
  inside: Nesting,
  engine: Engine,
  written: Set<string>,
  run: (tx: SqlRunner) => Promise<T>,
  options: TransactionOptions,
): Promise<T> {
  const limit = createLimit(host, options.timeoutMs ?? TIMEOUT_MS, options.signal);
  const runner = createRunner(engine, written, limit.check);
  let ended = false;
  const call = async <R>(signal: AbortSignal | undefined, work: () => R): Promise<R> => {
    if (ended) throw new MeshError("ERR_CLOSED", "the transaction has ended; await every call");
    if (engine.autocommit()) {
      throw new MeshError("ERR_SQL", "SQLite rolled the transaction back after an earlier error");
    }
    if (signal?.aborted === true) throw new MeshError("ERR_ABORTED", "the signal of this call");
    return limit.during(engine, work);
  };
  const tx: SqlRunner = {
    exec: (sql, params = [], call_) => call(call_?.signal, () => runner.exec(sql, params)),
    query: <Row extends SqlRow>(
      sql: string,
      params: readonly SqlValue[] = [],
      call_?: QueryOptions,
    ) => call(call_?.signal, () => runner.query(sql, params) as Row[]),
    execMany: (sql, rows, call_) => call(call_?.signal, () => runner.execMany(sql, rows)),
  };
  try {
    return await limit.race(inside.run(() => run(tx)));
  } finally {
    ended = true;
  }
}

interface Runner {
  readonly exec: (sql: string, params: readonly SqlValue[]) => number;
  readonly query: (sql: string, params: readonly SqlValue[]) => SqlRow[];
  readonly execMany: (sql: string, paramRows: readonly (readonly SqlValue[])[]) => number;
}

/** Synchronous: nothing else runs between the lines. */
function createRunner(engine: Engine, written: Set<string>, check: () => MeshError | null): Runner {
  const prepare = (sql: string): GatedStatement => {
    const gated = engine.prepareGated(sql);
    for (const table of gated.writes) written.add(table);
    return gated;
  };
  const changesOf = ({ writes }: GatedStatement): number =>
    writes.size === 0 ? 0 : engine.changes();
  return {
    exec: (sql, params) => {
      const gated = prepare(sql);
      gated.statement.bindSql(params);
      gated.statement.run();
      return changesOf(gated);
    },
    query: (sql, params) => {
      const { statement } = prepare(sql);
      statement.bindSql(params);
      const rows: SqlRow[] = [];
      try {
        while (statement.step()) rows.push(statement.sqlRow());
      } finally {
        if (!engine.trapped()) statement.reset();
      }
      return rows;
    },
    execMany: (sql, paramRows) => {
      const gated = prepare(sql);
      let changes = 0;
      for (const [at, params] of paramRows.entries()) {
        const late = at % ROWS_PER_CHECK === 0 ? check() : null;
        if (late !== null) throw late;
        gated.statement.bindSql(params);
        gated.statement.run();
        changes += changesOf(gated);
      }
      return changes;
    },
  };
}

const aborted = (): MeshError => new MeshError("ERR_ABORTED", "the caller's signal");

interface Limit {
  /** SQL that runs meanwhile is interrupted when time is up or the caller aborts. */
  readonly during: <T>(engine: Engine, work: () => T) => T;
  readonly check: () => MeshError | null;
  /** Gives up waiting when time is up or the caller aborts. */
  readonly race: <T>(work: Promise<T>) => Promise<T>;
}

function createLimit(
  host: TransactionHost,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Limit {
  const endMs = host.nowMs() + timeoutMs;
  const timeout = (): MeshError => {
    const waiting = host.mutex.waiting();
    const why =
      waiting === 0
        ? ""
        : `; ${waiting} calls of mesh.db wait behind it: if one of them was made inside this transaction, use its tx instead`;
    return new MeshError("ERR_TRANSACTION_TIMEOUT", `not done after ${timeoutMs} ms${why}`);
  };
  const check = (): MeshError | null => {
    if (signal?.aborted === true) return aborted();
    return host.nowMs() > endMs ? timeout() : null;
  };
  return {
    check,
    during: (engine, work) => {
      const late = check();
      if (late !== null) throw late;
      engine.interruptWith(check);
      try {
        return work();
      } finally {
        engine.interruptWith(null);
      }
    },
    race: (work) =>
      new Promise((resolve, reject) => {
        const onAbort = (): void => end(() => reject(aborted()));
        const delayMs = Math.min(timeoutMs, TIMER_MS_MAX);
        const timer = setTimeout(() => end(() => reject(timeout())), delayMs);
        const end = (settle: () => void): void => {
          clearTimeout(timer);
          signal?.removeEventListener("abort", onAbort);
          settle();
        };
        signal?.addEventListener("abort", onAbort);
        work.then(
          (value) => end(() => resolve(value)),
          (error: unknown) => end(() => reject(error)),
        );
      }),
  };
}

interface Nesting {
  readonly run: <T>(work: () => Promise<T>) => Promise<T>;
  readonly isNested: () => boolean;
}

/** Transactions that the running code is inside of, of any database. */
interface Scope {
  readonly nesting: Nesting;
  readonly outer: Scope | undefined;
  open: boolean;
}

interface AsyncStorage {
  readonly run: <T>(store: Scope, work: () => T) => T;
  readonly getStore: () => Scope | undefined;
}

/** One for all databases: Node copies the store of every instance ever used into every promise. */
const storage = createAsyncStorage();

function createNesting(): Nesting {
  let synchronously = false;
  const isInside = (scope: Scope | undefined): boolean =>
    scope !== undefined && ((scope.nesting === nesting && scope.open) || isInside(scope.outer));
  const nesting: Nesting = {
    isNested: () => synchronously || isInside(storage?.getStore()),
    run: async (work) => {
      const scope: Scope = { nesting, outer: storage?.getStore(), open: true };
      synchronously = true;
      let promise;
      try {
        promise = storage === null ? work() : storage.run(scope, work);
      } finally {
        synchronously = false;
      }
      try {
        return await promise;
      } finally {
        scope.open = false;
      }
    },
  };
  return nesting;
}

/** Node's, found without an import that a browser's bundler would follow; null elsewhere. */
function createAsyncStorage(): AsyncStorage | null {
  const host = globalThis as {
    readonly process?: {
      readonly getBuiltinModule?: (
        name: string,
      ) => { readonly AsyncLocalStorage: new () => AsyncStorage } | undefined;
    };
  };
  const hooks = host.process?.getBuiltinModule?.("node:async_hooks");
  return hooks === undefined ? null : new hooks.AsyncLocalStorage();
}
