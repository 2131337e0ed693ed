/**
 * `mesh.db` of a tab that shares its database with others: through whichever seat there is. When the
 * tab that holds the database ends, the file says which of the calls under way were done (receipts):
 * those are answered from it, the others made again. So each is done once, and none stays unknown.
 *
 * @module
 */

import type { KeptResult } from "../db/receipts.ts";
import type {
  MeshDatabase,
  QueryOptions,
  Receipted,
  SqlRunner,
  TransactionOptions,
} from "../db/sql-runner.ts";
import { isMeshError, MeshError } from "../protocol/errors.ts";
import type { SqlRow, SqlValue } from "../protocol/values.ts";
import { WorkerEndedError } from "./pending-calls.ts";
import { createReceiptSlots, type ReceiptSlot, type ReceiptSlots } from "./receipt-slots.ts";
import { lastError, type Seat, type Seats } from "./seats.ts";

/** One call that may write, on as many seats as it takes. */
interface SharedCall<T> {
  readonly signal: AbortSignal | undefined;
  readonly run: (seat: Seat, receipt: Receipted) => Promise<T>;
  /** What it answered, by its receipt. */
  readonly answer: (kept: KeptResult) => T;
  /**
   * This tab's own worker ended before it answered; its own calls have no receipts. Null when the
   * call can be made again.
   */
  readonly unanswered: () => MeshError | null;
  /** The app's own callback threw it: ERR_CLOSED, of this database or of another. */
  readonly isOwn: (error: unknown) => boolean;
}

export function createSharedDatabase(seats: Seats, tab: string): MeshDatabase {
  const slots = createReceiptSlots(tab);
  const call = <T>(shared: SharedCall<T>): Promise<T> => callOnce(seats, slots, shared);
  const single = <T>(
    sql: string,
    options: QueryOptions | undefined,
    run: SharedCall<T>["run"],
  ): Promise<T> =>
    call({
      signal: options?.signal,
      run: (seat, receipt) => run(seat, { ...options, ...receipt }),
      answer: (kept) => kept as T,
      unanswered: () => (READS.test(sql) ? null : unknownError()),
      isOwn: () => false,
    });
  return {
    exec: (sql, params, options) =>
      single(sql, options, ({ replica }, all) => replica.db.exec(sql, params, all)),
    query: <Row extends SqlRow>(
      sql: string,
      params?: readonly SqlValue[],
      options?: QueryOptions,
    ) => single(sql, options, ({ replica }, all) => replica.db.query<Row>(sql, params, all)),
    execMany: (sql, paramRows, options) =>
      single(sql, options, ({ replica }, all) => replica.db.execMany(sql, paramRows, all)),
    transaction: (run, options = {}) => transact(call, run, options),
    watch: (sql, params, listener, options = {}) =>
      seats.each(({ replica }) =>
        replica.db.watch(sql, params, listener, {
          onError: (error) => {
            // The next seat runs it again.
            if (error instanceof WorkerEndedError || isMeshError(error, "ERR_CLOSED")) return;
            options.onError?.(error);
          },
        }),
      ),
  };
}

/** Whatever else they do, these write nothing. */
const READS = /^\s*(?:select|values|explain)\b/i;

async function callOnce<T>(
  seats: Seats,
  slots: ReceiptSlots,
  { signal, run, answer, unanswered, isOwn }: SharedCall<T>,
): Promise<T> {
  let slot: ReceiptSlot | null = null;
  let mayBeDone = false;
  /** Aborted or not: the app is to learn what became of its call. */
  const nextToTell = (): Promise<Seat> =>
    seats.next().catch((error: unknown) => {
      throw isMeshError(error, "ERR_CLOSED") ? error : (unanswered() ?? error);
    });
  try {
    for (;;) {
      // Without awaiting where there is a seat: a call inside a transaction is known by that.
      const seat = seats.now() ?? (await (mayBeDone ? nextToTell() : seats.next(signal)));
      try {
        if (slot !== null && mayBeDone) {
          const kept = await seat.replica.keptResult(slot.receipt);
          if (kept !== undefined) return answer(kept);
          mayBeDone = false;
        }
        if (seat.role === "leader") return await run(seat, {});
        slot ??= slots.takeNow() ?? (await slots.take(signal));
        if (seats.now() !== seat) continue;
        mayBeDone = true;
        return await run(seat, { receipt: slot.receipt });
      } catch (error) {
        if (isOwn(error) && (await isOpen(seat))) throw error;
        if (!(await seats.isOver(seat, error))) throw lastError(error);
        const isLost = seat.role === "leader" && error instanceof WorkerEndedError && !mayBeDone;
        const why = isLost ? unanswered() : null;
        if (why !== null) throw why;
      }
    }
  } finally {
    slot?.free();
  }
}

/** Its callback runs once: when the database's tab ends under it, the app decides what then. */
function transact<T>(
  call: <R>(shared: SharedCall<R>) => Promise<R>,
  run: (tx: SqlRunner) => Promise<T>,
  options: TransactionOptions,
): Promise<T> {
  let state:
    | { readonly type: "waiting" }
    | { readonly type: "begun" }
    | { readonly type: "threw"; readonly error: unknown }
    | { readonly type: "ran"; readonly value: T } = { type: "waiting" };
  const callback = async (tx: SqlRunner): Promise<T> => {
    state = { type: "begun" };
    try {
      const value = await run(tx);
      state = { type: "ran", value };
      return value;
    } catch (error) {
      state = { type: "threw", error };
      throw error;
    }
  };
  return call<T>({
    signal: options.signal,
    run: async ({ replica }, receipt) => {
      if (state.type !== "waiting") {
        throw new MeshError("ERR_TAB_LOST", "the transaction's callback had begun");
      }
      return replica.db.transaction(callback, { ...options, ...receipt });
    },
    answer: () => {
      if (state.type !== "ran") throw new RangeError("a receipt of a transaction under way");
      return state.value;
    },
    unanswered: () => {
      switch (state.type) {
        case "waiting":
          return null;
        case "begun":
        case "threw":
          return new MeshError("ERR_TAB_LOST", "the database's worker ended");
        case "ran":
          return unknownError();
      }
    },
    isOwn: (error) =>
      state.type === "threw" && state.error === error && isMeshError(error, "ERR_CLOSED"),
  });
}

/** Else what a callback threw may come of the database's closing under it. */
const isOpen = ({ replica }: Seat): Promise<boolean> =>
  replica.db.query("SELECT 1").then(
    () => true,
    () => false,
  );

const unknownError = (): MeshError =>
  new MeshError(
    "ERR_STORAGE_LOST",
    "the database's worker ended before it answered: look whether this was written",
  );
