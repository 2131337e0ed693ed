/**
 * The icons, drawn on a 24-unit grid with one stroke. Decorative: every use has a text beside it
 * or a label around it.
 *
 * @module
 */

import type { JSX } from "preact";

const PATHS = {
  binoculars: "M7 4h3v5M17 4h-3v5M10 9h4M10 7H7L4 15a4 4 0 1 0 6 3V9M14 9v9a4 4 0 1 0 6-3L17 7h-3",
  paw: "M7.5 10.5a1.6 2.1 0 1 0 0-4.2 1.6 2.1 0 0 0 0 4.2ZM16.5 10.5a1.6 2.1 0 1 0 0-4.2 1.6 2.1 0 0 0 0 4.2ZM4 15a1.4 1.8 0 1 0 0-3.6A1.4 1.8 0 0 0 4 15ZM20 15a1.4 1.8 0 1 0 0-3.6 1.4 1.8 0 0 0 0 3.6ZM12 12c-2.6 0-5 3-5 5.4 0 1.5 1.2 2.4 2.5 2.4 1 0 1.6-.5 2.5-.5s1.500.5 2.500.5c1.300 0 2.500-.9 2.500-2.400C17 15 14.600 12 12 12Z",
  mesh: "M12 5.500a2 2 0 1 0 0-.01M5 18.500a2 2 0 1 0 0-.01M19 18.500a2 2 0 1 0 0-.01M11 7.200 6 16.800M13 7.200l5 9.600M7.200 18.500h9.600",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  search: "M10.500 17a6.500 6.500 0 1 0 0-13 6.500 6.500 0 0 0 0 13ZM15.500 15.500 20 20",
  close: "M6 6l12 12M18 6 6 18",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  check: "M4.500 12.500 10 18 20 6.500",
  pin: "M12 21s7-6.200 7-11.500a7 7 0 1 0-14 0C5 14.800 12 21 12 21ZM12 12a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5Z",
  upload: "M12 16V4M7 9l5-5 5 5M4 16v4h16v-4",
  link: "M10 14a4 4 0 0 0 6 .5l3-3a4 4 0 0 0-5.600-5.600l-1.200 1.200M14 10a4 4 0 0 0-6-.5l-3 3a4 4 0 0 0 5.600 5.600l1.200-1.200",
  alert: "M12 4 2.500 20h19L12 4ZM12 10v4.500M12 17.300v.2",
  phone: "M8 3h8a1 1 0 0 1 1 1v16a1 1 0 0 1-1 1H8a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1ZM11 18h2",
  hub: "M4 14h16v6H4zM7 17h.01M10 17h.01M8 10.500a5.500 5.500 0 0 1 8 0M5.500 7.500a9.200 9.200 0 0 1 13 0",
  disk: "M4 6c0-1.500 3.600-2.500 8-2.500s8 1 8 2.500-3.600 2.500-8 2.500S4 7.500 4 6ZM4 6v12c0 1.500 3.600 2.500 8 2.500s8-1 8-2.500V6M4 12c0 1.500 3.600 2.500 8 2.500s8-1 8-2.500",
  person: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM4.500 20.500c.8-4 3.700-6 7.500-6s6.700 2 7.500 6",
  fork: "M7 4v5a5 5 0 0 0 5 5 5 5 0 0 0 5-5V4M12 14v6",
  clock: "M12 20.500a8.500 8.500 0 1 0 0-17 8.500 8.500 0 0 0 0 17ZM12 7v5.500l3.500 2",
  qr: "M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h2v2M20 14v2h-2M14 20h2M20 20h-2v-2M7 7h.01M17 7h.01M7 17h.01",
  camera:
    "M4 8h3l2-3h6l2 3h3a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V9a1 1 0 0 1 1-1ZM12 16.500a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7Z",
  offline:
    "M3 3l18 18M8 10.600a5.500 5.500 0 0 1 2-1.400M5 7.800a9.500 9.500 0 0 1 2.500-1.600M12 6c2.500 0 5 .9 7 2.700M16 10.600l-.5-.4M12 17h.01",
  forest: "M12 3 6 11h3l-4 6h14l-4-6h3L12 3ZM12 17v4",
  meadow: "M3 20h18M7 20c0-4-1-7-3-9M7 20c0-5 1-8 3-11M15 20c0-5-1-8-2-10M15 20c0-4 1.500-7 4-9",
  wetland:
    "M3 16c2 0 2 1.500 4.500 1.500S10 16 12 16s2 1.500 4.500 1.500S19 16 21 16M4 20.500c2 0 2 .5 4 .5M9 13V4M9 4c1.500 0 1.500 4 0 4M15 13V7M15 7c1.500 0 1.500 3.500 0 3.500",
  river: "M9 3c-4 3 4 5 0 9s1 6-2 9M17 3c-4 3 4 5 0 9s1 6-2 9",
  coast:
    "M3 18c2 0 2 2 4.500 2s2.500-2 4.500-2 2 2 4.500 2 2.500-2 4.500-2M3 13c2 0 2 2 4.500 2s2.500-2 4.500-2 2 2 4.500 2 2.500-2 4.500-2M8 8a4 4 0 0 1 8 0",
  mountain: "M2.500 19.500 9 7l4 7 2.500-4 6 9.500h-19ZM7.300 10.300 9 12l1.700-1.700",
  farmland:
    "M12 21V8M12 12c-3 0-4.500-1.500-4.500-4.500 3 0 4.500 1.500 4.500 4.500ZM12 12c3 0 4.500-1.500 4.500-4.500-3 0-4.500 1.500-4.500 4.500ZM12 17c-3 0-4.500-1.500-4.500-4.500 3 0 4.500 1.500 4.500 4.500ZM12 17c3 0 4.500-1.500 4.500-4.500-3 0-4.500 1.500-4.500 4.500ZM12 8c-1.500-1.500-1.500-3.500 0-5 1.500 1.500 1.500 3.500 0 5Z",
  town: "M4 20.500V9l5-4 5 4v11.500M14 12h6v8.500M3 20.500h18M8 12h2M8 16h2M17 16h.01",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon(props: { name: IconName; size?: number }): JSX.Element {
  const size = props.size ?? 20;
  return (
    <svg
      class="icon"
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      stroke-width="1.8"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d={PATHS[props.name]} />
    </svg>
  );
}

/** The icon of a habitat, or a paw for one of the person's own words. */
export function habitatIcon(habitat: string | null): IconName {
  return habitat !== null && habitat in PATHS ? (habitat as IconName) : "paw";
}
