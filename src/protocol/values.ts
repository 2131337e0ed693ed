/**
 * SQLite values in memory.
 *
 * @module
 */

/**
 * What apps pass in and get out. In: a `bigint` and an integral `number` within ±2^53 bind INTEGER,
 * any other `number` REAL (a STRICT REAL column makes 5 into 5.0 by itself). Out: INTEGER is a
 * `number` within ±2^53, else a `bigint`; REAL is a `number`.
 */
export type SqlValue = string | number | bigint | Uint8Array | null;
export type SqlRow = Readonly<Record<string, SqlValue>>;

/**
 * A value that knows its storage class: what changesets carry. INTEGER is always `bigint` (int64),
 * REAL always `number` (never NaN), so 5 and 5.0 stay apart.
 */
export type StoredValue = bigint | number | string | Uint8Array | null;
