/**
 * The app's schema.
 *
 * @module
 */

/** The app's schema. rowmesh owns all DDL. */
export interface Schema {
  /** 1, 2, 3 …; a change of `tables` needs a new number. */
  readonly version: number;
  /** One `CREATE TABLE … STRICT` (or `CREATE INDEX`) statement each. Order is part of the format. */
  readonly tables: readonly string[];
}
