/**
 * One `CREATE TABLE`, `CREATE INDEX` or added column, as rowmesh accepts it of SQLite, so that
 * cr-sqlite merges it alike everywhere. SQLite itself parses the statement, in a scratch database;
 * every rule below stands for a way in which replicas would diverge or data be lost
 * (docs/MERGE.md, "Schema").
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";
import { COLUMNS_MAX } from "../protocol/limits.ts";
import { type DdlToken, partsInParentheses } from "./ddl-tokens.ts";
import type { Engine } from "./engine.ts";
import {
  type AppIndex,
  type AppTable,
  type CellColumn,
  checkSql,
  type KeyColumn,
  quoteName,
  type ValueClass,
} from "./schema.ts";

const NAME = /^[a-z_][a-z0-9_]*$/;
const LITERAL =
  /^(?:[+-]?\s*(?:\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+|0x[0-9a-f]+)|x?'(?:[^']|'')*'|null|true|false)$/i;
/** Their value changes with the clock, the connection or the build. */
const UNSTEADY =
  /^(?:current_time|current_date|current_timestamp|date|time|datetime|julianday|unixepoch|strftime|timediff|random|randomblob|changes|total_changes|last_insert_rowid|sqlite_\w+|crsql_\w+|load_extension|match|regexp)$/;

/** How a part of the parentheses begins that defines no column. */
const TABLE_CONSTRAINT = /^(?:constraint|primary|check|unique|foreign)$/;

/** The table is made in `scratch`, and not yet replicated there. */
export function checkTable(scratch: Engine, sql: string, tokens: readonly DdlToken[]): AppTable {
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
  for (const row of columnsOf(scratch, table)) {
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

/** As SQLite understood them, by number. */
function columnsOf(scratch: Engine, table: string): readonly ColumnInfo[] {
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
  return rows;
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

/**
 * `ALTER TABLE name ADD COLUMN definition`: the table with one more column at its end.
 * @param definition the tokens from the column's name on
 */
export function checkAddedColumn(
  scratch: Engine,
  before: AppTable,
  sql: string,
  tokens: readonly DdlToken[],
  definition: readonly DdlToken[],
): AppTable {
  const [name] = definition;
  const table = before.name;
  if (name === undefined) throw invalid(`table ${table}`, "ADD COLUMN needs a name and a type");
  assertName(`column ${table}.`, sql, name);
  const where = `column ${table}.${name.text}`;
  for (const token of definition) {
    const why = token.type === "word" ? (REFUSED_WORDS[token.text] ?? KEY_STAYS[token.text]) : null;
    if (why) throw invalid(where, why);
  }
  const names = [...before.keys, ...before.columns].flatMap((column) => column?.name ?? []);
  const checks = checksOf(table, sql, definition, [...names, name.text]);
  runInScratch(scratch, where, sql, tokens);
  assertNoForeign(scratch, table);
  const info = columnsOf(scratch, table).at(-1) as ColumnInfo;
  const column = cellColumn(scratch, table, info, checks);
  assertSteadyDefault(scratch, where, column);
  return {
    ...before,
    sql: storedSql(scratch, table),
    columns: [...before.columns, column],
  };
}

/**
 * A device that upgrades shows the default in the rows it has; one that joins later stores it in
 * them. SQLite 3.44 does not always make the same of it: ANY DEFAULT 1.0 is INTEGER 1 in the first.
 */
function assertSteadyDefault(
  scratch: Engine,
  where: string,
  { name, valueClass, defaultSql }: CellColumn,
): void {
  if (defaultSql === null) return;
  const column = quoteName(name);
  scratch.exec(
    `CREATE TABLE rowmesh_default (rowmesh_id INTEGER PRIMARY KEY) STRICT; INSERT INTO rowmesh_default VALUES (1); ALTER TABLE rowmesh_default ADD COLUMN ${column} ${valueClass} DEFAULT ${defaultSql}; INSERT INTO rowmesh_default (rowmesh_id) VALUES (2)`,
  );
  const select = scratch.prepare(
    `SELECT count(DISTINCT typeof(${column}) || ' ' || quote(${column})) FROM rowmesh_default`,
  );
  select.step();
  const steady = select.integer(0) === 1;
  select.finalize();
  scratch.exec("DROP TABLE rowmesh_default");
  if (!steady) {
    throw invalid(
      where,
      `DEFAULT ${defaultSql} would be another value in old rows than in new ones; write it otherwise`,
    );
  }
}

const KEY_STAYS: Readonly<Record<string, string>> = {
  primary: "the primary key of a table never changes: make a new table",
};

/** The statement that makes it as it is now, as SQLite keeps it. */
function storedSql(scratch: Engine, name: string): string {
  const select = scratch.prepare("SELECT sql FROM sqlite_schema WHERE name = ?");
  select.bindStored([name]);
  select.step();
  const sql = select.text(0);
  select.reset();
  return sql;
}

export function checkIndex(scratch: Engine, sql: string, tokens: readonly DdlToken[]): AppIndex {
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
  return { name: name.text, sql: storedSql(scratch, name.text) };
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
  const checks = new Map<string, readonly string[]>();
  for (const part of definitions) {
    const name = part[0]?.text ?? "";
    checks.set(name, checksOf(table, sql, part, names));
  }
  return checks;
}

/** Of the column that `part` defines; `names` are all columns of the table. */
function checksOf(
  table: string,
  sql: string,
  part: readonly DdlToken[],
  names: readonly string[],
): readonly string[] {
  const name = part[0]?.text ?? "";
  const where = `column ${table}.${name}`;
  const checks: string[] = [];
  for (const [at, token] of part.entries()) {
    if (token.type === "word" && token.text === "as" && part[at + 1]?.text === "(") {
      throw invalid(where, REFUSED_WORDS["generated"] as string);
    }
    if (token.text !== "check" || token.type !== "word") continue;
    const expression = insideParentheses(part, at + 1);
    assertCheckAlone(where, name, names, expression);
    checks.push(canonicalText(sql, expression));
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

export function runInScratch(
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

export const invalid = (where: string, why: string, cause?: unknown): MeshError =>
  new MeshError("ERR_SCHEMA_INVALID", `${where}: ${why}`, { cause });
