/**
 * This device: your name, where the notebook is stored, and what the page may and may not do.
 *
 * @module
 */

import type { Mesh, MeshStatus } from "rowmesh";
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Icon } from "./icons.tsx";
import { Notebooks } from "./notebooks.tsx";
import { reopenSession } from "./session.ts";
import { NAME_CHARS_MAX, remember, settings } from "./settings.ts";
import { attempt, say } from "./toasts.tsx";

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
        <Keeping durable={status.storage.durable} />
        <dt>Site</dt>
        <dd>
          <code title={mesh.siteId}>{mesh.siteId.slice(0, 12)}…</code>
        </dd>
      </dl>
      {!isSecureContext && <InsecureNotice />}
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

/** Browsers may clear the storage of sites that did not ask, when space runs out. */
function Keeping(props: { durable: boolean }): JSX.Element | null {
  const [kept, setKept] = useState<boolean | null>(null);
  const storage: StorageManager | undefined = navigator.storage;
  useEffect(() => {
    attempt("ask how the storage is kept", async () =>
      setKept((await storage?.persisted()) ?? null),
    );
  }, []);
  if (!props.durable || kept === null) return null;
  const ask = async (): Promise<void> => {
    const granted = await storage.persist();
    setKept(granted);
    if (!granted) say("The browser did not promise it. Installing the app often helps.");
  };
  return (
    <>
      <dt>Kept</dt>
      <dd data-testid="kept" data-kept={kept}>
        {kept ? "for good: the browser promised not to clear it" : "until the browser needs space"}
        {!kept && (
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
    </>
  );
}

function NameForm(): JSX.Element {
  const [name, setName] = useState(settings.value.name ?? "");
  const rename = (event: SubmitEvent): void => {
    event.preventDefault();
    remember({ name: name.trim() });
    attempt("change the name", async () => {
      await reopenSession();
      say("Your new name is in the notebook.");
    });
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

/** What plain http costs, seen from a phone on the LAN. */
function InsecureNotice(): JSX.Element {
  return (
    <div class="problem" data-testid="insecure-notice">
      <Icon name="alert" />
      <div>
        <p>This page came over plain http.</p>
        <p class="quiet">
          Writing and syncing work as they are, signed and encrypted between devices. Over https the
          app would also open without a network, and keep its notebook in the faster private file
          system.
        </p>
      </div>
    </div>
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
