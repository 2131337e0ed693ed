/**
 * A live query as a hook: the rows now, and again after each commit that touched them.
 *
 * @module
 */

import type { Mesh, SqlRow, SqlValue } from "rowmesh";
import { useEffect, useState } from "preact/hooks";
import { complain } from "./toasts.tsx";

export interface LiveRows<Row> {
  readonly rows: readonly Row[];
  /** The query and parameters that `rows` answer: lags behind while a new query runs. */
  readonly key: string;
}

/** Null until the first answer. While a changed query runs, the old answer stays. */
export function useLiveRows<Row extends SqlRow>(
  mesh: Mesh,
  sql: string,
  params: readonly SqlValue[],
): LiveRows<Row> | null {
  const [answer, setAnswer] = useState<LiveRows<Row> | null>(null);
  const key = liveKey(sql, params);
  useEffect(
    () =>
      mesh.db.watch<Row>(sql, params, ({ rows }) => setAnswer({ rows, key }), {
        onError: (error) => complain("read the notebook", error),
      }),
    // `key` stands for `sql` and `params`.
    [mesh, key],
  );
  return answer;
}

export function liveKey(sql: string, params: readonly SqlValue[]): string {
  return sql + "\n" + params.map(String).join("\n");
}
