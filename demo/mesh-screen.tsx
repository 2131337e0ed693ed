/**
 * The mesh: who is connected and how, what is missing and from whom, what was refused and why, who
 * wrote what, where it is stored, and how to bring another device in.
 *
 * @module
 */

import type { Mesh, MeshStatus } from "rowmesh";
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Icon } from "./icons.tsx";
import { DeviceCard } from "./device-card.tsx";
import { GraphCard } from "./graph-card.tsx";
import { InviteCard, JoinCard, PairCard } from "./invite-card.tsx";
import { summarise } from "./mesh-summary.ts";
import { ObserversCard } from "./observers-card.tsx";
import { PeersCard } from "./peers-card.tsx";
import { PlatformCard } from "./platform-card.tsx";
import { status } from "./session.ts";
import { remember } from "./settings.ts";
import { attempt, complain } from "./toasts.tsx";
import { TroubleCard } from "./trouble-card.tsx";

export function MeshScreen(props: { mesh: Mesh }): JSX.Element | null {
  const { mesh } = props;
  const current = status.value;
  if (current === null) return null;
  return (
    <section aria-labelledby="mesh-title" class="mesh-screen" data-testid="mesh-screen">
      <header class="screen-head">
        <div class="screen-title">
          <h1 id="mesh-title">Mesh</h1>
        </div>
      </header>
      <StateCard mesh={mesh} status={current} />
      <PlatformCard status={current} />
      <GraphCard mesh={mesh} status={current} />
      <div class="cards">
        <div class="column">
          <PeersCard status={current} />
          <TroubleCard status={current} />
          <ObserversCard status={current} mesh={mesh} />
        </div>
        <div class="column">
          <InviteCard mesh={mesh} />
          <PairCard />
          <JoinCard mesh={mesh} />
          <DeviceCard mesh={mesh} status={current} />
        </div>
      </div>
    </section>
  );
}

function StateCard(props: { mesh: Mesh; status: MeshStatus }): JSX.Element {
  const { mesh } = props;
  const { tone, long } = summarise(props.status);
  const { notices } = props.status;
  const [first, ...others] = long === null ? notices : [long, ...notices];
  const hash = useStateHash(mesh, props.status);
  return (
    <div
      class={`state state-${tone}`}
      data-testid="mesh-state"
      data-converged={props.status.converged}
    >
      <div class="state-mark">
        <Icon name={tone === "good" ? "check" : tone === "trouble" ? "alert" : "mesh"} size={28} />
      </div>
      <div class="state-words">
        <p class="state-long">{first}</p>
        {others.length > 0 && (
          <ul class="plain-list" data-testid="notices">
            {others.map((notice) => (
              <li key={notice}>{notice}</li>
            ))}
          </ul>
        )}
        {hash !== null && (
          <p class="quiet">
            Contents{" "}
            <code title={hash} data-testid="state-hash" data-hash={hash}>
              {hash.slice(0, 8)}
            </code>{" "}
            — devices that show the same eight signs hold the same rows.
          </p>
        )}
        {props.status.tab.role === "follower" && (
          <p class="quiet" data-testid="tab-follower">
            Another tab of this browser keeps the connections; this one works through it.
          </p>
        )}
      </div>
      {props.status.meshId !== null && <OnlineSwitch mesh={mesh} online={props.status.online} />}
    </div>
  );
}

function OnlineSwitch(props: { mesh: Mesh; online: boolean }): JSX.Element {
  const toggle = async (): Promise<void> => {
    const online = !props.online;
    await props.mesh.online(online);
    remember({ offline: !online });
  };
  return (
    <button
      type="button"
      role="switch"
      class="switch"
      aria-checked={props.online}
      data-testid="online-switch"
      onClick={() => attempt(props.online ? "go offline" : "go online", toggle)}
    >
      <span class="switch-knob" aria-hidden="true" />
      <span>{props.online ? "Online" : "Offline"}</span>
    </button>
  );
}

/** A pause after the last change, so that a busy mesh is not hashed over and over. */
const HASH_PAUSE_MS = 600;

function useStateHash(mesh: Mesh, current: MeshStatus): string | null {
  // The digest stands still while offline; the authors' versions do not.
  const key = [current.digest, ...current.authors.map(({ version }) => version)].join(" ");
  const [hash, setHash] = useState<string | null>(null);
  useEffect(() => {
    let wanted = true;
    const timer = setTimeout(() => {
      mesh.stateHash().then(
        (next) => wanted && setHash(next),
        (error: unknown) => wanted && complain("compare the contents", error),
      );
    }, HASH_PAUSE_MS);
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [mesh, key]);
  return hash;
}
