/**
 * A mesh: one replica, the network while there is one to be on, and what may be said of both.
 * Platforms differ in how they open a replica; `open-mesh-node.ts` and `open-mesh-browser.ts` say how.
 *
 * @module
 */

import { isMeshError, MeshError } from "../protocol/errors.ts";
import { decodeInvite, encodeInvite, inviteLink, parseInviteLink } from "../protocol/genesis.ts";
import type { Invite } from "../protocol/genesis.ts";
import { INVITE_ADDRESSES_MAX, NAME_BYTES_MAX } from "../protocol/limits.ts";
import type { Clock, Random } from "../seams.ts";
import type { Ed25519 } from "../signing/ed25519.ts";
import { createGenesis, verifyGenesis } from "../signing/genesis.ts";
import type { Mesh, MeshStatus, OpenMeshOptions } from "./api.ts";
import { type Drive, drive } from "./drive.ts";
import {
  createLibp2pNetwork,
  DEVICE_RELAY_LIMITS,
  HUB_RELAY_LIMITS,
  type Libp2pNetwork,
} from "./libp2p-network.ts";
import { meshStatus, NO_NETWORK } from "./mesh-status.ts";
import { peerIdOfPublicKey } from "./peer-identity.ts";
import type { Replica, ReplicaReport } from "./replica.ts";
import { createStatusFeed } from "./status-feed.ts";
import type { WebrtcCertificate } from "./webrtc-certificate.ts";

/** What makes a peer a hub: it listens, relays, and founds a mesh when its replica has none. */
export interface HubSettings {
  readonly meshName: string;
  /** Multiaddrs to listen on. */
  readonly listen: readonly string[];
  readonly certificate: WebrtcCertificate;
}

export interface MeshParts {
  readonly replica: Replica;
  readonly ed25519: Ed25519;
  readonly clock: Clock;
  readonly random: Random;
  readonly hub: HubSettings | null;
}

/** Takes over the replica: it is closed with the mesh, and when this throws. */
export async function openMeshOver(parts: MeshParts, options: OpenMeshOptions): Promise<Mesh> {
  try {
    return await createMesh(parts, options);
  } catch (error) {
    await parts.replica.close();
    throw error;
  }
}

