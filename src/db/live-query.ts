/**
 * Live queries: run again after commits that touched a table the query reads, views resolved.
 *
 * @module
 */

import { equalBytes } from "../protocol/bytes.ts";
import { isMeshError, MeshError } from "../protocol/errors.ts";
import type { SqlRow, SqlValue } from "../protocol/values.ts";
import type { Engine } from "./engine.ts";
import type { MeshDatabase } from "./sql-runner.ts";

export interface LiveQueries {
  readonly watch: MeshDatabase["watch"];
  /** After each commit. */
  readonly changed: (tables: ReadonlySet<string>) => void;
  readonly close: () => void;
}

interface LiveQuery {
  /** Null until the first run. */
  reads: ReadonlySet<string> | null;
  readonly refresh: () => void;
}

/** `read` runs on the one connection, outside of any transaction. */
export function createLiveQueries(
  read: <T>(run: (engine: Engine) => T) => Promise<T>,
): LiveQueries {
  const queries = new Set<LiveQuery>();
  return {
    // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as MeshDatabase declares it
    watch: <Row extends SqlRow>(
      sql: string,
      params: readonly SqlValue[],
      listener: (result: { readonly rows: Row[] }) => void,
      { onError }: { readonly onError?: (error: Error) => void } = {},
    ) => {
      let last: readonly SqlRow[] | null = null;
      let state: "idle" | "queued" | "stale" = "idle";

      const run = async (): Promise<void> => {
        const rows = await read((engine) => {
          // From here on a commit is news.
          state = "queued";
          return readRows(engine, query, sql, params);
        });
        if (!queries.has(query) || (last !== null && sameRows(last, rows))) return;
        last = rows;
        listener({ rows: rows as Row[] });
      };
      const refresh = (): void => {
        if (state !== "idle") {
          state = "stale";
          return;
        }
        state = "queued";
        void run()
          .catch((error: unknown) => {
            if (isMeshError(error, "ERR_CLOSED")) return;
            // What does not compile never will: rowmesh changes no schema while it is open.
            if (query.reads === null && isWrong(error)) queries.delete(query);
            onError?.(error as Error);
          })
          .then(() => {
            const again = state === "stale" && queries.has(query);
            state = "idle";
            if (again) refresh();
          });
      };
      const query: LiveQuery = { reads: null, refresh };
      queries.add(query);
      refresh();
      return () => {
        queries.delete(query);
      };
    },
    changed: (tables) => {
      for (const { reads, refresh } of queries) {
        if (reads === null || [...tables].some((table) => reads.has(table))) refresh();
      }
    },
    close: () => queries.clear(),
  };
}

const isWrong = (error: unknown): boolean =>
  isMeshError(error, "ERR_SQL") || isMeshError(error, "ERR_SQL_FORBIDDEN");

function readRows(
  engine: Engine,
  query: LiveQuery,
  sql: string,
  params: readonly SqlValue[],
): SqlRow[] {
  const { statement, reads, writes } = engine.prepareGated(sql);
  if (writes.size > 0)
    throw new MeshError("ERR_SQL_FORBIDDEN", "watch takes a query, not a change");
  query.reads = reads;
  statement.bindSql(params);
  const rows: SqlRow[] = [];
  try {
    while (statement.step()) rows.push(statement.sqlRow());
  } finally {
    if (!engine.trapped()) statement.reset();
  }
  return rows;
}

const sameRows = (a: readonly SqlRow[], b: readonly SqlRow[]): boolean =>
  a.length === b.length && a.every((row, at) => sameRow(row, b[at] as SqlRow));

const sameRow = (a: SqlRow, b: SqlRow): boolean =>
  Object.keys(a).every((column) => {
    const x = a[column] as SqlValue;
    const y = b[column] as SqlValue;
    return x instanceof Uint8Array && y instanceof Uint8Array ? equalBytes(x, y) : Object.is(x, y);
  });
