/**
 * One statement of a migration: it adds, or it is refused with the reason (docs/MERGE.md, "Changing
 * the schema"). Devices upgrade at different times and write meanwhile, so what an older version
 * declared stays true for ever.
 *
 * @module
 */

import { isMeshError, MeshError } from "../protocol/errors.ts";
import type { SchemaShape } from "./check-schema.ts";
import { checkAddedColumn, checkIndex, checkTable, invalid, runInScratch } from "./check-table.ts";
import { type DdlToken, ddlTokens } from "./ddl-tokens.ts";
import type { Engine } from "./engine.ts";
import type { AppIndex, AppTable } from "./schema.ts";

/** @throws ERR_SCHEMA_INVALID naming the migration and the statement */
export function checkMigrationStatement(
  scratch: Engine,
  version: number,
  shape: SchemaShape,
  sql: string,
): SchemaShape {
  try {
    return added(scratch, shape, sql);
  } catch (error) {
    if (!isMeshError(error, "ERR_SCHEMA_INVALID")) throw error;
    const why = error.message.slice("ERR_SCHEMA_INVALID: ".length);
    throw new MeshError(
      "ERR_SCHEMA_INVALID",
      `migration to version ${version}, "${shortened(sql)}": ${why}`,
      { cause: error },
    );
  }
}

const shortened = (sql: string): string => {
  const line = sql.replaceAll(/\s+/g, " ").trim();
  return line.length > 80 ? `${line.slice(0, 80)}…` : line;
};

function added(scratch: Engine, shape: SchemaShape, sql: string): SchemaShape {
  const { tables, indexes } = shape;
  const tokens = ddlTokens(sql);
  const [first, second] = tokens;
  switch (`${first?.text} ${second?.text}`) {
    case "create table":
      return { indexes, tables: [...tables, checkTable(scratch, sql, tokens)] };
    case "create index":
    case "create unique":
      return { tables, indexes: [...indexes, checkIndex(scratch, sql, tokens)] };
    case "drop index":
      return { tables, indexes: dropIndex(scratch, indexes, sql, tokens) };
    case "alter table":
      return { indexes, tables: addColumn(scratch, tables, sql, tokens) };
  }
  const why = REFUSED[`${first?.text} ${second?.text}`] ?? REFUSED[first?.text ?? ""];
  throw invalid("refused", why ?? ONLY);
}

const ONLY =
  "a migration is ALTER TABLE … ADD COLUMN, CREATE TABLE … STRICT, CREATE INDEX or DROP INDEX, one statement per entry";
const DROPPED =
  "devices that have not upgraded still write it, and their changes must find their place; leave it, and stop reading it";
const DATA =
  "a migration holds no data: every device would write it again as its own, over what others changed meanwhile; give the column a DEFAULT, compute it in the query, or let one device do it in a transaction";

/** By the first word, or the first two. */
const REFUSED: Readonly<Record<string, string>> = {
  "drop table": DROPPED,
  update: DATA,
  insert: DATA,
  replace: DATA,
  delete: DATA,
  with: DATA,
};

/** By the word after the table's name. */
const REFUSED_ALTERATIONS: Readonly<Record<string, string>> = {
  drop: DROPPED,
  rename:
    "devices that have not upgraded know the old name, and cr-sqlite would take every cell for a new one; add another column or table and read both",
  alter:
    "types, NOT NULL, defaults and checks of a column never change: the values of older devices would not fit; add another column",
};

function addColumn(
  scratch: Engine,
  tables: readonly AppTable[],
  sql: string,
  tokens: readonly DdlToken[],
): readonly AppTable[] {
  const [, , name, verb] = tokens;
  const at = tables.findIndex((table) => table.name === name?.text);
  const before = tables[at];
  if (before === undefined) {
    throw invalid(
      "refused",
      `no table ${name?.text ?? ""}: ${tables.map((t) => t.name).join(", ")}`,
    );
  }
  if (verb?.text !== "add") {
    throw invalid(`table ${before.name}`, REFUSED_ALTERATIONS[verb?.text ?? ""] ?? ONLY);
  }
  const definition = tokens.slice(tokens[4]?.text === "column" ? 5 : 4);
  const after = checkAddedColumn(scratch, before, sql, tokens, definition);
  return tables.with(at, after);
}

function dropIndex(
  scratch: Engine,
  indexes: readonly AppIndex[],
  sql: string,
  tokens: readonly DdlToken[],
): readonly AppIndex[] {
  const name = tokens[2]?.text ?? "";
  if (!indexes.some((index) => index.name === name)) {
    throw invalid(`index ${name}`, "no index of that name was created before");
  }
  runInScratch(scratch, `index ${name}`, sql, tokens);
  return indexes.filter((index) => index.name !== name);
}
