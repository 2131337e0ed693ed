/**
 * Pairing without a hub: each of two devices shows a code and reads the other's, by camera or as
 * text. Whose code it is, is shown and asked before that device is trusted.
 *
 * @module
 */

import { signal, type Signal } from "@preact/signals";
import { isMeshError, type Mesh, type Pairing, type PairingPeer } from "rowmesh";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Icon } from "./icons.tsx";
import { inviteBaseUrl } from "./join-link.ts";
import { Fingerprint, OwnCode, TheirCode } from "./pair-codes.tsx";
import { openNewNotebook, status } from "./session.ts";
import { currentNotebook, remember, rememberJoinLink, settings } from "./settings.ts";
import { Problem, Sheet } from "./sheet.tsx";
import { attempt } from "./toasts.tsx";

/** Whether the sheet is wanted: on the first run, before there is a mesh to pair. */
export const pairingWanted: Signal<boolean> = signal(false);

type Step =
  | { readonly type: "preparing" }
  | { readonly type: "exchanging"; readonly pairing: Pairing }
  | {
      readonly type: "asking" | "linking";
      readonly pairing: Pairing;
      readonly code: string;
      readonly peer: PairingPeer;
    }
  | { readonly type: "linked"; readonly peer: PairingPeer }
  | { readonly type: "failed"; readonly error: unknown };

export function PairSheet(props: { mesh: Mesh }): JSX.Element {
  const { mesh } = props;
  const [attempts, setAttempts] = useState(0);
  const [step, setStep] = useState<Step>({ type: "preparing" });
  useEffect(() => {
    setStep({ type: "preparing" });
    return openPairing(mesh, setStep);
  }, [mesh, attempts]);
  return (
    <Sheet title="Pair two devices" testId="pair-sheet" onClose={close}>
      <PairStep
        key={step.type}
        mesh={mesh}
        step={step}
        go={setStep}
        onAgain={() => setAttempts(attempts + 1)}
        onClose={close}
      />
    </Sheet>
  );
}

function close(): void {
  pairingWanted.value = false;
}

/** @returns what ends it; a link that was made stays */
function openPairing(mesh: Mesh, setStep: (step: Step) => void): () => void {
  let opened: Pairing | null = null;
  let wanted = true;
  mesh.pair().then(
    (pairing) => {
      opened = pairing;
      if (wanted) setStep({ type: "exchanging", pairing });
      else attempt("end the pairing", pairing.close);
    },
    (error: unknown) => wanted && setStep({ type: "failed", error }),
  );
  return () => {
    wanted = false;
    if (opened !== null) attempt("end the pairing", opened.close);
  };
}

function PairStep(props: {
  mesh: Mesh;
  step: Step;
  go: (step: Step) => void;
  onAgain: () => void;
  onClose: () => void;
}): JSX.Element {
  const { mesh, step, go, onAgain, onClose } = props;
  switch (step.type) {
    case "preparing":
      return <p role="status">Making this device’s code …</p>;
    case "exchanging":
      return <Exchange pairing={step.pairing} go={go} />;
    case "asking":
      return <Question mesh={mesh} step={step} go={go} />;
    case "linking":
      return (
        <Body testId="pair-linking" heading={`Let ${whose(step.peer)} read this code`}>
          <p role="status">
            When it has read the code and agreed, the two link by themselves. This device waits.
          </p>
          <progress aria-label="Linking" />
          <OwnCode pairing={step.pairing} />
        </Body>
      );
    case "linked":
      return (
        <Body testId="pair-linked" heading={`Linked with ${whose(step.peer)}`}>
          <p role="status">
            The two keep each other up to date from now on, also through devices that know both.
          </p>
          <footer class="form-actions">
            <button type="button" class="button button-main" onClick={onClose}>
              Done
            </button>
          </footer>
        </Body>
      );
    case "failed":
      return <Failure error={step.error} onAgain={onAgain} />;
  }
}

