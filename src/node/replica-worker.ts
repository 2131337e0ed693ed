/**
 * The dedicated worker of a browser's replica: owns the database file, the log and the keys, and
 * answers the window through comlink; other tabs too, each over a link of its own.
 *
 * @module
 */

import { expose, proxy } from "comlink";
import { openIndexedDbStorage } from "../db/storage-indexeddb.ts";
import { createMemoryStorage } from "../db/storage-memory.ts";
import { openOpfsStorage } from "../db/storage-opfs.ts";
import type { Storage } from "../db/storage.ts";
import { compileSqliteInBrowser } from "../db/wasm-browser.ts";
import { isMeshError } from "../protocol/errors.ts";
import { chooseEd25519 } from "./ed25519-webcrypto.ts";
import { type LocalReplica, openReplica } from "./replica.ts";
import {
  createReplicaHost,
  type ReplicaOwnerHost,
  type ReplicaRequest,
  type WorkerDoor,
} from "./replica-host.ts";
import { carryMeshErrors } from "./rpc-errors.ts";
import { systemClock, systemRandom } from "./system-seams.ts";
import { letTabsIn } from "./tab-door.ts";
import { holdLock, termLockName, webLocks } from "./tab-locks.ts";

/** What is at work is finished first, as long as a transaction has by default: others may wait. */
const FINISH_MS = 10_000;

carryMeshErrors();
let opened: LocalReplica | null = null;
const replica = (): LocalReplica => {
  if (opened === null) throw new RangeError("call open first");
  return opened;
};
const host = createReplicaHost({ replica, carry: proxy });
let showTabsOut = async (): Promise<void> => undefined;
const owner: ReplicaOwnerHost = {
  ...host,
  open: async (request) => {
    [opened] = await Promise.all([openRequested(request), holdTerm(request.door)]);
    const { channel = null, term = "" } = request.door ?? {};
    if (channel !== null) showTabsOut = letTabsIn(replica, channel, term);
    return host.opened();
  },
  close: async () => {
    const late = setTimeout(() => void Promise.all([host.leave(), showTabsOut()]), FINISH_MS);
    await opened?.close().finally(() => clearTimeout(late));
  },
};
expose(owner);

async function openRequested(request: ReplicaRequest): Promise<LocalReplica> {
  const [wasm, ed25519] = await Promise.all([compileSqliteInBrowser(), chooseEd25519()]);
  const storage = await openStorage(request);
  const { schema } = request;
  return openReplica({
    storage,
    wasm,
    schema,
    ed25519,
    clock: systemClock,
    random: systemRandom,
  });
}

/** Never released: it goes with the worker. */
async function holdTerm(door: WorkerDoor | null): Promise<void> {
  const locks = webLocks();
  if (door !== null && locks !== null) await holdLock(locks, termLockName(door.term));
}

/** Plain-http pages have no OPFS: there IndexedDB holds the database. */
async function openStorage({ name, storage }: ReplicaRequest): Promise<Storage> {
  switch (storage) {
    case "memory":
      return createMemoryStorage();
    case "indexeddb":
      return openIndexedDbStorage(name);
    case "opfs":
      return openOpfsStorage(name);
    case "auto":
      try {
        return await openOpfsStorage(name);
      } catch (error) {
        if (!isMeshError(error, "ERR_STORAGE_UNAVAILABLE")) throw error;
        return openIndexedDbStorage(name);
      }
  }
}
