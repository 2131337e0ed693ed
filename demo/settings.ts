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
  /** The open one first. */
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

export function remember(change: Partial<Settings>): void {
  settings.value = { ...settings.value, ...change };
  try {
    localStorage.setItem(KEY, JSON.stringify(settings.value));
  } catch (error) {
    // Blocked or full site data: the notebook works on, it only asks again next time.
    console.warn("settings could not be kept", error);
  }
}

/** Of the open notebook. */
export function rememberJoinLink(joinLink: string): void {
  const [open, ...others] = settings.value.notebooks;
  remember({ notebooks: [{ ...open, joinLink }, ...others] });
}

/** Puts a notebook first, new or known, so that it is the one to open. */
export function rememberOpen(notebook: Notebook): void {
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
