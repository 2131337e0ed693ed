/**
 * A modal sheet: at the bottom of a phone, at the side of a wide screen. The browser's own dialog
 * keeps the focus, closes on Escape and gives it back. A tap beside it does not close it: nobody
 * should lose a half-written note to a slip of the thumb.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { Icon } from "./icons.tsx";
import { errorWords } from "./words.ts";

export function Sheet(props: {
  title: string;
  testId: string;
  onClose: () => void;
  children: ComponentChildren;
}): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    // The browser gives the focus back when a dialog closes, but not when it is taken away.
    return () => {
      if (before instanceof HTMLElement) before.focus({ preventScroll: true });
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class="sheet"
      aria-labelledby={titleId}
      data-testid={props.testId}
      onClose={props.onClose}
    >
      <div class="sheet-body">
        <header class="sheet-head">
          <h2 id={titleId}>{props.title}</h2>
          <button
            type="button"
            class="icon-button"
            aria-label="Close"
            data-testid="sheet-close"
            onClick={() => dialog.current?.close()}
          >
            <Icon name="close" />
          </button>
        </header>
        {props.children}
      </div>
    </dialog>
  );
}

/**
 * A failure inside a sheet, in plain words.
 *
 * @param props.onAgain does it again with what was typed, offered where nothing stands against it;
 * "submit": the form around this does
 */
export function Problem(props: {
  doing: string;
  error: unknown;
  onAgain?: "submit" | (() => void);
}): JSX.Element {
  const { onAgain } = props;
  const { what, remedy, code, isOver } = errorWords(props.error);
  const problem = useRef<HTMLDivElement>(null);
  // A long sheet may have it below the screen's edge.
  useEffect(() => problem.current?.scrollIntoView({ block: "nearest" }), [props.error]);
  return (
    <div ref={problem} class="problem" role="alert" data-testid="problem">
      <Icon name="alert" />
      <div>
        <p>
          Could not {props.doing}. {what}
        </p>
        {remedy && <p class="quiet">{remedy}</p>}
        {code && <code>{code}</code>}
        {isOver && onAgain !== undefined && (
          <button
            type={onAgain === "submit" ? "submit" : "button"}
            class="button problem-again"
            data-testid="try-again"
            onClick={onAgain === "submit" ? undefined : onAgain}
          >
            Try again
          </button>
        )}
      </div>
    </div>
  );
}
