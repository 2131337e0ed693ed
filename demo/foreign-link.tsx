/**
 * A link to another mesh: a notebook belongs to one mesh, so the person chooses.
 *
 * @module
 */

import type { JSX } from "preact";
import { foreignLink, openNewNotebook } from "./session.ts";
import { Sheet } from "./sheet.tsx";
import { attempt } from "./toasts.tsx";

export function ForeignLink(): JSX.Element | null {
  const link = foreignLink.value;
  if (link === null) return null;
  return (
    <Sheet title="Another mesh" testId="foreign-link" onClose={stay}>
      <div class="form">
        <p>
          The link leads to another mesh than this notebook’s. The two cannot be mixed. You can open
          it as a notebook of its own; this one stays on the device, as it is.
        </p>
        <footer class="form-actions">
          <button type="button" class="button button-quiet" onClick={stay}>
            Stay here
          </button>
          <button
            type="button"
            class="button button-main"
            onClick={() => attempt("open the other notebook", () => openNewNotebook(link))}
          >
            Open a new notebook
          </button>
        </footer>
      </div>
    </Sheet>
  );
}

function stay(): void {
  foreignLink.value = null;
}
