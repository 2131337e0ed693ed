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
  /** Another tab attaches: its way to this window. Ends with that tab. */
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
  let closed: Promise<void> | null = null;
  return {
    role: "leader",
    replica,
    mesh,
    ended,
    admit: (tab) => {
      const link = openTabLink(meshLinkName(tab, term), "leader");
      const stop = exposeMesh(mesh, link);
      void whenFree(locks, tabLockName(tab), closing.signal).then(() => {
        stop();
        link.close();
      });
    },
    close: () => {
      closing.abort();
      closed ??= mesh.close();
      return closed;
    },
  };
}

/** Its own tab lock is held already. @throws WorkerEndedError when the leader is no more */
export async function openFollowerSeat(term: string, tab: string): Promise<Seat> {
  const databaseLink = openTabLink(databaseLinkName(tab, term), "follower");
  const meshLink = openTabLink(meshLinkName(tab, term), "follower");
  try {
    const remote = await openReplicaOverLink(databaseLink, term);
    const mesh = await meshOverLink(meshLink, remote.ended);
    return {
      role: "follower",
      replica: remote.replica,
      mesh,
      ended: remote.ended,
      close: async () => {
        mesh.end();
        meshLink.close();
        await remote.replica.close();
      },
    };
  } catch (error) {
    meshLink.close();
    databaseLink.close();
    throw error;
  }
}
