/**
 * A list of any length that draws and reads only what is near the screen. Rows have one fixed
 * height; the query is cut into pages by `LIMIT ? OFFSET ?`, and the pages around the screen are
 * watched as one window.
 *
 * @module
 */

import type { Mesh, SqlRow, SqlValue } from "rowmesh";
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { liveKey, useLiveRows } from "./live-rows.ts";

/** A window holds the page above the screen's first row and three more: 40 rows below it at least. */
const PAGE_ROWS = 20;
const WINDOW_ROWS = 4 * PAGE_ROWS;

interface LongListProps<Row extends SqlRow & { readonly id: string }> {
  readonly mesh: Mesh;
  readonly label: string;
  /** Ends in `LIMIT ? OFFSET ?`. */
  readonly pageSql: string;
  readonly params: readonly SqlValue[];
  readonly rowCount: number;
  /** Pixels. */
  readonly rowHeight: number;
  readonly draw: (row: Row) => JSX.Element;
}

export function LongList<Row extends SqlRow & { readonly id: string }>(
  props: LongListProps<Row>,
): JSX.Element {
  const { mesh, pageSql, params, rowCount, rowHeight } = props;
  const list = useRef<HTMLDivElement>(null);
  const first = useFirstPageRow(list, rowCount, rowHeight);
  const windowParams = [...params, WINDOW_ROWS, first];
  const answer = useLiveRows<Row>(mesh, pageSql, windowParams);
  const shown = useShown(answer, first, liveKey(pageSql, windowParams));
  return (
    <div
      ref={list}
      class="long-list"
      role="list"
      aria-label={props.label}
      style={{ height: `${rowCount * rowHeight}px` }}
      onKeyDown={(event) => moveFocus(event)}
    >
      {shown.rows.map((row, index) => (
        <div
          key={row.id}
          class="long-list-row"
          role="listitem"
          aria-setsize={rowCount}
          aria-posinset={shown.first + index + 1}
          style={{ transform: `translateY(${(shown.first + index) * rowHeight}px)` }}
        >
          {props.draw(row)}
        </div>
      ))}
    </div>
  );
}

/** The rows last answered, at the place they were asked for: old rows stay until new ones come. */
function useShown<Row>(
  answer: { readonly rows: readonly Row[]; readonly key: string } | null,
  first: number,
  key: string,
): { readonly rows: readonly Row[]; readonly first: number } {
  const last = useRef<{ rows: readonly Row[]; first: number }>({ rows: [], first: 0 });
  if (answer !== null && answer.key === key) last.current = { rows: answer.rows, first };
  return last.current;
}

/** The first row of the window: a whole page above the screen's first row. */
function useFirstPageRow(
  list: { readonly current: HTMLElement | null },
  rowCount: number,
  rowHeight: number,
): number {
  const [first, setFirst] = useState(0);
  useEffect(() => {
    const measure = (): void => {
      if (list.current === null) return;
      const above = Math.max(0, -list.current.getBoundingClientRect().top);
      const page = Math.floor(above / rowHeight / PAGE_ROWS) - 1;
      const lastPage = Math.max(0, Math.ceil(rowCount / PAGE_ROWS) - 2);
      setFirst(Math.min(lastPage, Math.max(0, page)) * PAGE_ROWS);
    };
    measure();
    addEventListener("scroll", measure, { passive: true });
    addEventListener("resize", measure);
    return () => {
      removeEventListener("scroll", measure);
      removeEventListener("resize", measure);
    };
  }, [rowCount, rowHeight]);
  return first;
}

/** Arrow keys walk the rows, as in any list. */
function moveFocus(event: KeyboardEvent): void {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const row = (event.target as HTMLElement).closest(".long-list-row");
  const next = event.key === "ArrowDown" ? row?.nextElementSibling : row?.previousElementSibling;
  const button = next?.querySelector("button");
  if (!button) return;
  event.preventDefault();
  button.focus({ preventScroll: true });
  button.scrollIntoView({ block: "nearest" });
}
