/**
 * What this device remembers outside the database: who you are, which notebook is open, the link
 * it joined by, and whether you took it offline.
 *
 * @module
 */

import { signal, type Signal } from "@preact/signals";

export interface Settings {
  /** Your name as others see it; null before the first run is done. */
  readonly name: string | null;
  /** The local database's name. */
  readonly notebook: string;
  /** The join link this notebook was last given. */
  readonly joinLink: string | null;
  /** The person switched the network off. */
  readonly offline: boolean;
}

/** A device name is at most 128 bytes: three for each of these, in any script. */
export const NAME_CHARS_MAX = 40;

const KEY = "rowmesh-field-notebook";
const FIRST: Settings = { name: null, notebook: "field-notebook", joinLink: null, offline: false };

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

function read(): Settings {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Settings>;
    return { ...FIRST, ...kept };
  } catch {
    return FIRST;
  }
}
