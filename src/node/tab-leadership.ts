/**
 * Which tab of an origin leads: the one with the database's Web Lock. All others wait for the same
 * lock, and follow whoever leads meanwhile. The lock decides who tries to open the database; that
 * there is never a second writer is the storage's own lock's doing.
 *
 * @module
 */

import type { Schema } from "../db/schema.ts";
import { isMeshError, MeshError } from "../protocol/errors.ts";
import type { Seat, Seats } from "./seats.ts";
import { type HeldLock, holdLock, tabLockName } from "./tab-locks.ts";
import type { TabMessage } from "./tab-messages.ts";
import type { LeaderSeat } from "./tab-seats.ts";

/** A leader that had to give way finishes the transaction under way before it lets the storage go. */
const STORAGE_PATIENCE_MS = 15_000;
/** To be told who leads: a leader says so when it has opened the database. */
const LEADER_PATIENCE_MS = 30_000;
const ATTACH_AGAIN_MS = 500;
/** Between two tries of a tab that could not open what it leads. */
const RETRY_MS = 3_000;

export interface LeadershipOptions {
  readonly locks: LockManager;
  /** Of the channel and of the lock, see `tab-messages.ts`. */
  readonly name: string;
  /** Of this tab: unguessable. */
  readonly tab: string;
  readonly newTerm: () => string;
  readonly schema: Schema | null;
  readonly online: boolean;
  readonly seats: Seats;
  /** Opens the database, and the network when `online`. */
  readonly lead: (term: string, online: boolean) => Promise<LeaderSeat>;
  readonly follow: (term: string, closed: AbortSignal) => Promise<Seat>;
}

export interface Leadership {
  /** Resolves with the first seat. Closes everything when it rejects. */
  readonly open: (signal: AbortSignal | undefined) => Promise<Seat>;
  /** What the app wants from now on, in all tabs. */
  readonly setOnline: (online: boolean) => void;
  readonly close: () => Promise<void>;
}

