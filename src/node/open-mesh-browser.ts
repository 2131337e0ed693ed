/**
 * `openMesh` in a browser window: the replica lives in a dedicated worker, so that SQL, hashing and
 * signatures never hold the page; libp2p stays here, since WebRTC does not exist in workers. Where
 * the browser has Web Locks the tabs of an origin share both: see `shared-mesh.ts`.
 *
 * @module
 */

import type { StorageKind } from "../db/storage.ts";
import { MeshError } from "../protocol/errors.ts";
import { toHex } from "../protocol/ids.ts";
import type { Mesh, OpenMeshOptions, StorageChoice } from "./api.ts";
import { chooseEd25519 } from "./ed25519-webcrypto.ts";
import { checkOptions, type MeshParts, openMeshOver } from "./mesh.ts";
import { openPairingChannel } from "./pairing-channel.ts";
import { browserPlatform } from "./platform.ts";
import { openReplicaInWorker, type RemoteReplica } from "./replica-client.ts";
import type { ReplicaRequest, WorkerDoor } from "./replica-host.ts";
import { createSeats } from "./seats.ts";
import { createSharedMesh } from "./shared-mesh.ts";
import { systemClock, systemRandom } from "./system-seams.ts";
import { createLeadership } from "./tab-leadership.ts";
import { webLocks } from "./tab-locks.ts";
import { meetingName } from "./tab-messages.ts";
import { leaderSeat, type LeaderSeat, openFollowerSeat } from "./tab-seats.ts";
import { hasWebrtc } from "./transports.ts";

/**
 * Opens the database, makes a key for a new one, and connects; or, in a further tab, goes through the
 * one that did. Of the options of further tabs `join` and `schema` count, the others are those of the
 * tab that leads.
 * @throws MeshError ERR_OPTION_INVALID, ERR_SCHEMA_INVALID, ERR_SCHEMA_NEWER,
 * ERR_STORAGE_LOCKED, ERR_STORAGE_UNAVAILABLE, ERR_INVITE_INVALID, ERR_MESH_DIFFERENT, ERR_DATABASE_CORRUPT
 */
export async function openMesh(options: OpenMeshOptions): Promise<Mesh> {
  checkOptions(options);
  // Whatever going online takes, as long as the page's server is there to load it from.
  const loading = import("./transports-browser.ts").catch(() => undefined);
  const [mesh] = await Promise.all([openAsTab(options), loading]);
  return mesh;
}

async function openAsTab(options: OpenMeshOptions): Promise<Mesh> {
  const { storage = "auto" } = options;
  if (typeof storage === "object") {
    throw new MeshError("ERR_OPTION_INVALID", "storage { directory } exists in Node only");
  }
  const locks = webLocks();
  if (locks !== null && storage !== "memory") return openSharedMesh(locks, options, storage);
  const door = locks === null ? null : { term: newId(), channel: null };
  const { parts } = await openParts(options, storage, door);
  return openMeshOver(parts, options);
}

async function openSharedMesh(
  locks: LockManager,
  options: OpenMeshOptions,
  storage: ReplicaRequest["storage"],
): Promise<Mesh> {
  const name = meetingName(options.name, storage === "indexeddb" ? storage : "default");
  const tab = newId();
  const seats = createSeats();
  let joined = options.join === undefined;
  const lead = async (term: string, online: boolean): Promise<LeaderSeat> => {
    const { remote, parts } = await openParts(options, storage, { term, channel: name });
    const { join = "", signal: _, ...kept } = options;
    const mesh = await openMeshOver(parts, {
      ...kept,
      ...(joined ? {} : { join }),
      network: online ? "on" : "off",
    });
    joined = true;
    return leaderSeat(locks, term, remote, mesh);
  };
  const leadership = createLeadership({
    locks,
    name,
    tab,
    newTerm: newId,
    schema: options.schema ?? null,
    online: options.network !== "off",
    seats,
    lead,
    follow: (term, closed) => openFollowerSeat(term, tab, closed),
  });
  const first = await leadership.open(options.signal);
  try {
    if (!joined && first.role === "follower")
      await seats.reach(({ mesh }) => mesh.join(options.join ?? ""));
    joined = true;
    if (options.signal?.aborted === true) throw new MeshError("ERR_ABORTED", "the caller's signal");
    return createSharedMesh(seats, leadership, tab, await seats.next());
  } catch (error) {
    await leadership.close();
    throw error;
  }
}

const newId = (): string => toHex(systemRandom.bytes(16));

interface Opened {
  readonly remote: RemoteReplica;
  readonly parts: MeshParts;
}

async function openParts(
  { name, schema }: OpenMeshOptions,
  storage: ReplicaRequest["storage"],
  door: WorkerDoor | null,
): Promise<Opened> {
  const worker = new Worker(new URL("./replica-worker.js", import.meta.url), { type: "module" });
  const request = { name, schema: schema ?? null, storage, door };
  const [remote, ed25519] = await Promise.all([
    openReplicaInWorker(worker, request),
    chooseEd25519(),
  ]);
  const { replica } = remote;
  const parts: MeshParts = {
    replica,
    ed25519,
    clock: systemClock,
    random: systemRandom,
    hub: null,
    platform: browserPlatform(window, opfsOf(storage, replica.storage.kind)),
    tabRole: () => (door?.channel ? "leader" : "alone"),
    openPairingChannel: hasWebrtc() ? openPairingChannel : null,
  };
  return { remote, parts };
}

/** "auto" takes IndexedDB where OPFS could not be opened. */
function opfsOf(wanted: StorageChoice, kind: StorageKind): "open" | "refused" | "untried" {
  if (kind === "opfs") return "open";
  return wanted === "auto" && kind === "indexeddb" ? "refused" : "untried";
}
