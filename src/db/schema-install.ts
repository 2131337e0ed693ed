/**
 * Brings the file's tables to the app's schema, from nothing or from the version the file has, in
 * one transaction. rowmesh issues every DDL statement there ever is.
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";
import type { Engine } from "./engine.ts";
import { type AppIndex, type AppSchema, type AppTable, quoteName } from "./schema.ts";

/**
 * Inside an open transaction with nothing else in it: cr-sqlite knows new tables only after COMMIT.
 * @throws ERR_SCHEMA_NEWER when a later version of the app wrote the file; ERR_SCHEMA_INVALID when
 * the app declares a version differently than the file had it
 */
export function installSchema(engine: Engine, schema: AppSchema): void {
  const kept = keptVersions(engine);
  const from = Math.max(0, ...kept.keys());
  if (from > schema.version) {
    throw new MeshError(
      "ERR_SCHEMA_NEWER",
      `the database has schema version ${from}, this app ${schema.version}: load the newer app`,
    );
  }
  assertHistory(kept, schema);
  const before = schema.versions[from - 1]?.tables ?? [];
  for (const [at, table] of schema.tables.entries()) {
    const old = before[at];
    if (old === undefined) createTable(engine, table);
    else addColumns(engine, table, old.columns.length);
  }
  syncIndexes(engine, schema);
  const keep = engine.prepare("INSERT INTO rowmesh_schema VALUES (?, ?, ?)");
  for (const [at, { hash, statements }] of schema.versions.entries()) {
    if (kept.has(at + 1)) continue;
    keep.bindStored([BigInt(at + 1), hash, JSON.stringify(statements)]);
    keep.run();
  }
}

interface KeptVersion {
  readonly hash: string;
  readonly statements: readonly string[];
}

function keptVersions(engine: Engine): ReadonlyMap<number, KeptVersion> {
  const kept = new Map<number, KeptVersion>();
  const select = engine.prepare("SELECT version, hash, statements FROM rowmesh_schema");
  while (select.step()) {
    const statements = JSON.parse(select.text(2)) as string[];
    kept.set(select.integer(0), { hash: select.text(1), statements });
  }
  return kept;
}

/** What was released stays: others were told of it under its number. */
function assertHistory(kept: ReadonlyMap<number, KeptVersion>, schema: AppSchema): void {
  for (const [version, { hash, statements }] of kept) {
    const declared = schema.versions[version - 1];
    if (declared?.hash === hash) continue;
    const was = statements.filter((sql) => !declared?.statements.includes(sql)).join("; ");
    throw new MeshError(
      "ERR_SCHEMA_INVALID",
      `version ${version} was declared differently when this database took it${was === "" ? "" : ` (${was.slice(0, 200)})`}: put it back as it was, and write the change as a further migration`,
    );
  }
}

function createTable(engine: Engine, table: AppTable): void {
  engine.exec(table.sql);
  engine.exec(`SELECT crsql_as_crr('${table.name}')`);
  engine.exec(guardSql(table));
}

/** A changed primary key would leave the row's other cells behind at the peers. */
const guardSql = ({ name, keys }: AppTable): string => {
  const columns = keys.map((key) => quoteName(key.name));
  const changed = columns.map((column) => `NEW.${column} IS NOT OLD.${column}`).join(" OR ");
  return `CREATE TRIGGER ${quoteName(`rowmesh_guard_${name}`)} BEFORE UPDATE OF ${columns.join(", ")} ON ${quoteName(name)} WHEN ${changed} BEGIN SELECT RAISE(ABORT, 'the primary key of a row never changes: delete the row and insert another'); END`;
};

/** Those from number `from` on. Rows that are there show the column's default, and gain no clock entry. */
function addColumns(engine: Engine, { name, columns }: AppTable, from: number): void {
  if (columns.length === from) return;
  engine.exec(`SELECT crsql_begin_alter('${name}')`);
  for (const column of columns.slice(from)) {
    if (column === null) continue;
    const parts = [
      quoteName(column.name),
      column.valueClass,
      column.nullable ? "" : "NOT NULL",
      column.defaultSql === null ? "" : `DEFAULT ${column.defaultSql}`,
      ...column.checks.map((check) => `CHECK (${check})`),
    ];
    engine.exec(`ALTER TABLE ${quoteName(name)} ADD COLUMN ${parts.join(" ")}`);
  }
  engine.exec(`SELECT crsql_commit_alter('${name}')`);
}

/** Indexes decide nothing about merging: the file simply gets those that are declared now. */
function syncIndexes(engine: Engine, { tables, indexes }: AppSchema): void {
  const owned = new Set(tables.map(({ name }) => name));
  const wanted = new Map(indexes.map((index) => [index.name, index]));
  const select = engine.prepare(
    "SELECT name, sql, tbl_name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL",
  );
  const present: AppIndex[] = [];
  while (select.step()) {
    if (owned.has(select.text(2))) present.push({ name: select.text(0), sql: select.text(1) });
  }
  for (const { name, sql } of present) {
    if (wanted.get(name)?.sql === sql) wanted.delete(name);
    else engine.exec(`DROP INDEX ${quoteName(name)}`);
  }
  for (const { sql } of wanted.values()) engine.exec(sql);
}
