/**
 * Brings the file's tables to the app's schema: all of a first version, or what a later one adds.
 * One transaction; rowmesh issues every DDL statement there ever is.
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";
import type { Engine } from "./engine.ts";
import { type AppSchema, type AppTable, checkSchema, quoteName, type Schema } from "./schema.ts";

/**
 * Inside an open transaction with nothing else in it.
 * @throws ERR_SCHEMA_INVALID when the change is not purely an addition
 */
export async function installSchema(
  engine: Engine,
  schema: Schema,
  checked: AppSchema,
  wasm: WebAssembly.Module,
): Promise<void> {
  const latest = latestSchema(engine);
  if (latest !== null && latest.version > checked.version) {
    throw invalid(
      `the file was written by schema version ${latest.version}, this app has ${checked.version}: upgrade the app`,
    );
  }
  if (latest?.version === checked.version) {
    if (latest.hash === checked.hash) return;
    throw invalid(`version ${checked.version} was declared differently before: count it up`);
  }
  const before =
    latest === null
      ? null
      : await checkSchema({ version: latest.version, tables: latest.statements }, wasm);
  for (const index of before?.indexes ?? []) engine.exec(`DROP INDEX ${quoteName(index.name)}`);
  for (const [at, table] of (before?.tables ?? []).entries()) {
    addColumns(engine, table, checked.tables[at]);
  }
  for (const table of checked.tables.slice(before?.tables.length ?? 0)) createTable(engine, table);
  for (const index of checked.indexes) engine.exec(index.sql);
  const keep = engine.prepare("INSERT INTO rowmesh_schema VALUES (?, ?, ?)");
  keep.bindStored([BigInt(checked.version), checked.hash, JSON.stringify(schema.tables)]);
  keep.run();
}

const invalid = (why: string): MeshError => new MeshError("ERR_SCHEMA_INVALID", why);

interface KeptSchema {
  readonly version: number;
  readonly hash: string;
  readonly statements: readonly string[];
}

/** The schema the file's tables have now; null when it has none. */
export function latestSchema(engine: Engine): KeptSchema | null {
  const select = engine.prepare(
    "SELECT version, hash, statements FROM rowmesh_schema ORDER BY version DESC LIMIT 1",
  );
  const latest = select.step()
    ? {
        version: select.integer(0),
        hash: select.text(1),
        statements: JSON.parse(select.text(2)) as string[],
      }
    : null;
  select.reset();
  return latest;
}

export function schemaHashes(engine: Engine): ReadonlyMap<number, string> {
  const hashes = new Map<number, string>();
  const select = engine.prepare("SELECT version, hash FROM rowmesh_schema");
  while (select.step()) hashes.set(select.integer(0), select.text(1));
  return hashes;
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

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

function addColumns(engine: Engine, before: AppTable, after: AppTable | undefined): void {
  const { name } = before;
  if (after === undefined || after.name !== name) {
    throw invalid(`table ${name} must stay, in its place: new tables come last`);
  }
  const kept = after.columns.slice(0, before.columns.length);
  if (!same(before.keys, after.keys) || !same(before.columns, kept)) {
    throw invalid(
      `table ${name}: columns are only added, at the end; names, types, keys, defaults and checks stay`,
    );
  }
  const added = after.columns.slice(before.columns.length);
  if (added.length === 0) return;
  engine.exec(`SELECT crsql_begin_alter('${name}')`);
  for (const column of added) {
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
