/**
 * `openMesh` in Node: the replica runs in the process, its storage is a directory or memory.
 *
 * @module
 */

import { createMemoryStorage } from "../db/storage-memory.ts";
import { openDirectoryStorage } from "../db/storage-directory.ts";
import type { Storage } from "../db/storage.ts";
import { compileSqliteInNode } from "../db/wasm-node.ts";
import { MeshError } from "../protocol/errors.ts";
import type { Mesh, OpenMeshOptions, StorageChoice } from "./api.ts";
import { directoryRoom } from "./directory-room.ts";
import { chooseEd25519InNode } from "./ed25519-node.ts";
import { checkOptions, openMeshOver } from "./mesh.ts";
import type { HubSettings } from "./mesh-link.ts";
import { NODE_PLATFORM, type Platform } from "./platform.ts";
import { openReplica, type Replica } from "./replica.ts";
import { systemClock, systemRandom } from "./system-seams.ts";

/**
 * Opens the database, makes a key for a new one, and connects.
 * @throws MeshError ERR_OPTION_INVALID, ERR_SCHEMA_INVALID, ERR_SCHEMA_NEWER,
 * ERR_STORAGE_LOCKED, ERR_INVITE_INVALID, ERR_MESH_DIFFERENT, ERR_DATABASE_CORRUPT
 */
export const openMesh = (options: OpenMeshOptions): Promise<Mesh> => openPeer(options, null);

/** A hub is a peer with listeners; the CLI's. */
export const openHubMesh = (options: OpenMeshOptions, hub: HubSettings): Promise<Mesh> =>
  openPeer(options, hub);

async function openPeer(options: OpenMeshOptions, hub: HubSettings | null): Promise<Mesh> {
  checkOptions(options);
  const ed25519 = await chooseEd25519InNode();
  const replica = await openReplicaInNode(options, ed25519);
  const parts = { replica, ed25519, clock: systemClock, random: systemRandom, hub };
  const platform = { platform: platformOf(options), openPairingChannel: null };
  return openMeshOver({ ...parts, ...platform, tabRole: () => "alone" }, options);
}

/** The replica alone, without a network: for tools and tests. */
async function openReplicaInNode(
  { name, storage = "auto", schema }: Pick<OpenMeshOptions, "name" | "storage" | "schema">,
  ed25519: Parameters<typeof openReplica>[0]["ed25519"],
): Promise<Replica> {
  return openReplica({
    storage: await openStorage(name, storage),
    wasm: await compileSqliteInNode(),
    schema: schema ?? null,
    ed25519,
    clock: systemClock,
    random: systemRandom,
  });
}

async function openStorage(name: string, choice: StorageChoice): Promise<Storage> {
  if (choice === "memory") return createMemoryStorage();
  if (typeof choice === "object") return openDirectoryStorage(directoryOf(name, choice));
  throw new MeshError(
    "ERR_OPTION_INVALID",
    `storage "${choice}" does not exist in Node: pass { directory } or "memory"`,
  );
}

const directoryOf = (name: string, { directory }: { readonly directory: string }): string =>
  `${directory}/${name}`;

function platformOf({ name, storage }: OpenMeshOptions): Platform {
  if (typeof storage !== "object") return NODE_PLATFORM;
  const directory = directoryOf(name, storage);
  return { ...NODE_PLATFORM, room: () => directoryRoom(directory) };
}
