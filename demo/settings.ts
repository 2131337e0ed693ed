/**
 * What this device remembers outside the databases: who you are, which notebooks there are and
 * which is open, the link each joined by, and whether you took the device offline.
 *
 * @module
 */

import { signal, type Signal } from "@preact/signals";

export interface Notebook {
  /** The local database's name. */
  readonly database: string;
  /** The join link it was last given. */
  readonly joinLink: string | null;
}

export interface Settings {
  /** Your name as others see it; null before the first run is done. */
  readonly name: string | null;
  /** The one opened last first. */
  readonly notebooks: readonly [Notebook, ...Notebook[]];
  /** A join link that was opened and not followed yet. */
  readonly pendingLink: string | null;
  /** The person switched the network off. */
  readonly offline: boolean;
}

/** A device name is at most 128 bytes: three for each of these, in any script. */
export const NAME_CHARS_MAX = 40;

const KEY = "rowmesh-field-notebook";
const FIRST: Settings = {
  name: null,
  notebooks: [{ database: "field-notebook", joinLink: null }],
  pendingLink: null,
  offline: false,
};

export const settings: Signal<Settings> = signal(read());
let current: string = settings.value.notebooks[0].database;

/** What another tab remembers, this one knows: else the last to write would forget it. */
export function followOtherTabs(): void {
  addEventListener("storage", ({ key }) => {
    if (key === KEY) settings.value = read();
  });
}

export function remember(change: Partial<Settings>): void {
  settings.value = { ...settings.value, ...change };
  try {
    localStorage.setItem(KEY, JSON.stringify(settings.value));
  } catch (error) {
    // Blocked or full site data: the notebook works on, it only asks again next time.
    console.warn("settings could not be kept", error);
  }
}

/** The one that is open in this tab: others may have another one open. */
export function currentNotebook(): Notebook {
  const { notebooks } = settings.value;
  return notebooks.find(({ database }) => database === current) ?? notebooks[0];
}

/** Of the open notebook. */
export function rememberJoinLink(joinLink: string): void {
  const { database } = currentNotebook();
  const [first, ...others] = settings.value.notebooks;
  const linked = (notebook: Notebook): Notebook =>
    notebook.database === database ? { ...notebook, joinLink } : notebook;
  remember({ notebooks: [linked(first), ...others.map(linked)] });
}

/** Puts a notebook first, new or known, so that it is the one to open. */
export function rememberOpen(notebook: Notebook): void {
  current = notebook.database;
  const others = settings.value.notebooks.filter(({ database }) => database !== notebook.database);
  remember({ notebooks: [notebook, ...others] });
}

function read(): Settings {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Settings>;
    return { ...FIRST, ...kept };
  } catch {
    return FIRST;
  }
}
