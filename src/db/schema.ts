/**
 * The app's schema: what rowmesh accepts of SQLite, so that cr-sqlite merges it alike everywhere.
 * SQLite itself parses the statements, in a scratch database; every rule below stands for a way in
 * which replicas would diverge or data be lost (docs/MERGE.md, "Schema").
 *
 * @module
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { encodeText } from "../protocol/bytes.ts";
import { MeshError } from "../protocol/errors.ts";
import { toHex } from "../protocol/ids.ts";
import { COLUMNS_MAX, SCHEMA_VERSION_MAX, TABLES_MAX } from "../protocol/limits.ts";
import { type DdlToken, ddlTokens, partsInParentheses } from "./ddl-tokens.ts";
import { type Engine, openEngine } from "./engine.ts";
import type { KeyClass } from "./packed-key.ts";
import { createMemoryDevice } from "./storage-memory.ts";

/** The app's schema. rowmesh owns all DDL. */
export interface Schema {
  /** 1, 2, 3 …; a change of `tables` needs a new number. */
  readonly version: number;
  /** One `CREATE TABLE … STRICT` (or `CREATE INDEX`) statement each. Order is part of the format. */
  readonly tables: readonly string[];
}

export type ValueClass = KeyClass | "REAL" | "ANY";

/** A schema that passed: tables numbered in order of declaration, columns by SQLite's `cid`. */
export interface AppSchema {
  readonly version: number;
  /** 64 hex digits: SHA-256 over what decides merging; blanks, comments and indexes left out. */
  readonly hash: string;
  readonly tables: readonly AppTable[];
  readonly indexes: readonly AppIndex[];
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

interface AppIndex {
  readonly name: string;
  readonly sql: string;
}

const NAME = /^[a-z_][a-z0-9_]*$/;
const LITERAL =
  /^(?:[+-]?\s*(?:\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+|0x[0-9a-f]+)|x?'(?:[^']|'')*'|null|true|false)$/i;
/** Their value changes with the clock, the connection or the build. */
const UNSTEADY =
  /^(?:current_time|current_date|current_timestamp|date|time|datetime|julianday|unixepoch|strftime|timediff|random|randomblob|changes|total_changes|last_insert_rowid|sqlite_\w+|crsql_\w+|load_extension|match|regexp)$/;

/** How a part of the parentheses begins that defines no column. */
const TABLE_CONSTRAINT = /^(?:constraint|primary|check|unique|foreign)$/;

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

/** @throws MeshError ERR_SCHEMA_INVALID naming the table, the column, the rule and the fix */
export async function checkSchema(schema: Schema, wasm: WebAssembly.Module): Promise<AppSchema> {
  const { version } = schema;
  if (!Number.isSafeInteger(version) || version < 1 || version > SCHEMA_VERSION_MAX) {
    throw invalid("schema", "version must be a whole number from 1 on");
  }
  const files = { database: createMemoryDevice(), journal: createMemoryDevice() };
  const scratch = await openEngine({ wasm, files, atomicity: "file" });
  try {
    const tables: AppTable[] = [];
    const indexes: AppIndex[] = [];
    for (const sql of schema.tables) {
      const tokens = ddlTokens(sql);
      if (tokens[1]?.text === "table") tables.push(checkTable(scratch, sql, tokens));
      else indexes.push(checkIndex(scratch, sql, tokens));
    }
    if (tables.length > TABLES_MAX) throw invalid("schema", `at most ${TABLES_MAX} tables`);
    return { version, hash: hashOf(version, tables), tables, indexes };
  } finally {
    scratch.close();
  }
}

const invalid = (where: string, why: string, cause?: unknown): MeshError =>
  new MeshError("ERR_SCHEMA_INVALID", `${where}: ${why}`, { cause });

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

