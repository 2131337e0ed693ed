/**
 * Whether the browser keeps what is stored, and how much room there is. Browsers may delete what a
 * site stored unless they were asked not to, and some ask the person: so nobody is asked before
 * something was written here.
 *
 * @module
 */

import type { Clock } from "../seams.ts";
import type { StorageKind } from "../db/storage.ts";
import type { StorageStatus } from "./api.ts";
import type { Platform } from "./platform.ts";

export interface Persistence {
  readonly status: () => Pick<
    StorageStatus,
    "persisted" | "usageBytes" | "quotaBytes" | "eviction"
  >;
  /** Reads it anew, unless it was read within the last minute. Call it often. */
  readonly read: () => void;
  /** Something was written: asks the browser to keep it, once. */
  readonly wrote: () => void;
  /** Other devices rely on this one from now on: asks once more when the answer was no. */
  readonly joined: () => void;
}

export interface PersistenceOptions {
  readonly platform: Platform;
  readonly kind: StorageKind;
  readonly clock: Clock;
  /** Called when the status is another. */
  readonly changed: () => void;
}

const NOBODY: Pick<Platform, "keeper" | "room"> = { keeper: null, room: null };
/** An estimate costs a look at the disk. */
const READ_MS = 60_000;

export function createPersistence(options: PersistenceOptions): Persistence {
  const { platform, kind, clock, changed } = options;
  const { keeper, room } = kind === "memory" ? NOBODY : platform;
  let persisted: boolean | null = null;
  let usageBytes: number | null = null;
  let quotaBytes: number | null = null;
  /** What the browser answered first. */
  let granted: Promise<boolean> | null = null;
  let hasJoined = false;
  let readings = 0;
  let readMs = Number.NEGATIVE_INFINITY;

  async function readNow(): Promise<void> {
    readMs = clock.nowMs();
    const reading = (readings += 1);
    try {
      const [isPersisted, estimate] = await Promise.all([
        keeper?.persisted() ?? null,
        room?.() ?? null,
      ]);
      const usage = estimate?.usage ?? null;
      const quota = estimate?.quota ?? null;
      // A reading from before the browser was asked may end after the one from then on.
      if (reading !== readings) return;
      if (isPersisted === persisted && usage === usageBytes && quota === quotaBytes) return;
      persisted = isPersisted;
      usageBytes = usage;
      quotaBytes = quota;
      changed();
    } catch {
      // A browser that does not say: what was known stays.
    }
  }

  async function ask(from: NonNullable<typeof keeper>): Promise<boolean> {
    try {
      // It may have been granted before: then nobody is bothered.
      return (await from.persisted()) || (await from.persist());
    } catch {
      return false;
    } finally {
      await readNow();
    }
  }

  return {
    status: () => ({
      persisted,
      usageBytes,
      quotaBytes,
      eviction: evictionOf(kind, persisted, platform),
    }),
    read: () => {
      const isSaid = keeper !== null || room !== null;
      if (isSaid && clock.nowMs() - readMs >= READ_MS) void readNow();
    },
    wrote: () => {
      if (keeper !== null) granted ??= ask(keeper);
    },
    joined: () => {
      if (keeper === null || granted === null || hasJoined) return;
      hasJoined = true;
      void granted.then((isGranted) => isGranted || ask(keeper));
    },
  };
}

function evictionOf(
  kind: StorageKind,
  persisted: boolean | null,
  { secureContext, isWebKit, isInstalled }: Platform,
): string {
  if (kind === "memory") return "It is gone when this page or program ends.";
  if (kind === "directory") return "Nobody deletes it but people.";
  // Whether the promise covers Safari's seven days nobody has tried.
  if (isWebKit && !isInstalled) {
    return `Safari may delete it after 7 days of use without a tap on this site${persisted === true ? "" : ", and when the disk is short"}; put the app on the home screen to keep it.`;
  }
  if (persisted === true) {
    return "The browser promised to keep it; it goes only when somebody clears the data of this site.";
  }
  if (secureContext === false) {
    return "The browser may delete it when the disk is short; over HTTPS the app could ask it not to.";
  }
  return "The browser may delete it when the disk is short, all of this site's data at once.";
}
