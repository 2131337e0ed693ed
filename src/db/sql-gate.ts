/**
 * What an app's SQL may do: read its tables and change their rows, one statement at a time. Schema,
 * transactions, settings and everything of cr-sqlite and rowmesh belong to rowmesh.
 *
 * Three fences, each sufficient for most of it:
 * 1. the first word is one of eight, so no COMMIT, PRAGMA, ATTACH, VACUUM or DDL begins;
 * 2. the text never contains `crsql` or `rowmesh_`, not even in a literal. SQLite takes `'x'` for
 *    a name in places, and reports a CTE's name where it reports a trigger's; so only a text
 *    without these names can be trusted when it says "inside the trigger t__crsql_itrig";
 * 3. SQLite's authorizer sees every table, column and function that the statement compiles to.
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";

/** https://sqlite.org/c3ref/c_alter_table.html; every other action is refused. */
const SQLITE_DELETE = 9;
const SQLITE_INSERT = 18;
const SQLITE_READ = 20;
const SQLITE_SELECT = 21;
const SQLITE_UPDATE = 23;
const SQLITE_FUNCTION = 31;
const SQLITE_RECURSIVE = 33;

const SQLITE_OK = 0;
const SQLITE_DENY = 1;

const FIRST_WORDS = /^(?:select|with|values|insert|replace|update|delete|explain)\b/i;
const BLANKS: ReadonlySet<string> = new Set([" ", "\t", "\n", "\f", "\r", ";"]);
const OWNED_NAMES = /crsql|rowmesh_/i;
/** Virtual tables that would show or do more than rows: settings, pages, byte code, cr-sqlite's own. */
const FORBIDDEN_TABLES =
  /^(?:crsql_|rowmesh_|pragma_|sqlite_(?!schema$|master$)|bytecode$|tables_used$|clset$)|__crsql_/i;
const FORBIDDEN_FUNCTIONS = /^(?:crsql_|load_extension$|fts5$|sqlite_log$)/i;

/** What one statement touches, by table name. */
export interface StatementAccess {
  readonly reads: ReadonlySet<string>;
  readonly writes: ReadonlySet<string>;
}

export interface GateWatch extends StatementAccess {
  /** For SQLite's authorizer: 0 lets it through, 1 refuses. */
  readonly authorize: (
    action: number,
    first: string | null,
    second: string | null,
    innermostTriggerOrView: string | null,
  ) => number;
  /** Why the last refusal, as a sentence; null when nothing was refused. */
  readonly refusal: () => string | null;
}

/** @throws ERR_SQL_FORBIDDEN for what the text alone gives away */
export const assertTextAllowed = (sql: string): void => {
  const statement = skipBlanksAndComments(sql);
  if (statement === "") throw new MeshError("ERR_SQL", "the statement is empty");
  if (sql.includes("\0"))
    throw forbidden("SQL text ends at a NUL character; pass it as a parameter");
  if (!FIRST_WORDS.test(statement)) {
    throw forbidden(
      `only SELECT, VALUES, INSERT, UPDATE, DELETE are for apps, not ${statement.slice(0, 20)}`,
    );
  }
  if (OWNED_NAMES.test(sql)) {
    throw forbidden("names with crsql or rowmesh_ are not for apps; pass such text as a parameter");
  }
};

/** What is left of `sql` from the first token on that is not a semicolon. Linear in its length. */
export const skipBlanksAndComments = (sql: string): string => {
  for (let at = 0; ;) {
    const isLineComment = sql.startsWith("--", at);
    if (isLineComment || sql.startsWith("/*", at)) {
      const close = isLineComment ? "\n" : "*/";
      const end = sql.indexOf(close, at + 2);
      // SQLite, too, lets the end of the text close a comment.
      if (end === -1) return "";
      at = end + close.length;
    } else if (BLANKS.has(sql.charAt(at))) at += 1;
    else return sql.slice(at);
  }
};

export const forbidden = (why: string): MeshError => new MeshError("ERR_SQL_FORBIDDEN", why);

/** One per compilation. */
export const watchStatement = (): GateWatch => {
  const reads = new Set<string>();
  const writes = new Set<string>();
  let refusal: string | null = null;
  const refuse = (why: string): number => {
    refusal ??= why;
    return SQLITE_DENY;
  };
  return {
    reads,
    writes,
    refusal: () => refusal,
    authorize: (action, first, second, innermost) => {
      // cr-sqlite's triggers and rowmesh's guards do what apps may not. Their names cannot be
      // borrowed: fence 2.
      if (innermost !== null && OWNED_NAMES.test(innermost)) return SQLITE_OK;
      switch (action) {
        case SQLITE_SELECT:
        case SQLITE_RECURSIVE:
          return SQLITE_OK;
        case SQLITE_FUNCTION:
          if (second !== null && FORBIDDEN_FUNCTIONS.test(second)) {
            return refuse(`the function ${second} is not for apps`);
          }
          return SQLITE_OK;
        case SQLITE_READ:
          if (first === null || FORBIDDEN_TABLES.test(first)) {
            return refuse(`the table ${first ?? "?"} is not for apps`);
          }
          reads.add(first);
          return SQLITE_OK;
        case SQLITE_INSERT:
        case SQLITE_UPDATE:
        case SQLITE_DELETE:
          // sqlite_schema may be read, never written.
          if (first === null || FORBIDDEN_TABLES.test(first) || /^sqlite_/i.test(first)) {
            return refuse(`the table ${first ?? "?"} is not for apps to change`);
          }
          writes.add(first);
          return SQLITE_OK;
        // A number of another library's list, not a union of ours: what is not allowed is refused.
        default:
          return refuse("only reading and changing rows is for apps");
      }
    },
  };
};
