/**
 * The dedicated worker of a browser's replica: owns the database file, the log and the keys, and
 * answers the window through comlink.
 *
 * @module
 */

import { expose } from "comlink";
import { openIndexedDbStorage } from "../db/storage-indexeddb.ts";
import { createMemoryStorage } from "../db/storage-memory.ts";
import { openOpfsStorage } from "../db/storage-opfs.ts";
import type { Storage } from "../db/storage.ts";
import { compileSqliteInBrowser } from "../db/wasm-browser.ts";
import { isMeshError } from "../protocol/errors.ts";
import { chooseEd25519 } from "./ed25519-webcrypto.ts";
import { openReplica } from "./replica.ts";
import { createReplicaHost, type ReplicaRequest } from "./replica-host.ts";
import { carryMeshErrors } from "./rpc-errors.ts";
import { systemClock, systemRandom } from "./system-seams.ts";

carryMeshErrors();
expose(
  createReplicaHost(async (request) => {
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
  }),
);

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
