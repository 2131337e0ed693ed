/**
 * The worker's side of other tabs: each that attaches gets a replica host of its own over a link;
 * when its tab ends, all that was begun for it ends at once, an open transaction too.
 *
 * @module
 */

import type { LocalReplica } from "./replica.ts";
import { createReplicaHost, type ReplicaHost } from "./replica-host.ts";
import { databaseLinkName, type TabMessage } from "./tab-messages.ts";
import { openTabLink } from "./tab-link.ts";
import { tabLockName, webLocks, whenFree } from "./tab-locks.ts";

/**
 * From now on.
 * @returns the stop function: ends what is under way for tabs; resolves when they have their answers
 */
export function letTabsIn(
  replica: () => LocalReplica,
  channelName: string,
  term: string,
): () => Promise<void> {
  const locks = webLocks();
  if (locks === null) return async () => undefined;
  const closing = new AbortController();
  const channel = new BroadcastChannel(channelName);
  const admitted = new Map<string, ReplicaHost>();
  channel.addEventListener("message", ({ data }: MessageEvent<TabMessage>) => {
    if (data.type !== "attach" || data.term !== term || admitted.has(data.tab)) return;
    const link = openTabLink(databaseLinkName(data.tab, term), "leader");
    const host = createReplicaHost({ replica, carry: link.carry });
    admitted.set(data.tab, host);
    link.expose(host);
    void whenFree(locks, tabLockName(data.tab), closing.signal)
      .then(() => {
        if (closing.signal.aborted) return;
        void host.leave();
        link.close();
        admitted.delete(data.tab);
        return forgetClosedTabs(locks, replica());
      })
      // The database may be closing: those who open it next forget them.
      .catch(() => undefined);
    void forgetClosedTabs(locks, replica()).catch(() => undefined);
  });
  return async () => {
    closing.abort();
    channel.close();
    await Promise.all([...admitted.values()].map((host) => host.leave()));
  };
}

/** Also of those that ended with a leader before this one. */
async function forgetClosedTabs(locks: LockManager, replica: LocalReplica): Promise<void> {
  const { held = [] } = await locks.query();
  const names = new Set(held.map(({ name }) => name));
  await replica.dropReceipts((tab) => names.has(tabLockName(tab)));
}
