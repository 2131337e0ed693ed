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

carryMeshErrors();
let opened: LocalReplica | null = null;
const replica = (): LocalReplica => {
  if (opened === null) throw new RangeError("call open first");
  return opened;
};
const { host } = createReplicaHost({ replica, carry: proxy });
const owner: ReplicaOwnerHost = {
  ...host,
  open: async (request) => {
    [opened] = await Promise.all([openRequested(request), holdTerm(request.door)]);
    const { channel = null, term = "" } = request.door ?? {};
    if (channel !== null) letTabsIn(replica, channel, term);
    return host.opened();
  },
  // What is at work is finished first.
  close: async () => opened?.close(),
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
