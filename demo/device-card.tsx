/**
 * This device: your name, where the notebook is stored, and what the page may and may not do.
 *
 * @module
 */

import type { Mesh, MeshStatus } from "rowmesh";
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Notebooks } from "./notebooks.tsx";
import { NAME_CHARS_MAX, remember, settings } from "./settings.ts";
import { attempt, say } from "./toasts.tsx";
import { bytes, count } from "./words.ts";

export function DeviceCard(props: { mesh: Mesh; status: MeshStatus }): JSX.Element {
  const { mesh, status } = props;
  return (
    <article class="card" aria-labelledby="device-title">
      <h2 id="device-title">This device</h2>
      <NameForm />
      <Notebooks />
      <dl class="facts">
        <dt>Stored in</dt>
        <dd data-testid="storage" data-kind={status.storage.kind}>
          {storageWords(status.storage)}
        </dd>
        <Keeping storage={status.storage} />
        {status.unsent > 0 && (
          <>
            <dt>Only here</dt>
            <dd data-testid="unsent">
              {count(status.unsent, "change")} that no other device is known to have
            </dd>
          </>
        )}
        <dt>Site</dt>
        <dd>
          <code title={mesh.siteId}>{mesh.siteId.slice(0, 12)}…</code>
        </dd>
      </dl>
      <Rebuild mesh={mesh} />
    </article>
  );
}

function storageWords({ kind }: MeshStatus["storage"]): string {
  switch (kind) {
    case "opfs":
      return "this browser’s private file system";
    case "indexeddb":
      return "this browser’s database (IndexedDB)";
    case "memory":
      return "memory only: gone when this page closes";
    case "directory":
      return "files";
  }
}

/** What the browser promised, how much room there is, and when it may clear what is kept. */
function Keeping(props: { storage: MeshStatus["storage"] }): JSX.Element {
  const { persisted, usageBytes, quotaBytes, eviction, durable } = props.storage;
  // The status follows within a minute.
  const [granted, setGranted] = useState(false);
  const kept = persisted === true || granted;
  const ask = async (): Promise<void> => {
    const answer = await navigator.storage.persist();
    setGranted(answer);
    if (!answer) say("The browser did not promise it. Installing the app often helps.");
  };
  return (
    <>
      <dt>Kept</dt>
      <dd data-testid="kept" data-kept={kept}>
        {granted && persisted !== true ? "The browser has promised to keep it." : eviction}
        {durable && persisted === false && !granted && (
          <button
            type="button"
            class="text-button"
            data-testid="keep"
            onClick={() => attempt("ask the browser", ask)}
          >
            Ask it to keep this
          </button>
        )}
      </dd>
      {usageBytes !== null && (
        <>
          <dt>Room</dt>
          <dd>
            {bytes(usageBytes)} used{quotaBytes !== null && ` of ${bytes(quotaBytes)}`}
          </dd>
        </>
      )}
    </>
  );
}

function NameForm(): JSX.Element {
  const [name, setName] = useState(settings.value.name ?? "");
  const rename = (event: SubmitEvent): void => {
    event.preventDefault();
    remember({ name: name.trim() });
    say("Your new name goes into the notebook.");
  };
  const changed = name.trim() !== "" && name.trim() !== settings.value.name;
  return (
    <form class="join" onSubmit={rename}>
      <label class="field">
        <span>Your name</span>
        <input
          type="text"
          data-testid="rename"
          required
          maxLength={NAME_CHARS_MAX}
          autocomplete="name"
          value={name}
          onInput={(event) => setName(event.currentTarget.value)}
        />
      </label>
      {changed && (
        <button type="submit" class="button">
          Rename
        </button>
      )}
    </form>
  );
}

function Rebuild(props: { mesh: Mesh }): JSX.Element {
  const rebuild = async (): Promise<void> => {
    await props.mesh.rebuild();
    say("Rebuilt every table from the signed log.");
  };
  return (
    <details class="quiet">
      <summary>Repair</summary>
      <p>
        The tables are a view of the signed log. Rebuilding makes them anew from it; nothing is
        lost, and nothing is sent.
      </p>
      <button
        type="button"
        class="button button-quiet"
        data-testid="rebuild"
        onClick={() => attempt("rebuild the tables", rebuild)}
      >
        Rebuild the tables
      </button>
    </details>
  );
}