function checkIndex(scratch: Engine, sql: string, tokens: readonly DdlToken[]): AppIndex {
  const [create, index, name] = tokens;
  if (create?.text !== "create" || index?.text !== "index" || name?.type !== "word") {
    throw invalid(
      sql.slice(0, 60),
      "only CREATE TABLE name (…) STRICT and CREATE INDEX name ON …; a UNIQUE index would hide rows of other devices: make what must be unique the primary key",
    );
  }
  assertName("index ", sql, name);
  const owned = tokens.find((token) => UNSTEADY.test(token.text));
  if (owned !== undefined) throw invalid(`index ${name.text}`, `no ${owned.text} in an index`);
  runInScratch(scratch, `index ${name.text}`, sql, tokens);
  return { name: name.text, sql };
}

function checkTable(scratch: Engine, sql: string, tokens: readonly DdlToken[]): AppTable {
  const [create, , name, open] = tokens;
  if (create?.text !== "create" || name === undefined || open?.text !== "(") {
    throw invalid(sql.slice(0, 60), "write CREATE TABLE name (…) STRICT, without IF NOT EXISTS");
  }
  assertName("table ", sql, name);
  const table = name.text;
  assertWords(table, tokens, sql);
  const checks = checksByColumn(table, sql, tokens);
  runInScratch(scratch, `table ${table}`, sql, tokens);
  if (!isStrict(scratch, table)) throw invalid(`table ${table}`, "add STRICT after the columns");
  assertNoForeign(scratch, table);
  const keys: { readonly order: number; readonly key: KeyColumn }[] = [];
  const columns: (CellColumn | null)[] = [];
  const info = scratch.prepare(`PRAGMA table_xinfo(${quoteName(table)})`);
  const rows: ColumnInfo[] = [];
  while (info.step()) {
    rows.push({
      number: info.integer(0),
      name: info.text(1),
      type: info.text(2).toUpperCase(),
      notNull: info.integer(3) === 1,
      defaultSql: info.stored(4) as string | null,
      keyOrder: info.integer(5),
    });
  }
  if (rows.length > COLUMNS_MAX) {
    throw invalid(`table ${table}`, `at most ${COLUMNS_MAX} columns`);
  }
  for (const row of rows) {
    const own = checks.get(row.name) ?? [];
    if (row.keyOrder > 0) {
      keys.push({ order: row.keyOrder, key: keyColumn(table, row, own) });
      columns.push(null);
    } else columns.push(cellColumn(scratch, table, row, own));
  }
  if (keys.length === 0) {
    throw invalid(`table ${table}`, "needs a primary key: id TEXT PRIMARY KEY NOT NULL");
  }
  const inOrder = keys.sort((a, b) => a.order - b.order).map(({ key }) => key);
  try {
    scratch.exec(`SELECT crsql_as_crr('${table}')`);
  } catch (cause) {
    throw invalid(`table ${table}`, "cr-sqlite cannot replicate it", cause);
  }
  return { name: table, sql, keys: inOrder, columns };
}

interface ColumnInfo {
  readonly number: number;
  readonly name: string;
  readonly type: string;
  readonly notNull: boolean;
  readonly defaultSql: string | null;
  readonly keyOrder: number;
}

function keyColumn(table: string, column: ColumnInfo, checks: readonly string[]): KeyColumn {
  const { name, number } = column;
  const valueClass = column.type === "INT" ? "INTEGER" : column.type;
  if (valueClass !== "INTEGER" && valueClass !== "TEXT" && valueClass !== "BLOB") {
    throw invalid(`column ${table}.${name}`, "a primary key is TEXT, BLOB or INTEGER");
  }
  if (!column.notNull) {
    throw invalid(`column ${table}.${name}`, "a primary key column must say NOT NULL");
  }
  return { name, number, valueClass, checks };
}

