/**
 * What an app may do with its database: the types only. `transaction.ts` makes them.
 *
 * @module
 */

import type { SqlRow, SqlValue } from "../protocol/values.ts";
import type { Receipt } from "./receipts.ts";

export interface QueryOptions {
  readonly signal?: AbortSignal;
}

export interface SqlRunner {
  /** Runs one statement. @returns rows changed. @throws ERR_SQL, ERR_SQL_FORBIDDEN */
  readonly exec: (
    sql: string,
    params?: readonly SqlValue[],
    options?: QueryOptions,
  ) => Promise<number>;
  readonly query: <Row extends SqlRow = SqlRow>(
    sql: string,
    params?: readonly SqlValue[],
    options?: QueryOptions,
  ) => Promise<Row[]>;
  /** One prepared statement over many rows of parameters. @returns rows changed. */
  readonly execMany: (
    sql: string,
    paramRows: readonly (readonly SqlValue[])[],
    options?: QueryOptions,
  ) => Promise<number>;
}

export interface TransactionOptions {
  readonly signal?: AbortSignal;
  /** Default 10,000. */
  readonly timeoutMs?: number;
}

export interface WatchOptions {
  readonly onError?: (error: Error) => void;
}

export interface MeshDatabase extends SqlRunner {
  /**
   * All or nothing; becomes one signed changeset. The result is durable when the promise resolves.
   * Others wait meanwhile, in order of their calls.
   * @throws what `run` throws; ERR_TRANSACTION_TIMEOUT, ERR_ABORTED, ERR_NESTED, ERR_SQL, ERR_STORAGE_FULL
   */
  readonly transaction: <T>(
    run: (tx: SqlRunner) => Promise<T>,
    options?: TransactionOptions,
  ) => Promise<T>;
  /** Calls back with the rows now and after each commit that touched a table the query reads. */
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- named by the caller, as in query
  readonly watch: <Row extends SqlRow = SqlRow>(
    sql: string,
    params: readonly SqlValue[],
    listener: (result: { readonly rows: Row[] }) => void,
    options?: WatchOptions,
  ) => () => void;
}

/** Of calls made for another tab: what they wrote is to be found under the receipt. */
export interface Receipted {
  readonly receipt?: Receipt;
}

/** The same calls; whoever leaves the receipt out pays nothing for it. */
export interface ReceiptedDatabase extends MeshDatabase {
  readonly exec: (
    sql: string,
    params?: readonly SqlValue[],
    options?: QueryOptions & Receipted,
  ) => Promise<number>;
  readonly query: <Row extends SqlRow = SqlRow>(
    sql: string,
    params?: readonly SqlValue[],
    options?: QueryOptions & Receipted,
  ) => Promise<Row[]>;
  readonly execMany: (
    sql: string,
    paramRows: readonly (readonly SqlValue[])[],
    options?: QueryOptions & Receipted,
  ) => Promise<number>;
  readonly transaction: <T>(
    run: (tx: SqlRunner) => Promise<T>,
    options?: TransactionOptions & Receipted,
  ) => Promise<T>;
}
