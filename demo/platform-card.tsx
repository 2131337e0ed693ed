/**
 * What this page cannot do because of its address or its browser, what that means, and the way out.
 * Absent when nothing is missing.
 *
 * @module
 */

import type { MeshStatus } from "rowmesh";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Icon } from "./icons.tsx";
import { describeHub, type HubDescription } from "./join-link.ts";
import { attempt } from "./toasts.tsx";

type Lack = MeshStatus["platform"]["lacks"][number];

export function PlatformCard(props: { status: MeshStatus }): JSX.Element | null {
  const { lacks, secureContext } = props.status.platform;
  if (lacks.length === 0) return null;
  const isInsecure = secureContext === false;
  return (
    <article class="card platform" aria-labelledby="platform-title" data-testid="platform">
      <h2 id="platform-title">
        <Icon name="alert" />{" "}
        {isInsecure ? "This page came over plain http" : "This browser cannot do everything"}
      </h2>
      <p class="quiet">
        Writing and syncing work as they are, signed and encrypted between devices.
      </p>
      {isInsecure && <WayToHttps />}
      <details>
        <summary>What is missing, and what to do</summary>
        <ul class="lacks">
          {lacks.map(({ feature, effect }) => (
            <li key={feature} data-testid="lack" data-feature={feature}>
              {effect}
            </li>
          ))}
        </ul>
        <Remedies lacks={lacks} />
      </details>
    </article>
  );
}

/** Many lacks have one remedy. */
function Remedies(props: { lacks: readonly Lack[] }): JSX.Element {
  const remedies = [...new Set(props.lacks.map(({ remedy }) => remedy))];
  return (
    <>
      {remedies.map((remedy) => (
        <p key={remedy}>{withCode(remedy)}</p>
      ))}
    </>
  );
}

/** What stands between backticks is typed into a terminal. */
function withCode(text: string): ComponentChildren {
  return text.split("`").map((part, index) => (index % 2 === 1 ? <code>{part}</code> : part));
}

/** The hub's https address, when it has one. What is in this notebook stays under this address. */
function WayToHttps(): JSX.Element | null {
  const [https, setHttps] = useState<HubDescription["https"]>(null);
  useEffect(() => {
    attempt("ask the hub for its https address", async () =>
      setHttps((await describeHub())?.https ?? null),
    );
  }, []);
  if (https === null) return null;
  return (
    <>
      <p>
        The hub that serves it has an https address as well. There the notebook begins anew, and
        what is in this one comes along through the mesh.
      </p>
      <div class="platform-actions">
        <a class="button" href={https.trustUrl} data-testid="trust-page">
          Let this device trust the hub
        </a>
        <a class="button button-main" href={https.origin} data-testid="https-page">
          Open over https
        </a>
      </div>
    </>
  );
}
