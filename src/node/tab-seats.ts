/**
 * How a tab comes to its seat: as the leader it opens a worker and the network and lets other tabs
 * in; as a follower it attaches to the leader's worker and window.
 *
 * @module
 */

import type { Mesh } from "./api.ts";
import { exposeMesh, meshOverLink } from "./mesh-host.ts";
import { openReplicaOverLink, type RemoteReplica } from "./replica-client.ts";
import type { Seat } from "./seats.ts";
import { openTabLink } from "./tab-link.ts";
import { tabLockName, whenFree } from "./tab-locks.ts";
import { databaseLinkName, meshLinkName } from "./tab-messages.ts";

export interface LeaderSeat extends Seat {
  /** Another tab attaches: its way to this window. Ends with that tab; idempotent. */
  readonly admit: (tab: string) => void;
}

/** @param mesh over the replica: closing it closes that one */
export function leaderSeat(
  locks: LockManager,
  term: string,
  { replica, ended }: RemoteReplica,
  mesh: Mesh,
): LeaderSeat {
  const closing = new AbortController();
  const admitted = new Set<string>();
  let closed: Promise<void> | null = null;
  return {
    role: "leader",
    replica,
    mesh,
    answers: () => true,
    ended,
    admit: (tab) => {
      if (admitted.has(tab)) return;
      admitted.add(tab);
      const link = openTabLink(meshLinkName(tab, term), "leader");
      const stop = exposeMesh(mesh, link);
      void whenFree(locks, tabLockName(tab), closing.signal).then(() => {
        stop();
        link.close();
        admitted.delete(tab);
      });
    },
    close: () => {
      closing.abort();
      // The next leader needs the storage, whatever the network met.
      closed ??= mesh.close().catch(async (error: unknown) => {
        await replica.close();
        throw error;
      });
      return closed;
    },
  };
}

/**
 * Its own tab lock is held already.
 * @throws WorkerEndedError when the leader is no more; ERR_CLOSED when the signal says so meanwhile
 */
export async function openFollowerSeat(
  term: string,
  tab: string,
  signal: AbortSignal,
): Promise<Seat> {
  const databaseLink = openTabLink(databaseLinkName(tab, term), "follower");
  const meshLink = openTabLink(meshLinkName(tab, term), "follower");
  const givingUp = new AbortController();
  const giveUp = (): void => givingUp.abort();
  signal.addEventListener("abort", giveUp);
  try {
    const remote = await openReplicaOverLink(databaseLink, term, givingUp.signal);
    const mesh = await meshOverLink(meshLink, remote.ended);
    const watch = watchLeader(() => Promise.all([mesh.ping(), remote.ping()]), mesh.changed);
    return {
      role: "follower",
      replica: remote.replica,
      mesh,
      answers: watch.answers,
      ended: remote.ended,
      close: async () => {
        watch.stop();
        mesh.end();
        meshLink.close();
        await remote.replica.close();
      },
    };
  } catch (error) {
    meshLink.close();
    databaseLink.close();
    throw error;
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
}

const PING_MS = 2_000;
const SILENT_MS = 6_000;

/**
 * A leader can be frozen by the browser, or held up by a long statement: then nobody can take over,
 * since the browser keeps its storage for it, but people can be told. Asks while it is looked at.
 */
function watchLeader(
  ping: () => Promise<unknown>,
  changed: () => void,
): { readonly answers: () => boolean; readonly stop: () => void } {
  let askedMs: number | null = null;
  let answers = true;
  const tell = (now: boolean): void => {
    if (answers === now) return;
    answers = now;
    changed();
  };
  const timer = setInterval(() => {
    const nowMs = performance.now();
    if (askedMs !== null) {
      if (nowMs - askedMs >= SILENT_MS) tell(false);
      return;
    }
    if (document.visibilityState === "hidden") return;
    askedMs = nowMs;
    ping().then(
      () => {
        askedMs = null;
        tell(true);
      },
      // It ended: that is told otherwise.
      () => undefined,
    );
  }, PING_MS);
  return { answers: () => answers, stop: () => clearInterval(timer) };
}
