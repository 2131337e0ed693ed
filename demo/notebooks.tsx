/**
 * The notebooks of this device, when there is more than one: each belongs to one mesh.
 *
 * @module
 */

import { decodeGenesisBody, parseInviteLink } from "rowmesh/protocol";
import type { JSX } from "preact";
import { openNotebook } from "./session.ts";
import { currentNotebook, settings, type Notebook } from "./settings.ts";
import { attempt } from "./toasts.tsx";

export function Notebooks(): JSX.Element | null {
  const open = currentNotebook();
  const others = settings.value.notebooks.filter(({ database }) => database !== open.database);
  if (others.length === 0) return null;
  return (
    <div class="field" data-testid="notebooks">
      <span>Notebooks on this device</span>
      <p>{titleOf(open)} — open</p>
      {others.map((notebook) => (
        <button
          key={notebook.database}
          type="button"
          class="button"
          data-testid="open-notebook"
          onClick={() => attempt("open the other notebook", () => openNotebook(notebook))}
        >
          Open {titleOf(notebook)}
        </button>
      ))}
    </div>
  );
}

/** The name of its mesh, which the join link tells. */
function titleOf({ joinLink, database }: Notebook): string {
  if (joinLink === null) return `the notebook without a mesh (${database})`;
  try {
    const { name } = decodeGenesisBody(parseInviteLink(joinLink).genesis.bodyBytes);
    return `“${name}”`;
  } catch {
    // A link that can no longer be read names nothing, but its notebook still opens.
    return database;
  }
}
