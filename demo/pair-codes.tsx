/**
 * The two codes of a pairing: this device's, to be shown, and the other's, to be read.
 *
 * @module
 */

import { isMeshError, type Pairing, type PairingPeer } from "rowmesh";
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { CameraReader, hasCamera } from "./camera-reader.tsx";
import { Icon } from "./icons.tsx";
import { QrCode } from "./qr-code.tsx";
import { Problem } from "./sheet.tsx";
import { attempt } from "./toasts.tsx";

export function OwnCode(props: { pairing: Pairing }): JSX.Element {
  const { code, fingerprint } = props.pairing;
  const [copied, setCopied] = useState(false);
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(code);
    setCopied(true);
  };
  return (
    <section class="pair-part" aria-label="This device’s code">
      <QrCode text={code} label="QR code of this device" testId="pair-qr" />
      <Fingerprint label="This device" text={fingerprint} testId="own-fingerprint" />
      <details class="quiet">
        <summary>As text</summary>
        <label class="field">
          <span>Send it to the other device in any way you like</span>
          <textarea
            readOnly
            rows={4}
            class="mono"
            data-testid="pair-code"
            onFocus={(event) => event.currentTarget.select()}
          >
            {code}
          </textarea>
        </label>
        {"clipboard" in navigator && (
          <button type="button" class="button" onClick={() => attempt("copy the code", copy)}>
            <Icon name={copied ? "check" : "link"} />
            <span role="status">{copied ? "Copied" : "Copy"}</span>
          </button>
        )}
      </details>
    </section>
  );
}

export function TheirCode(props: {
  pairing: Pairing;
  filming: boolean;
  onFilming: (filming: boolean) => void;
  onRead: (code: string, peer: PairingPeer) => void;
}): JSX.Element {
  const { pairing, filming, onFilming, onRead } = props;
  const [problem, setProblem] = useState<{ error: unknown } | null>(null);
  const [sawOther, setSawOther] = useState(false);
  const read = (code: string, onFailure: (error: unknown) => void): void => {
    try {
      onRead(code, pairing.read(code));
    } catch (error) {
      if (!isMeshError(error)) throw error;
      onFailure(error);
    }
  };
  return (
    <section class="pair-part" aria-label="The other device’s code">
      {filming && (
        <CameraReader
          onText={(text) => read(text, () => setSawOther(true))}
          hint={
            sawOther
              ? "That is another kind of code. Point the camera at the one in the other device’s “Pair two devices”."
              : "Point the camera at the other screen’s code."
          }
        />
      )}
      {hasCamera() ? (
        <button
          type="button"
          class={`button ${filming ? "button-quiet" : "button-main"}`}
          data-testid="pair-camera"
          onClick={() => {
            setProblem(null);
            setSawOther(false);
            onFilming(!filming);
          }}
        >
          <Icon name="camera" /> {filming ? "Stop the camera" : "Read it with the camera"}
        </button>
      ) : (
        <p class="quiet" data-testid="no-camera">
          {isSecureContext
            ? "This browser gives pages no camera: exchange the codes as text."
            : "Browsers give the camera to https pages only, and this one came over plain http: exchange the codes as text."}
        </p>
      )}
      <ReadForm onRead={(code) => read(code, (error) => setProblem({ error }))} />
      {problem && <Problem doing="use that code" error={problem.error} />}
    </section>
  );
}

function ReadForm(props: { onRead: (code: string) => void }): JSX.Element {
  const [code, setCode] = useState("");
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    props.onRead(code);
  };
  return (
    <form class="join" onSubmit={submit}>
      <label class="field">
        <span>The other device’s code, as text</span>
        <textarea
          class="mono"
          rows={3}
          data-testid="pair-their-code"
          required
          autocomplete="off"
          spellcheck={false}
          value={code}
          onInput={(event) => setCode(event.currentTarget.value)}
        />
      </label>
      {code.trim() !== "" && (
        <button type="submit" class="button" data-testid="pair-read">
          Read
        </button>
      )}
    </form>
  );
}

export function Fingerprint(props: { label: string; text: string; testId: string }): JSX.Element {
  return (
    <p class="fingerprint">
      <span class="quiet">{props.label}</span>
      <code data-testid={props.testId}>{props.text}</code>
    </p>
  );
}
