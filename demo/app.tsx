/**
 * The frame: three screens, the way between them, and the state of the mesh always in sight.
 *
 * @module
 */

import { effect, signal } from "@preact/signals";
import type { Mesh } from "rowmesh";
import type { JSX } from "preact";
import { AnimalsScreen } from "./animals-screen.tsx";
import { ForeignLink } from "./foreign-link.tsx";
import { Icon, type IconName } from "./icons.tsx";
import { MeshScreen } from "./mesh-screen.tsx";
import { summarise } from "./mesh-summary.ts";
import { PairSheet, pairingWanted } from "./pair-sheet.tsx";
import { session, status } from "./session.ts";
import { SightingsScreen } from "./sightings-screen.tsx";
import { Toasts } from "./toasts.tsx";
import { OpenFailed, Opening, Welcome } from "./welcome.tsx";

const SCREENS = ["sightings", "animals", "mesh"] as const;
type Screen = (typeof SCREENS)[number];

const TABS: Readonly<Record<Screen, { label: string; icon: IconName }>> = {
  sightings: { label: "Sightings", icon: "binoculars" },
  animals: { label: "Animals", icon: "paw" },
  mesh: { label: "Mesh", icon: "mesh" },
};

const screen = signal<Screen>("sightings");

/** Follows the address bar (`#/animals`), so that the back button works. */
export function followAddress(): void {
  addEventListener("hashchange", readAddress);
  readAddress();
  effect(() => {
    document.title = `${TABS[screen.value].label} · Field notebook`;
  });
}

function readAddress(): void {
  const name = location.hash.slice(2);
  screen.value = SCREENS.find((known) => known === name) ?? "sightings";
  scrollTo(0, 0);
}

/** "/" searches and "n" adds, unless someone is typing or a sheet is open. */
export function followShortcuts(): void {
  addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (target.matches("input, textarea, select") || document.querySelector("dialog[open]")) return;
    if (event.key !== "/" && event.key !== "n") return;
    const found = document.querySelector<HTMLElement>(`[data-shortcut="${event.key}"]`);
    if (found === null) return;
    event.preventDefault();
    found.focus();
    if (found instanceof HTMLButtonElement) found.click();
  });
}

export function App(): JSX.Element {
  const current = session.value;
  return (
    <>
      {current.type === "welcome" && <Welcome />}
      {current.type === "opening" && <Opening />}
      {current.type === "failed" && <OpenFailed error={current.error} />}
      {current.type === "open" && <Notebook mesh={current.mesh} />}
      {current.type === "open" && pairingWanted.value && <PairSheet mesh={current.mesh} />}
      <ForeignLink />
      <Toasts />
    </>
  );
}

function Notebook(props: { mesh: Mesh }): JSX.Element {
  const { mesh } = props;
  return (
    <div class="frame">
      <nav class="bar" aria-label="Screens">
        <a class="brand" href="#/sightings" tabIndex={-1}>
          <img src="icon.svg" width={32} height={32} alt="" />
          <span>Field notebook</span>
        </a>
        {SCREENS.map((name) => (
          <a
            key={name}
            class="tab"
            href={`#/${name}`}
            aria-current={screen.value === name ? "page" : undefined}
            data-testid={`tab-${name}`}
          >
            <span class="tab-icon">
              <Icon name={TABS[name].icon} size={22} />
              {name === "mesh" && <Dot />}
            </span>
            <span>{TABS[name].label}</span>
          </a>
        ))}
      </nav>
      <MeshPill />
      <main class="screen">
        {screen.value === "sightings" && <SightingsScreen mesh={mesh} />}
        {screen.value === "animals" && <AnimalsScreen mesh={mesh} />}
        {screen.value === "mesh" && <MeshScreen mesh={mesh} />}
      </main>
    </div>
  );
}

function MeshPill(): JSX.Element | null {
  if (status.value === null) return null;
  return (
    <aside class="pill-place" aria-label="State of the mesh">
      <a class="pill" href="#/mesh" data-testid="mesh-pill">
        <Dot />
        {summarise(status.value).short}
      </a>
    </aside>
  );
}

function Dot(): JSX.Element | null {
  if (status.value === null) return null;
  return <span class={`dot dot-${summarise(status.value).tone}`} aria-hidden="true" />;
}
