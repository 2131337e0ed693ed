/**
 * Plain words for what the mesh reports, and for times and numbers.
 *
 * @module
 */

import { isMeshError, type PeerStatus } from "rowmesh";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const numbers = new Intl.NumberFormat("en");
const days = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });
const daysOfYears = new Intl.DateTimeFormat("en", {
  day: "numeric",
  month: "short",
  year: "numeric",
});
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hour12: false });

/** "1 peer", "5,000 peers". */
export function count(amount: number, one: string, many = `${one}s`): string {
  return `${numbers.format(amount)} ${amount === 1 ? one : many}`;
}

export function number(amount: number): string {
  return numbers.format(amount);
}

/** How long ago, for people: clocks of other devices may be wrong, so the future is just "now". */
export function ago(thenMs: number, nowMs: number = Date.now()): string {
  const passedMs = nowMs - thenMs;
  if (passedMs < 10_000) return "just now";
  if (passedMs < MINUTE_MS) return "under a minute ago";
  if (passedMs < HOUR_MS) return `${Math.floor(passedMs / MINUTE_MS)} min ago`;
  if (passedMs < DAY_MS) return `${Math.floor(passedMs / HOUR_MS)} h ago`;
  return count(Math.floor(passedMs / DAY_MS), "day") + " ago";
}

/** As `ago`, for a time that is told as so long ago. */
export function agoWords(passedMs: number): string {
  return ago(0, passedMs);
}

/** "12 bytes", "3.4 MB", "1.2 GB". */
export function bytes(amount: number): string {
  if (amount < 1_000) return count(amount, "byte");
  if (amount < 1e6) return `${numbers.format(Math.round(amount / 1e3))} kB`;
  const [unit, of] = amount < 1e9 ? ([1e6, "MB"] as const) : ([1e9, "GB"] as const);
  return `${(amount / unit).toFixed(amount < 10 * unit ? 1 : 0)} ${of}`;
}

/** "Today 14:03", "3 Nov 14:03". */
export function moment(timeMs: number, nowMs: number = Date.now()): string {
  const then = new Date(timeMs);
  const now = new Date(nowMs);
  const time = clock.format(then);
  if (then.toDateString() === now.toDateString()) return `Today ${time}`;
  if (then.toDateString() === new Date(nowMs - DAY_MS).toDateString()) return `Yesterday ${time}`;
  const sameYear = then.getFullYear() === now.getFullYear();
  return `${(sameYear ? days : daysOfYears).format(then)} ${time}`;
}

export function linkWords(link: PeerStatus["link"]): { name: string; meaning: string } {
  switch (link) {
    case "webrtc":
    case "webrtc-direct":
      return {
        name: "WebRTC, direct",
        meaning: "The two devices talk to each other with nobody between.",
      };
    case "websocket":
      return { name: "WebSocket", meaning: "A direct connection to a hub." };
    case "tcp":
      return { name: "TCP", meaning: "A direct connection." };
    case "memory":
      return { name: "same process", meaning: "Both ends run in one program." };
    case "relayed":
      return {
        name: "through a relay",
        meaning: "Only the greeting passes; a direct link is being made.",
      };
    case "none":
      return { name: "not connected", meaning: "Known, but not reachable now." };
  }
}

export function qualityWords(quality: NonNullable<PeerStatus["quality"]>): string {
  switch (quality) {
    case "good":
      return "good";
    case "slow":
      return "slow";
    case "silent":
      return "silent for long";
  }
}

/** Name, or a short form of the identity when the device told none. */
export function nameOr(name: string | null | undefined, id: string | null): string {
  if (name) return name;
  return id === null ? "someone" : `device ${id.slice(-5)}`;
}

/** What went wrong and what to do about it. */
export function errorWords(error: unknown): {
  what: string;
  remedy: string | null;
  code: string | null;
  /** What stood against it is over: the same can be done again at once. */
  isOver: boolean;
} {
  if (isMeshError(error)) {
    const what = error.message.startsWith(`${error.code}: `)
      ? error.message.slice(error.code.length + 2)
      : error.message;
    return {
      what: sentence(what),
      remedy: error.remedy,
      code: error.code,
      isOver: error.code === "ERR_TAB_LOST",
    };
  }
  const what = error instanceof Error ? error.message : String(error);
  return {
    what: sentence(what === "" ? "unknown error" : what),
    remedy: null,
    code: null,
    isOver: false,
  };
}

function sentence(text: string): string {
  const begun = text.charAt(0).toLocaleUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
