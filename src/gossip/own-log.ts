/**
 * Own log: when to offer what we wrote. A disk may have been rewound by a crash or a restored
 * backup; then a peer holds more of our own log than we do, and a new changeset under an old
 * version would be a fork. So on the first link we look before we release: our own missing
 * versions are fetched first, of everybody who claims them at once.
 *
 * All claims together are waited for {@link WAIT_MS} after the last own changeset, or chunk of one,
 * that came, which nobody can forge; for twice that while a frame comes in slowly. Who claimed some and brought none by then is not waited for again.
 *
 * @module
 */

import type { PeerId, SiteId } from "../protocol/ids.ts";
import { STANDINGS_MAX } from "../protocol/limits.ts";
import { type AuthorStream, authorStream, countVersions } from "../protocol/version-vector.ts";
import { chainsOf, type DigestedVector } from "./digest.ts";
import type { Emit } from "./effect.ts";
import type { IncomingView } from "./incoming.ts";
import type { Link } from "./link.ts";

/** A lease lasts 5 s: time for one that lapsed and another. */
const WAIT_MS = 10_000;
const WAIT_SLOW_MS: number = 2 * WAIT_MS;
/** For the rest of a frame of which something is here, and for the store to take it. */
const ARRIVING_MS = 5_000;

export interface OwnLog {
  readonly isOwn: (key: AuthorStream) => boolean;
  readonly isOffered: () => boolean;
  readonly pump: (links: Iterable<Link>, nowMs: number) => void;
  /** When waiting ends; null while nobody is waited for. */
  readonly dueMs: () => number | null;
}

export interface OwnLogOptions {
  readonly site: SiteId;
  readonly ours: DigestedVector;
  readonly incoming: IncomingView;
  readonly emit: Emit;
}

export function createOwnLog({ site, ours, incoming, emit }: OwnLogOptions): OwnLog {
  const isOwn = (key: AuthorStream): boolean => key.startsWith(site);
  const own = authorStream({ site, stream: "data" });
  let isOffered = false;
  /** Since when what others claim of our log is waited for, and what we held of it then. */
  let waiting: {
    readonly sinceMs: number;
    readonly held: string;
    readonly untilMs: number;
  } | null = null;
  const unreliable = new Set<PeerId>();

  // Once each, whatever becomes of it: two who take turns in failing would keep us silent for ever.
  const holdsMore = (link: Link) =>
    !unreliable.has(link.peer) && link.view.lackingOf(own).some((key) => !link.failed(key));

  function heldOfOwn(): string {
    const heads = chainsOf(ours, own).map((key) => ours.entries.get(key)?.head ?? 0);
    const chunks = [...incoming.all()]
      .filter((changeset) => changeset.site === site)
      .map(({ version, missing }) => `${version}/${countVersions(missing)}`);
    return [...heads, ...chunks].join(" ");
  }

  function giveUpOn(links: readonly Link[]): void {
    for (const { peer } of links) unreliable.add(peer);
    const [oldest] = unreliable;
    if (unreliable.size > STANDINGS_MAX && oldest !== undefined) unreliable.delete(oldest);
  }

  /** Whether somebody may still bring what we lost. */
  function isWaiting(known: readonly Link[], nowMs: number): boolean {
    const holders = known.filter(holdsMore);
    if (holders.length === 0) return false;
    const held = heldOfOwn();
    if (waiting?.held !== held) waiting = { sinceMs: nowMs, held, untilMs: nowMs + WAIT_MS };
    const { sinceMs } = waiting;
    const isArriving = holders.some((link) => link.isArriving());
    const untilMs = isArriving ? Math.min(sinceMs + WAIT_SLOW_MS, nowMs + ARRIVING_MS) : 0;
    waiting = { ...waiting, untilMs: Math.max(waiting.untilMs, untilMs) };
    return nowMs < waiting.untilMs;
  }

  return {
    isOwn,
    isOffered: () => isOffered,
    dueMs: () => waiting?.untilMs ?? null,
    pump: (links, nowMs) => {
      const open = [...links].filter(({ state }) => state().type === "open");
      const known = open.filter(({ view }) => view.known());
      if (known.length === 0) waiting = null;
      if (isOffered && open.length === 0) {
        isOffered = false;
        emit({ type: "offer", mode: "off" });
      }
      if (!isOffered && known.length > 0 && !isWaiting(known, nowMs)) {
        isOffered = true;
        waiting = null;
        giveUpOn(known.filter(({ view }) => view.lackingOf(own).length > 0));
        emit({ type: "offer", mode: "on" });
      }
    },
  };
}