export function createLeadership(options: LeadershipOptions): Leadership {
  const { locks, name, tab, schema, seats } = options;
  const channel = new BroadcastChannel(name);
  const ending = new AbortController();
  const { signal: closed } = ending;
  let online = options.online;
  let everSeated = false;
  /** Somebody else led, so that the storage may be theirs for a moment longer. */
  let everFollowed = false;
  let leading: LeaderSeat | null = null;
  let leadingTerm: string | null = null;
  let following: string | null = null;
  let candidacy: AbortController | null = null;
  let reigning: Promise<void> = Promise.resolve();
  let tabLock: Promise<HeldLock | null> | null = null;

  const say = (message: TabMessage): void => {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a window's method, not a channel's
    if (!closed.aborted) channel.postMessage(message);
  };
  const announce = (): void => {
    if (leading !== null && leadingTerm !== null) {
      say({ type: "lead", term: leadingTerm, schema, online });
    }
  };

  channel.addEventListener("message", ({ data }: MessageEvent<TabMessage>) => {
    switch (data.type) {
      case "ask":
        return announce();
      case "attach":
        if (data.term === leadingTerm) leading?.admit(data.tab);
        return;
      case "online":
        online = data.online;
        return;
      case "lead":
        void meet(data);
    }
  });

  /** Waits for the lock; whoever is told of a leader meanwhile follows it. */
  function stand(): void {
    if (closed.aborted) return;
    candidacy = new AbortController();
    void holdLock(locks, name, "queued", candidacy.signal).then(reignWith, () => undefined);
    everFollowed = true;
    tabLock ??= holdLock(locks, tabLockName(tab));
    void tabLock.then(() => say({ type: "ask" }));
  }

  function reignWith(lock: HeldLock | null): void {
    if (lock !== null) reigning = reign(lock);
  }

  async function reign(lock: HeldLock): Promise<void> {
    candidacy = null;
    following = null;
    let ended: LeadingEnd = "worker";
    try {
      while (ended === "worker" && !closed.aborted) {
        const term = options.newTerm();
        ended = await lead(await openToLead(term), term, lock);
      }
    } catch (error) {
      lock.release();
      await abdicate(error);
      return;
    }
    lock.release();
    if (ended === "stolen") stand();
  }

  /** A leader that gave way may need a moment to let the storage go. */
  async function openToLead(term: string): Promise<LeaderSeat> {
    const untilMs = performance.now() + (everFollowed ? STORAGE_PATIENCE_MS : 0);
    for (;;) {
      try {
        // Who takes over has calls waiting: for the database, not for the network.
        return await options.lead(term, online && !everSeated);
      } catch (error) {
        const isSoonFree = isMeshError(error, "ERR_STORAGE_LOCKED") && performance.now() < untilMs;
        if (!isSoonFree || closed.aborted) throw error;
      }
    }
  }

  /** Until the worker ends, the mesh is closed, or another tab takes the lock. */
  async function lead(seat: LeaderSeat, term: string, lock: HeldLock): Promise<LeadingEnd> {
    if (closed.aborted) return seat.close().then(() => "worker");
    leading = seat;
    leadingTerm = term;
    const tookOver = everSeated;
    everSeated = true;
    seats.take(seat);
    announce();
    if (tookOver) goOnline(seat);
    const ended = await Promise.race([
      seat.ended.then((): LeadingEnd => "worker"),
      lock.lost.then((): LeadingEnd => "stolen"),
    ]);
    leading = null;
    leadingTerm = null;
    if (!closed.aborted) seats.leave(seat);
    await seat.close().catch(() => undefined);
    return ended;
  }

  function goOnline(seat: LeaderSeat): void {
    if (leading !== seat || !online) return;
    seat.mesh.online(true).catch(async () => {
      await pause(RETRY_MS, closed);
      goOnline(seat);
    });
  }

  /** Somebody else may be able to: the lock goes on. */
  async function abdicate(error: unknown): Promise<void> {
    if (!everSeated) return seats.fail(error);
    const { pending = [] } = await locks.query();
    if (!pending.some((lock) => lock.name === name)) seats.fail(error);
    await pause(RETRY_MS, closed);
    stand();
  }

  async function meet({ term, schema: theirs, online: wanted }: LeadMessage): Promise<void> {
    if (closed.aborted || leadingTerm !== null || following === term) return;
    online = wanted;
    if (versionOf(theirs) < versionOf(schema)) return takeOver();
    if (versionOf(theirs) === versionOf(schema) && !isSameSchema(theirs, schema)) {
      seats.fail(schemaError(versionOf(schema)));
      return;
    }
    following = term;
    await tabLock;
    try {
      const seat = await attach(term);
      if (closed.aborted || following !== term) return await seat.close();
      everSeated = true;
      seats.take(seat);
      await seat.ended;
      seats.leave(seat);
      await seat.close();
    } catch {
      // It ended meanwhile: its successor says so.
    }
    if (following !== term) return;
    following = null;
    say({ type: "ask" });
  }

  /** Said again: a worker's channel may hear a little later than its window tells of it. */
  async function attach(term: string): Promise<Seat> {
    const ask = (): void => say({ type: "attach", term, tab });
    ask();
    const asking = setInterval(ask, ATTACH_AGAIN_MS);
    try {
      return await options.follow(term, closed);
    } finally {
      clearInterval(asking);
    }
  }

  /** Migrations only add: what an older app asks goes on being answered by a newer one's tables. */
  async function takeOver(): Promise<void> {
    // Not yet or no more among those who wait: it leads already.
    if (candidacy === null) return;
    candidacy.abort();
    candidacy = null;
    reignWith(await holdLock(locks, name, "stolen"));
  }

  async function close(): Promise<void> {
    if (closed.aborted) return;
    const seat = seats.now();
    seats.close();
    ending.abort();
    candidacy?.abort();
    channel.close();
    await seat?.close();
    await reigning;
    (await tabLock)?.release();
  }

  return {
    open: async (signal) => {
      const lock = await holdLock(locks, name, "now");
      if (lock === null) stand();
      else reignWith(lock);
      const patience = setTimeout(() => {
        if (candidacy !== null) seats.fail(silentError());
      }, LEADER_PATIENCE_MS);
      try {
        return await seats.next(signal);
      } catch (error) {
        await close();
        throw error;
      } finally {
        clearTimeout(patience);
      }
    },
    setOnline: (wanted) => {
      online = wanted;
      say({ type: "online", online });
    },
    close,
  };
}

/** Why a tab leads no more with this worker. */
type LeadingEnd = "worker" | "stolen";

type LeadMessage = Extract<TabMessage, { readonly type: "lead" }>;

const versionOf = (schema: Schema | null): number => schema?.version ?? 0;

/** As declared: what differs in blanks alone the database itself would take, and is not worth a tab. */
const isSameSchema = (a: Schema | null, b: Schema | null): boolean =>
  JSON.stringify([a?.tables, a?.migrations]) === JSON.stringify([b?.tables, b?.migrations]);

const schemaError = (version: number): MeshError =>
  new MeshError(
    "ERR_SCHEMA_INVALID",
    `another tab has the database open with other tables as version ${version}: load the same app in both`,
  );

const silentError = (): MeshError =>
  new MeshError("ERR_STORAGE_LOCKED", "the tab that holds the database does not answer");

const pause = (delayMs: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, delayMs);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