function cellColumn(
  scratch: Engine,
  table: string,
  column: ColumnInfo,
  checks: readonly string[],
): CellColumn {
  const { name, number, defaultSql } = column;
  const where = `column ${table}.${name}`;
  const nullable = !column.notNull;
  // STRICT has made SQLite refuse all but these and INT.
  const valueClass = (column.type === "INT" ? "INTEGER" : column.type) as ValueClass;
  if (defaultSql !== null && !LITERAL.test(defaultSql)) {
    throw invalid(where, "DEFAULT must be a literal; other values come from the app's INSERT");
  }
  const cell: CellColumn = { name, number, valueClass, nullable, defaultSql, checks };
  const literal = scratch.prepare(
    `SELECT typeof(${defaultSql ?? "NULL"}), ${defaultSql ?? "NULL"}`,
  );
  literal.step();
  const given = literal.text(0).toUpperCase();
  const value = literal.stored(1);
  literal.finalize();
  if (!nullable && value === null) {
    throw invalid(
      where,
      "NOT NULL needs a DEFAULT: rows arrive cell by cell (or leave NOT NULL out)",
    );
  }
  const fits =
    value === null ||
    valueClass === "ANY" ||
    given === valueClass ||
    (given === "INTEGER" && valueClass === "REAL");
  if (!fits) throw invalid(where, `DEFAULT must be of type ${valueClass}`);
  if (checks.length > 0) {
    const check = scratch.prepare(checkSql(cell));
    check.bindStored([value]);
    check.step();
    const passes = check.integer(0) === 1;
    check.finalize();
    if (!passes) throw invalid(where, "its DEFAULT (or NULL) must satisfy its CHECK");
  }
  return cell;
}

function assertName(kind: string, sql: string, { type, start, end }: DdlToken): void {
  // As written: where SQLite keeps capitals, cr-sqlite and the rules of a column would not find it.
  const name = sql.slice(start, end);
  const where = `${kind}${name}`;
  if (type !== "word" || !NAME.test(name)) {
    throw invalid(where, "names are written without quotes, from a-z (no capitals), 0-9 and _");
  }
  if (/crsql|^rowmesh_|^sqlite_/.test(name)) {
    throw invalid(
      where,
      "names with crsql, and those beginning with rowmesh_ or sqlite_, are taken",
    );
  }
}

const REFUSED_WORDS: Readonly<Record<string, string>> = {
  autoincrement: "AUTOINCREMENT counts alike on every device; use a random TEXT or BLOB id",
  unique: "UNIQUE cannot hold across devices; make what must be unique the primary key",
  references: "foreign keys cannot hold while rows arrive in any order; leave REFERENCES out",
  foreign: "foreign keys cannot hold while rows arrive in any order; leave FOREIGN KEY out",
  collate: "replicas compare keys and values bytewise; put COLLATE into the query or an index",
  conflict: "ON CONFLICT clauses would decide merges; put them into the INSERT",
  generated: "generated columns are not replicated; use a view or compute in the query",
};

function assertWords(table: string, tokens: readonly DdlToken[], sql: string): void {
  for (const token of tokens) {
    const why = token.type === "word" ? REFUSED_WORDS[token.text] : undefined;
    if (why !== undefined) throw invalid(placeOf(table, tokens, token), why);
  }
  // cr-sqlite looks for the word anywhere, comments included.
  if (/autoincrement/i.test(sql)) {
    throw invalid(
      `table ${table}`,
      "cr-sqlite takes the word AUTOINCREMENT amiss, also in comments",
    );
  }
}

/** The column whose definition the token is part of, or the table. */
function placeOf(table: string, tokens: readonly DdlToken[], token: DdlToken): string {
  const part = partsInParentheses(tokens, 3).parts.find((tokensOf) => tokensOf.includes(token));
  const first = part?.[0]?.text ?? "";
  return part === undefined || TABLE_CONSTRAINT.test(first)
    ? `table ${table}`
    : `column ${table}.${first}`;
}