function Failure(props: { error: unknown; onAgain: () => void }): JSX.Element {
  const { error, onAgain } = props;
  const isForeign = isMeshError(error, "ERR_MESH_DIFFERENT");
  return (
    <Body testId="pair-failed" heading="Not linked">
      {isForeign ? (
        <p>
          The other device’s notebook belongs to another mesh than this one, and the two cannot be
          mixed. You can pair with it in a new notebook; this one stays on the device, as it is.
        </p>
      ) : (
        <Problem doing="pair" error={error} />
      )}
      <footer class="form-actions">
        <button type="button" class="button" data-testid="pair-again" onClick={onAgain}>
          Start again
        </button>
        {isForeign && (
          <button
            type="button"
            class="button button-main"
            data-testid="pair-new-notebook"
            onClick={() => attempt("open a new notebook", () => openNewNotebook(null))}
          >
            Open a new notebook
          </button>
        )}
      </footer>
    </Body>
  );
}

function Exchange(props: { pairing: Pairing; go: (step: Step) => void }): JSX.Element {
  const { pairing, go } = props;
  const [filming, setFilming] = useState(false);
  return (
    <Body testId="pair-exchange" heading="Each shows a code, each reads the other’s">
      {/* A phone's screen holds one of the two, and faces away from what its camera sees. */}
      {!filming && <OwnCode pairing={pairing} />}
      <TheirCode
        pairing={pairing}
        filming={filming}
        onFilming={setFilming}
        onRead={(code, peer) => go({ type: "asking", pairing, code, peer })}
      />
    </Body>
  );
}

function Question(props: {
  mesh: Mesh;
  step: Extract<Step, { type: "asking" | "linking" }>;
  go: (step: Step) => void;
}): JSX.Element {
  const { mesh, step, go } = props;
  const { pairing, code, peer } = step;
  const trust = (): void => {
    go({ ...step, type: "linking" });
    link(mesh, pairing, code).then(
      (linked) => go({ type: "linked", peer: linked }),
      (error: unknown) => go({ type: "failed", error }),
    );
  };
  return (
    <Body testId="pair-question" heading="Is this the device before you?">
      <p>
        {peer.name === null ? (
          "A device that this notebook does not know yet."
        ) : (
          <>
            It is known here as <strong>{peer.name}</strong>.
          </>
        )}{" "}
        Compare the two screens: each device’s signs must be the same on both.
      </p>
      <Fingerprint label="The other device" text={peer.fingerprint} testId="their-fingerprint" />
      <Fingerprint label="This device" text={pairing.fingerprint} testId="own-fingerprint" />
      <p class="quiet">Who you link with may read and write this notebook.</p>
      <footer class="form-actions">
        <button
          type="button"
          class="button button-quiet"
          data-testid="pair-refuse"
          onClick={() => go({ type: "exchanging", pairing })}
        >
          No, another one
        </button>
        <button type="button" class="button button-main" data-testid="pair-trust" onClick={trust}>
          <Icon name="check" /> Yes, link
        </button>
      </footer>
    </Body>
  );
}

async function link(mesh: Mesh, pairing: Pairing, code: string): Promise<PairingPeer> {
  const peer = await pairing.connect(code);
  // Pairing takes a device online that was offline by choice.
  if (settings.value.offline) remember({ offline: false });
  if (currentNotebook().joinLink === null)
    rememberJoinLink(await mesh.invite({ role: "writer", baseUrl: inviteBaseUrl() }));
  return peer;
}

/** One step; its heading takes the focus, so that a screen reader begins there. */
function Body(props: {
  heading: string;
  testId: string;
  children: ComponentChildren;
}): JSX.Element {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  return (
    <div class="form" data-testid={props.testId}>
      <h3 ref={heading} tabIndex={-1}>
        {props.heading}
      </h3>
      {props.children}
    </div>
  );
}

/** A device that was new is known by name soon after it is linked. */
function whose({ peerId, name }: PairingPeer): string {
  const peer = status.value?.peers.find((known) => known.peerId === peerId);
  return name ?? peer?.name ?? "the other device";
}
