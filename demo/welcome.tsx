/**
 * The screens around an open notebook: the first run, opening, and a failure to open.
 *
 * @module
 */

import type { JSX } from "preact";
import { textOf } from "./animal-fields.tsx";
import { Icon } from "./icons.tsx";
import { pairingWanted } from "./pair-sheet.tsx";
import { openSession, reopenSession } from "./session.ts";
import { NAME_CHARS_MAX, remember, settings } from "./settings.ts";
import { Problem } from "./sheet.tsx";

export function Welcome(): JSX.Element {
  return (
    <main class="welcome" data-testid="welcome">
      <Mark />
      <h1>Field notebook</h1>
      <p>
        Write down the animals you see, wherever you are. Everything is kept on this device; devices
        that meet bring each other up to date, without a server.
      </p>
      {settings.value.pendingLink !== null && (
        <p class="chip chip-invited" data-testid="invited">
          <Icon name="link" size={16} /> You were invited to a mesh
        </p>
      )}
      <form class="form" onSubmit={begin}>
        <label class="field">
          <span>Your name, as the others will see it</span>
          <input
            type="text"
            name="name"
            data-testid="your-name"
            required
            pattern=".*\S.*"
            title="At least one letter"
            maxLength={NAME_CHARS_MAX}
            autocomplete="name"
            autofocus
          />
        </label>
        <button type="submit" class="button button-main button-wide" data-testid="begin">
          Open the notebook
        </button>
        <button type="submit" class="button button-wide" value="pair" data-testid="begin-pairing">
          <Icon name="qr" /> Pair with a device first
        </button>
      </form>
    </main>
  );
}

function begin(event: SubmitEvent): void {
  event.preventDefault();
  const form = new FormData(event.currentTarget as HTMLFormElement);
  remember({ name: textOf(form, "name") });
  const isPairing = (event.submitter as HTMLButtonElement | null)?.value === "pair";
  pairingWanted.value = isPairing;
  // Whom one pairs with brings the mesh: the hub's, if a hub serves this page, may be another.
  void openSession(isPairing ? "pairing" : "hub");
}

export function Opening(): JSX.Element {
  return (
    <main class="welcome" data-testid="opening" aria-busy="true">
      <Mark />
      <p role="status">Opening the notebook …</p>
    </main>
  );
}

export function OpenFailed(props: { error: unknown }): JSX.Element {
  return (
    <main class="welcome" data-testid="open-failed">
      <Mark />
      <h1>The notebook stays shut</h1>
      <Problem doing="open it" error={props.error} />
      <button type="button" class="button button-main" onClick={() => void reopenSession()}>
        Try again
      </button>
    </main>
  );
}

function Mark(): JSX.Element {
  return <img class="mark" src="icon.svg" width={88} height={88} alt="" />;
}