/** The CHECKs of each column, after refusing those that look beyond it. */
function checksByColumn(
  table: string,
  sql: string,
  tokens: readonly DdlToken[],
): ReadonlyMap<string, readonly string[]> {
  const { parts } = partsInParentheses(tokens, 3);
  const definitions = parts.filter((part) => !TABLE_CONSTRAINT.test(part[0]?.text ?? ""));
  for (const [name] of definitions)
    if (name !== undefined) assertName(`column ${table}.`, sql, name);
  const names = definitions.map((part) => part[0]?.text ?? "");
  for (const part of parts.filter((other) => !definitions.includes(other))) {
    if (part.some(({ text }) => text === "check")) {
      throw invalid(`table ${table}`, "write each CHECK behind the one column it is about");
    }
  }
  const checks = new Map<string, string[]>();
  for (const part of definitions) {
    const name = part[0]?.text ?? "";
    for (const [at, token] of part.entries()) {
      if (token.type === "word" && token.text === "as" && part[at + 1]?.text === "(") {
        throw invalid(`column ${table}.${name}`, REFUSED_WORDS["generated"] as string);
      }
      if (token.text !== "check" || token.type !== "word") continue;
      const expression = insideParentheses(part, at + 1);
      assertCheckAlone(`column ${table}.${name}`, name, names, expression);
      checks.set(name, [...(checks.get(name) ?? []), canonicalText(sql, expression)]);
    }
  }
  return checks;
}

function insideParentheses(part: readonly DdlToken[], open: number): readonly DdlToken[] {
  const { close } = partsInParentheses(part, open);
  return part.slice(open + 1, close);
}

/** One blank for any run of blanks and comments. */
const canonicalText = (sql: string, tokens: readonly DdlToken[]): string => {
  let text = "";
  let previousEnd = tokens[0]?.start ?? 0;
  for (const { start, end } of tokens) {
    text += (start > previousEnd ? " " : "") + sql.slice(start, end);
    previousEnd = end;
  }
  return text;
};

function assertCheckAlone(
  where: string,
  name: string,
  names: readonly string[],
  expression: readonly DdlToken[],
): void {
  for (const { type, text } of expression) {
    const bare = (type === "quoted" ? text.slice(1, -1) : text).toLowerCase();
    if (type === "quoted" && !text.startsWith("'") && !/^x'/i.test(text)) {
      throw invalid(
        where,
        `write ${bare} in its CHECK without quotes, or as text in single quotes`,
      );
    }
    if (type !== "word") continue;
    if (bare !== name && names.includes(bare)) {
      throw invalid(where, `its CHECK may not look at ${bare}: cells merge one by one`);
    }
    if (UNSTEADY.test(bare) || /^(?:rowid|oid|_rowid_|select|like|glob)$/.test(bare)) {
      throw invalid(where, `no ${bare} in a CHECK: its answer depends on more than the value`);
    }
  }
}

/** To what SQLite says by itself. */
const FIXES: readonly (readonly [RegExp, string])[] = [
  [/datatype/, ": a STRICT column is INTEGER, REAL, TEXT, BLOB or ANY"],
  [/syntax error/, ": check the spelling there, and that no name is a keyword of SQL"],
];

function runInScratch(
  scratch: Engine,
  where: string,
  sql: string,
  tokens: readonly DdlToken[],
): void {
  const semicolon = tokens.findIndex(({ text, type }) => type === "mark" && text === ";");
  if (semicolon >= 0 && semicolon < tokens.length - 1) {
    throw invalid(where, "one statement per entry");
  }
  try {
    scratch.exec(sql);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "SQLite refuses it";
    const fix = FIXES.find(([pattern]) => pattern.test(why))?.[1] ?? "";
    throw invalid(where, `${why}${fix}`, cause);
  }
}

function isStrict(scratch: Engine, table: string): boolean {
  const list = scratch.prepare("SELECT strict FROM pragma_table_list WHERE name = ?");
  list.bindStored([table]);
  const strict = list.step() && list.integer(0) === 1;
  list.reset();
  return strict;
}

/** Belt and braces to the words: what SQLite itself understood. */
function assertNoForeign(scratch: Engine, table: string): void {
  const constraints = scratch.prepare(
    "SELECT (SELECT count(*) FROM pragma_index_list(?1) WHERE origin = 'u') + (SELECT count(*) FROM pragma_foreign_key_list(?1)) + (SELECT count(*) FROM pragma_table_xinfo(?1) WHERE hidden <> 0)",
  );
  constraints.bindStored([table]);
  constraints.step();
  const count = constraints.integer(0);
  constraints.reset();
  if (count > 0) {
    throw invalid(`table ${table}`, "no UNIQUE, no foreign key, no generated column");
  }
}
