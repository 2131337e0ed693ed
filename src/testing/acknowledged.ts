/**
 * What a device promised to keep (P1). A transaction is told by its payload's root, the hash its
 * signature covers: signing it again after a rewind or a new version leaves the root as it is.
 *
 * @module
 */

import type { MeshDatabase, SqlRunner, TransactionOptions } from "../db/sql-runner.ts";
import { HASH_BYTES } from "../protocol/ids.ts";
import { toHex } from "../protocol/ids.ts";
import type { Life } from "./life.ts";

/** "kept": must be in everybody's log at the end. "mayBeLost": its disk went back in time. */
export type Fate = "kept" | "mayBeLost";

export interface Acknowledged {
  readonly root: string;
  fate: Fate;
}

/** Of one device, over all its lives. */
export interface Ledger {
  /** Transactions whose promise resolved before the device died. */
  readonly acknowledged: Acknowledged[];
  /** Roots of transactions that were rejected, or never answered: not to be there, or either way. */
  readonly rejected: string[];
  readonly unanswered: string[];
  /** Roots of all that was ever signed here. */
  readonly signed: Set<string>;
}

export const createLedger = (): Ledger => ({
  acknowledged: [],
  rejected: [],
  unanswered: [],
  signed: new Set(),
});

/** Of the message that a changeset's signature covers (`signing/signed-bytes.ts`). */
export function rootInMessage(message: Uint8Array): string {
  const offset = "rowmesh changeset 1".length + 2 * HASH_BYTES;
  return toHex(message.subarray(offset, offset + HASH_BYTES));
}

/**
 * The database as the app gets it, which notes in the ledger what became of every transaction.
 * `signed` holds the roots that the device signed in this life, in order.
 */
export function keepLedger(
  db: MeshDatabase,
  ledger: Ledger,
  signed: readonly string[],
  life: Life,
): MeshDatabase {
  const transaction = async <T>(
    run: (tx: SqlRunner) => Promise<T>,
    options: TransactionOptions = {},
  ): Promise<T> => {
    // The turn on the database lasts from here to the commit: the next root signed is ours.
    let from = Number.POSITIVE_INFINITY;
    const rootNow = (): readonly string[] => signed.slice(from, from + 1);
    const onDeath = () => ledger.unanswered.push(...rootNow());
    life.signal.addEventListener("abort", onDeath);
    try {
      const result = await db.transaction(
        async (tx) => {
          const value = await run(tx);
          from = signed.length;
          return value;
        },
        { ...options, signal: options.signal ?? life.signal },
      );
      if (life.isOver()) return await new Promise<T>(() => {});
      ledger.acknowledged.push(...rootNow().map((root) => ({ root, fate: "kept" as const })));
      return result;
    } catch (error) {
      if (life.isOver()) return await new Promise<T>(() => {});
      ledger.rejected.push(...rootNow());
      throw error;
    } finally {
      life.signal.removeEventListener("abort", onDeath);
    }
  };
  return {
    ...db,
    transaction,
    exec: (sql, params) => transaction((tx) => tx.exec(sql, params)),
    execMany: (sql, rows) => transaction((tx) => tx.execMany(sql, rows)),
  };
}
