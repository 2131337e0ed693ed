/**
 * The app's schema as rowmesh reads it: the tables of every version, numbered, with what decides
 * merging. Versions only add (docs/MERGE.md, "Schema"); `check-schema.ts` makes it.
 *
 * @module
 */

import type { KeyClass } from "./packed-key.ts";

/** The app's schema. rowmesh owns all DDL. */
export interface Schema {
  /** 1, and 1 more for each migration. */
  readonly version: number;
  /**
   * Version 1: one `CREATE TABLE … STRICT` (or `CREATE INDEX`) statement each. Order is part of the
   * format. Once released, neither these nor a migration may change; indexes may.
   */
  readonly tables: readonly string[];
  /** Version 2, 3, …, each as what it adds to the one before. */
  readonly migrations?: readonly SchemaMigration[];
}

/** From one schema version to the next. */
export interface SchemaMigration {
  /**
   * One of `ALTER TABLE … ADD COLUMN …`, `CREATE TABLE … STRICT`, `CREATE INDEX …` and
   * `DROP INDEX …` each, in order.
   */
  readonly statements: readonly string[];
}

export type ValueClass = KeyClass | "REAL" | "ANY";

/** A schema that passed: tables numbered in order of declaration, columns by SQLite's `cid`. */
export interface AppSchema extends SchemaVersion {
  readonly version: number;
  readonly indexes: readonly AppIndex[];
  /** From version 1 to this one, which comes last. */
  readonly versions: readonly SchemaVersion[];
}

/** What a version's tables are, whatever later ones add to them. */
export interface SchemaVersion {
  /** 64 hex digits: SHA-256 over what decides merging; blanks, comments and indexes left out. */
  readonly hash: string;
  /** A table that a later version leaves alone is the same object there. */
  readonly tables: readonly AppTable[];
  /** As declared: all of version 1, then what each adds. */
  readonly statements: readonly string[];
}

export interface AppTable {
  readonly name: string;
  readonly sql: string;
  /** In the order of the primary key. */
  readonly keys: readonly KeyColumn[];
  /** By number; null where the number is a key column's. */
  readonly columns: readonly (CellColumn | null)[];
}

export interface KeyColumn {
  readonly name: string;
  readonly number: number;
  readonly valueClass: KeyClass;
  readonly checks: readonly string[];
}

export interface CellColumn {
  readonly name: string;
  readonly number: number;
  readonly valueClass: ValueClass;
  readonly nullable: boolean;
  /** A literal as SQL, or null. */
  readonly defaultSql: string | null;
  /** SQL expressions over this column alone. */
  readonly checks: readonly string[];
}

export interface AppIndex {
  readonly name: string;
  /** As SQLite keeps it. */
  readonly sql: string;
}

/** What a changeset that names this version is judged and merged by: not later than the schema's. */
export function schemaVersionOf(schema: AppSchema, version: number): SchemaVersion {
  const named = schema.versions[version - 1];
  if (named === undefined) throw new RangeError(`schema version ${version} is not known here`);
  return named;
}

export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** Remembers the SQL made for each table: making it takes as long as running it. */
export const perTable = (make: (table: AppTable) => string): ((table: AppTable) => string) => {
  const sqlByTable = new WeakMap<AppTable, string>();
  return (table) => {
    let sql = sqlByTable.get(table);
    if (sql === undefined) sqlByTable.set(table, (sql = make(table)));
    return sql;
  };
};

/** `CHECK`s of one column as a query of one parameter: 1 valid, 0 not. */
export const checkSql = (column: KeyColumn | CellColumn): string =>
  // CAST gives the parameter the column's affinity; the value has its class already.
  `SELECT ${column.checks.map((check) => `(${check}) IS NOT FALSE`).join(" AND ")} FROM (SELECT ${
    column.valueClass === "ANY" ? "?1" : `CAST(?1 AS ${column.valueClass})`
  } AS ${quoteName(column.name)})`;
