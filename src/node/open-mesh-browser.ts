/**
 * `openMesh` in a browser window: the replica lives in a dedicated worker, so that SQL, hashing and
 * signatures never hold the page; libp2p stays here, since WebRTC does not exist in workers.
 *
 * @module
 */

import type { StorageKind } from "../db/storage.ts";
import { MeshError } from "../protocol/errors.ts";
import type { Mesh, OpenMeshOptions, StorageChoice } from "./api.ts";
import { chooseEd25519 } from "./ed25519-webcrypto.ts";
import { checkOptions, openMeshOver } from "./mesh.ts";
import { browserPlatform } from "./platform.ts";
import { openPairingChannel } from "./pairing-channel.ts";
import { openReplicaInWorker } from "./replica-client.ts";
import { systemClock, systemRandom } from "./system-seams.ts";
import { hasWebrtc } from "./transports.ts";

/**
 * Opens the database, makes a key for a new one, and connects.
 * @throws MeshError ERR_OPTION_INVALID, ERR_SCHEMA_INVALID, ERR_SCHEMA_NEWER,
 * ERR_STORAGE_LOCKED, ERR_STORAGE_UNAVAILABLE, ERR_INVITE_INVALID, ERR_MESH_DIFFERENT, ERR_DATABASE_CORRUPT
 */
export async function openMesh(options: OpenMeshOptions): Promise<Mesh> {
  checkOptions(options);
  const { name, schema = null, storage = "auto" } = options;
  if (typeof storage === "object") {
    throw new MeshError("ERR_OPTION_INVALID", "storage { directory } exists in Node only");
  }
  const worker = new Worker(new URL("./replica-worker.js", import.meta.url), { type: "module" });
  const replica = await openReplicaInWorker(worker, { name, schema, storage });
  const parts = {
    replica,
    ed25519: await chooseEd25519(),
    clock: systemClock,
    random: systemRandom,
    hub: null,
    platform: browserPlatform(window, opfsOf(storage, replica.storage.kind)),
    tabRole: () => "alone" as const,
    openPairingChannel: hasWebrtc() ? openPairingChannel : null,
  };
  return openMeshOver(parts, options);
}

/** "auto" takes IndexedDB where OPFS could not be opened. */
function opfsOf(wanted: StorageChoice, kind: StorageKind): "open" | "refused" | "untried" {
  if (kind === "opfs") return "open";
  return wanted === "auto" && kind === "indexeddb" ? "refused" : "untried";
}
