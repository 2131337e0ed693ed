/**
 * Short messages at the edge of the screen: what was done, with an undo, and what failed, in plain
 * words. Errors stay until they are closed. Dialogs show their own errors inside: what lies outside
 * a modal dialog cannot be reached.
 *
 * @module
 */

import { signal, type Signal } from "@preact/signals";
import type { JSX } from "preact";
import { Icon } from "./icons.tsx";
import { errorWords } from "./words.ts";

interface Toast {
  readonly id: number;
  readonly tone: "done" | "problem";
  readonly text: string;
  readonly remedy: string | null;
  readonly code: string | null;
  readonly action: { readonly label: string; readonly run: () => void } | null;
}

const SHOWN_MS = 8_000;
const TOASTS_MAX = 4;

const toasts: Signal<readonly Toast[]> = signal([]);
let lastId = 0;

export function say(
  text: string,
  action: Toast["action"] = null,
  shown: "briefly" | "untilClosed" = "briefly",
): void {
  const id = add({ tone: "done", text, remedy: null, code: null, action });
  if (shown === "briefly") setTimeout(() => dismiss(id), SHOWN_MS);
}

/** Shows a failure. @param doing completes "Could not …". @param again does it again */
export function complain(doing: string, error: unknown, again?: () => void): void {
  console.error(`could not ${doing}`, error);
  const { what, remedy, code, isOver } = errorWords(error);
  const action = isOver && again !== undefined ? { label: "Try again", run: again } : null;
  add({ tone: "problem", text: `Could not ${doing}. ${what}`, remedy, code, action });
}

/** Runs an async event handler; a failure is shown, never swallowed. */
export function attempt(doing: string, run: () => Promise<unknown>): void {
  run().catch((error: unknown) => complain(doing, error, () => attempt(doing, run)));
}

function add(toast: Omit<Toast, "id">): number {
  lastId += 1;
  // What was merely done makes room; an undo or a problem stays.
  const kept = toasts.value.filter(({ tone, action }) => tone === "problem" || action !== null);
  toasts.value = [...kept, { ...toast, id: lastId }].slice(-TOASTS_MAX);
  return lastId;
}

function dismiss(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

export function Toasts(): JSX.Element {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((toast) => (
        <div key={toast.id} class={`toast toast-${toast.tone}`} data-testid={`toast-${toast.tone}`}>
          <div class="toast-text">
            <p>{toast.text}</p>
            {toast.remedy && <p class="toast-remedy">{toast.remedy}</p>}
            {toast.code && <code class="toast-code">{toast.code}</code>}
          </div>
          {toast.action && <ActionButton toast={toast} action={toast.action} />}
          <button
            type="button"
            class="icon-button"
            aria-label="Close message"
            onClick={() => dismiss(toast.id)}
          >
            <Icon name="close" />
          </button>
        </div>
      ))}
    </div>
  );
}

function ActionButton(props: { toast: Toast; action: NonNullable<Toast["action"]> }): JSX.Element {
  return (
    <button
      type="button"
      class="button button-quiet"
      data-testid="toast-action"
      onClick={() => {
        dismiss(props.toast.id);
        props.action.run();
      }}
    >
      {props.action.label}
    </button>
  );
}