async function createMesh(parts: MeshParts, options: OpenMeshOptions): Promise<Mesh> {
  const { replica, clock, hub } = parts;
  const { keys } = replica;
  const peerId = peerIdOfPublicKey(keys.publicKey);
  let report: ReplicaReport = await replica.report();
  let link: { readonly network: Libp2pNetwork; readonly drive: Drive } | null = null;
  let wanted: "on" | "off" = options.network ?? "on";
  let state: "open" | "closed" = "open";
  // Calls that start or stop the network are served one after another.
  let turn: Promise<unknown> = Promise.resolve();

  const feed = createStatusFeed((): MeshStatus =>
    meshStatus({
      meshId: replica.mesh(),
      storage: replica.storage,
      online: link !== null,
      report,
      replication: link?.drive.status() ?? NO_NETWORK,
      links: link?.network.links() ?? [],
      roundTripMs: (peer) => link?.network.roundTripMs(peer) ?? null,
      nowMs: clock.nowMs(),
    }),
  );

  const stopListening = replica.onChange(() => void refresh());

  async function refresh(): Promise<void> {
    try {
      report = await replica.report();
      feed.changed();
    } catch {
      // Closing: nobody is left to be told.
    }
  }

  function inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = turn.then(run);
    turn = result.catch(() => undefined);
    return result;
  }

  async function goOnline(): Promise<void> {
    const binding = replica.binding();
    if (link !== null || wanted === "off" || binding === null || state === "closed") return;
    const network = await createLibp2pNetwork({
      secretKey: keys.secretKey,
      meshId: binding.id,
      role: hub === null ? "device" : "hub",
      hubs: hub === null ? decodeInvite(binding.invite).hubs : [],
      gossip: options.gossip ?? "on",
      listen: hub?.listen ?? [],
      certificate: hub?.certificate ?? null,
      discovery: hub === null ? "off" : "mdns",
      relay: hub === null ? DEVICE_RELAY_LIMITS : HUB_RELAY_LIMITS,
      clock,
      random: parts.random,
    });
    const started = await drive({
      network,
      store: replica,
      clock,
      random: parts.random,
      mesh: binding.id,
      site: keys.siteId,
      role: hub === null ? "device" : "hub",
      name: options.deviceName ?? "",
    });
    link = { network, drive: started };
    started.onStatus(feed.changed);
    feed.changed();
  }

  async function goOffline(): Promise<void> {
    if (link === null) return;
    const { network, drive: running } = link;
    link = null;
    await running.stop();
    await network.stop();
    feed.changed();
  }

  async function bind(invite: Invite): Promise<void> {
    const { mesh } = await verifyGenesis(parts.ed25519, invite.genesis);
    const before = replica.binding();
    await replica.bindMesh(mesh, encodeInvite(merged(invite, before?.invite ?? null)));
    // Other hubs to know: start again with them.
    if (before !== null) await goOffline();
    await goOnline();
    await refresh();
  }

  /** Binds drafts to a mesh of our own. */
  async function found(name: string): Promise<void> {
    const random = parts.random.bytes(16);
    const genesis = await createGenesis(parts.ed25519, keys, { policy: "open", random, name });
    await bind({ genesis, hubs: [] });
  }

  async function join(text: string): Promise<void> {
    const invite = parseInviteLink(text);
    await inTurn(() => bind(invite));
  }

  async function invite(baseUrl: string): Promise<string> {
    if (replica.binding() === null) {
      const name = hub?.meshName ?? options.deviceName ?? options.name;
      await inTurn(async () => (replica.binding() === null ? found(name) : undefined));
    }
    const binding = replica.binding();
    if (binding === null) throw new MeshError("ERR_NO_MESH", "no mesh was bound");
    const known = decodeInvite(binding.invite);
    const own = hub === null ? [] : (link?.network.addresses() ?? []);
    const hubs = [...new Set([...own, ...known.hubs])].slice(0, INVITE_ADDRESSES_MAX);
    return inviteLink({ ...known, hubs }, baseUrl);
  }

  async function close(): Promise<void> {
    if (state === "closed") return;
    state = "closed";
    feed.stop();
    await inTurn(goOffline);
    stopListening();
    await replica.close();
  }

  if (options.join !== undefined) await join(options.join);
  else if (hub !== null && replica.binding() === null) await found(hub.meshName);
  else await inTurn(goOnline);

  return {
    db: replica.db,
    siteId: keys.siteId,
    peerId,
    publicKey: keys.publicKey,
    status: feed.now,
    onStatus: feed.subscribe,
    events: replica.events,
    stateHash: replica.stateHash,
    invite: ({ baseUrl = DEFAULT_BASE_URL } = {}) => invite(baseUrl),
    join,
    online: (online) => {
      wanted = online ? "on" : "off";
      return inTurn(online ? goOnline : goOffline);
    },
    rebuild: replica.rebuild,
    close,
  };
}

/** A link is only a carrier of its fragment; apps pass their own page. */
const DEFAULT_BASE_URL = "https://rowmesh.invalid/";

/** The newer invite's hubs first; those known before stay, as long as there is room. */
function merged(invite: Invite, known: Uint8Array | null): Invite {
  if (known === null) return invite;
  const hubs = [...new Set([...invite.hubs, ...hubsOf(known)])];
  return { ...invite, hubs: hubs.slice(0, INVITE_ADDRESSES_MAX) };
}

function hubsOf(invite: Uint8Array): readonly string[] {
  try {
    return decodeInvite(invite).hubs;
  } catch (error) {
    if (isMeshError(error)) return [];
    throw error;
  }
}

const NAME = /^[a-z0-9_-]{1,64}$/;

/** @throws MeshError ERR_OPTION_INVALID naming the option and the fix. */
export function checkOptions({ name, deviceName = "" }: OpenMeshOptions): void {
  if (!NAME.test(name)) {
    throw new MeshError("ERR_OPTION_INVALID", `name "${name}" must match [a-z0-9_-]{1,64}`);
  }
  if (new TextEncoder().encode(deviceName).length > NAME_BYTES_MAX) {
    throw new MeshError("ERR_OPTION_INVALID", `deviceName exceeds ${NAME_BYTES_MAX} bytes`);
  }
}
