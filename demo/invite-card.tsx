/**
 * Bringing devices together: an invite as QR code and link, joining by a link, and pairing.
 *
 * @module
 */

import type { Mesh } from "rowmesh";
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { inviteLink, parseInviteLink } from "rowmesh/protocol";
import { Icon } from "./icons.tsx";
import { inviteBaseUrl, isLoopback } from "./join-link.ts";
import { pairingWanted } from "./pair-sheet.tsx";
import { QrCode } from "./qr-code.tsx";
import { joinByLink } from "./session.ts";
import { currentNotebook, rememberJoinLink } from "./settings.ts";
import { Problem } from "./sheet.tsx";
import { attempt, say } from "./toasts.tsx";

export function InviteCard(props: { mesh: Mesh }): JSX.Element {
  const [link, setLink] = useState<string | null>(null);
  const invite = async (): Promise<void> => {
    const made = await props.mesh.invite({ role: "writer", baseUrl: inviteBaseUrl() });
    // The first invite founds the mesh: from now on the notebook belongs to it.
    if (currentNotebook().joinLink === null) rememberJoinLink(made);
    setLink(made);
  };
  return (
    <article class="card" aria-labelledby="invite-title">
      <h2 id="invite-title">Invite a device</h2>
      {link === null ? (
        <>
          <p class="quiet">Who opens the invite may read and write this notebook.</p>
          <button
            type="button"
            class="button button-main"
            data-testid="invite"
            onClick={() => attempt("make an invite", invite)}
          >
            <Icon name="link" /> Show an invite
          </button>
        </>
      ) : (
        <Invite link={link} onHide={() => setLink(null)} />
      )}
    </article>
  );
}

function Invite(props: { link: string; onHide: () => void }): JSX.Element {
  const { link } = props;
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(link);
    say("Copied the link.");
  };
  return (
    <div class="invite">
      <QrCode text={shortLink(link)} label="QR code of the invite link" testId="invite-qr" />
      {isLoopback() && (
        <p class="quiet">
          This page is open under an address that only works on this device. For others, open it
          under the address that the hub prints for your network.
        </p>
      )}
      <label class="field">
        <span>Link</span>
        <input
          type="text"
          readOnly
          class="mono"
          data-testid="invite-link"
          value={link}
          onFocus={(event) => event.currentTarget.select()}
        />
      </label>
      <div class="form-actions">
        <button type="button" class="button button-quiet" onClick={props.onHide}>
          Hide
        </button>
        {"clipboard" in navigator && (
          <button type="button" class="button" onClick={() => attempt("copy the link", copy)}>
            Copy link
          </button>
        )}
      </div>
    </div>
  );
}

/** What phones read well from a screen holds few addresses: those under this page's own come first. */
const QR_HUBS_MAX = 2;

function shortLink(link: string): string {
  const invite = parseInviteLink(link);
  const hubs = [...invite.hubs].sort((one, other) => Number(isHere(other)) - Number(isHere(one)));
  return inviteLink({ ...invite, hubs: hubs.slice(0, QR_HUBS_MAX) }, inviteBaseUrl());
}

function isHere(address: string): boolean {
  return address.split("/")[2] === location.hostname;
}

export function PairCard(): JSX.Element {
  return (
    <article class="card" aria-labelledby="pair-title">
      <h2 id="pair-title">Pair without a hub</h2>
      <p class="quiet">
        Two devices side by side link by showing each other a code: no hub, no internet.
      </p>
      <button
        type="button"
        class="button"
        data-testid="pair"
        onClick={() => {
          pairingWanted.value = true;
        }}
      >
        <Icon name="qr" /> Pair with a device
      </button>
    </article>
  );
}

export function JoinCard(props: { mesh: Mesh }): JSX.Element {
  const [link, setLink] = useState("");
  const [problem, setProblem] = useState<{ error: unknown } | null>(null);
  const join = (event: SubmitEvent): void => {
    event.preventDefault();
    setProblem(null);
    joinByLink(props.mesh, link.trim()).then(
      (outcome) => {
        setLink("");
        if (outcome === "joined") say("Joined the mesh.");
      },
      (error: unknown) => setProblem({ error }),
    );
  };
  return (
    <article class="card" aria-labelledby="join-title">
      <h2 id="join-title">Join by a link</h2>
      <form class="join" onSubmit={join}>
        <label class="field">
          <span>Invite or hub link</span>
          <input
            type="text"
            class="mono"
            data-testid="join-link"
            required
            autocomplete="off"
            placeholder="https://…#join=…"
            value={link}
            onInput={(event) => setLink(event.currentTarget.value)}
          />
        </label>
        {problem && <Problem doing="join" error={problem.error} />}
        <button type="submit" class="button" data-testid="join">
          Join
        </button>
      </form>
    </article>
  );
}
