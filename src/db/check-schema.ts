/**
 * The app's schema and its migrations, checked before anything is installed: every statement runs in
 * a scratch database, version after version.
 *
 * @module
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { encodeText } from "../protocol/bytes.ts";
import { toHex } from "../protocol/ids.ts";
import { SCHEMA_VERSION_MAX, TABLES_MAX } from "../protocol/limits.ts";
import { checkMigrationStatement } from "./check-migration.ts";
import { checkIndex, checkTable, invalid } from "./check-table.ts";
import { ddlTokens } from "./ddl-tokens.ts";
import { type Engine, openEngine } from "./engine.ts";
import type { AppIndex, AppSchema, AppTable, Schema, SchemaVersion } from "./schema.ts";
import { createMemoryDevice } from "./storage-memory.ts";

/** @throws MeshError ERR_SCHEMA_INVALID naming the statement or the column, the rule and the fix */
export async function checkSchema(schema: Schema, wasm: WebAssembly.Module): Promise<AppSchema> {
  assertVersion(schema);
  const files = { database: createMemoryDevice(), journal: createMemoryDevice() };
  const scratch = await openEngine({ wasm, files, atomicity: "file" });
  try {
    let shape = declaredShape(scratch, schema.tables);
    const first = versionOf(1, shape, schema.tables);
    const versions: [...SchemaVersion[]] = [first];
    let last = first;
    for (const { statements } of schema.migrations ?? []) {
      const version = versions.length + 1;
      for (const sql of statements) shape = checkMigrationStatement(scratch, version, shape, sql);
      last = versionOf(version, shape, statements);
      versions.push(last);
    }
    for (const { name } of shape.tables) assertReplicates(scratch, name);
    return { ...last, version: schema.version, indexes: shape.indexes, versions };
  } finally {
    scratch.close();
  }
}

function assertVersion({ version, migrations = [] }: Schema): void {
  if (!Number.isSafeInteger(version) || version < 1 || version > SCHEMA_VERSION_MAX) {
    throw invalid("schema", "version must be a whole number from 1 on");
  }
  if (version === migrations.length + 1) return;
  throw invalid(
    "schema",
    `version ${version} with ${migrations.length} migrations: tables stays what version 1 was, and each later version is one entry of migrations, { statements: ["ALTER TABLE … ADD COLUMN …"] }; so version is 1 + migrations.length`,
  );
}

/** What the statements so far have made. */
export interface SchemaShape {
  readonly tables: readonly AppTable[];
  readonly indexes: readonly AppIndex[];
}

function declaredShape(scratch: Engine, statements: readonly string[]): SchemaShape {
  const tables: AppTable[] = [];
  const indexes: AppIndex[] = [];
  for (const sql of statements) {
    const tokens = ddlTokens(sql);
    if (tokens[1]?.text === "table") tables.push(checkTable(scratch, sql, tokens));
    else indexes.push(checkIndex(scratch, sql, tokens));
  }
  return { tables, indexes };
}

function versionOf(
  version: number,
  { tables }: SchemaShape,
  statements: readonly string[],
): SchemaVersion {
  if (tables.length > TABLES_MAX) throw invalid("schema", `at most ${TABLES_MAX} tables`);
  return { hash: hashOf(version, tables), tables, statements };
}

const hashOf = (version: number, tables: readonly AppTable[]): string => {
  const model = tables.map(({ name, keys, columns }) => [
    name,
    keys.map((key) => [key.name, key.number, key.valueClass, key.checks]),
    columns.map(
      (column) =>
        column && [
          column.name,
          column.valueClass,
          column.nullable,
          column.defaultSql,
          column.checks,
        ],
    ),
  ]);
  return toHex(sha256(encodeText(JSON.stringify(["rowmesh schema 1", version, model]))));
};

function assertReplicates(scratch: Engine, table: string): void {
  try {
    scratch.exec(`SELECT crsql_as_crr('${table}')`);
  } catch (cause) {
    throw invalid(`table ${table}`, "cr-sqlite cannot replicate it", cause);
  }
}
