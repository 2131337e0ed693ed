/**
 * Who wrote it: initials on a colour that belongs to the site id, the same on every device.
 *
 * @module
 */

import type { JSX } from "preact";
import { nameOr } from "./words.ts";

export function ObserverBadge(props: {
  siteId: string | null;
  name: string | null | undefined;
  large?: boolean;
}): JSX.Element {
  const name = nameOr(props.name, props.siteId);
  return (
    <span
      class={props.large ? "badge badge-large" : "badge"}
      style={{ "--hue": String(hueOf(props.siteId ?? "")) }}
      title={name}
      role="img"
      aria-label={name}
    >
      {initialsOf(props.name ?? "")}
    </span>
  );
}

/** Degrees. Site ids are hashes: their first two bytes spread evenly. */
function hueOf(siteId: string): number {
  const value = parseInt(siteId.slice(0, 4), 16);
  return Number.isNaN(value) ? 90 : Math.round((value / 0xffff) * 360);
}

function initialsOf(name: string): string {
  const words = name.trim().split(/\s+/);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  const initials = letters.map((word) => Array.from(word ?? "")[0] ?? "").join("");
  return initials === "" ? "?" : initials.toLocaleUpperCase();
}
