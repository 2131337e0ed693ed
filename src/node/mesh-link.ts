/**
 * The mesh's link to the world: a libp2p network and the replication that drives it, made anew each
 * time the device goes online. Switching is served one call after another.
 *
 * @module
 */

import type { HeldVersions } from "../gossip/held-elsewhere.ts";
import type { ReplicationStatus } from "../gossip/replication.ts";
import { MeshError, type MeshErrorCode } from "../protocol/errors.ts";
import { decodeInvite } from "../protocol/genesis.ts";
import type { PeerId } from "../protocol/ids.ts";
import type { Clock, NetworkPeer, Random } from "../seams.ts";
import type { OpenMeshOptions, PeerStatus } from "./api.ts";
import { type Drive, drive } from "./drive.ts";
import {
  createLibp2pNetwork,
  DEVICE_RELAY_LIMITS,
  HUB_RELAY_LIMITS,
  type Libp2pNetwork,
} from "./libp2p-network.ts";
import { isLoopback } from "./link-kind.ts";
import type { AdoptConnection } from "./paired-connection.ts";
import type { Replica } from "./replica.ts";
import type { WebrtcCertificate } from "./webrtc-certificate.ts";

/** What makes a peer a hub: it listens, relays, and founds a mesh when its replica has none. */
export interface HubSettings {
  readonly meshName: string;
  /** Multiaddrs to listen on. */
  readonly listen: readonly string[];
  readonly certificate: WebrtcCertificate;
  /** What its other doors have refused so far, for the status. */
  readonly refusals?: () => ReadonlyMap<MeshErrorCode, number>;
}

export interface MeshLinkOptions extends Pick<
  OpenMeshOptions,
  "gossip" | "deviceName" | "discovery"
> {
  readonly replica: Replica;
  readonly clock: Clock;
  readonly random: Random;
  readonly hub: HubSettings | null;
  /** Of our own log, what was known to be held by others before. */
  readonly heldBefore: HeldVersions;
  /** Called after anything that the status shows. */
  readonly changed: () => void;
}

export interface MeshLink {
  /**
   * Goes online; does nothing when it is, or when the replica belongs to no mesh.
   * @throws ERR_CLOSED
   */
  readonly up: () => Promise<void>;
  readonly down: () => Promise<void>;
  /** Down and up again, with what the replica's invite says now. */
  readonly again: () => Promise<void>;
  /** Down, and for good. */
  readonly close: () => Promise<void>;
  /** Null while offline. */
  readonly replication: () => ReplicationStatus | null;
  /** Of the links before this one. */
  readonly refusedBefore: () => ReadonlyMap<MeshErrorCode, number>;
  readonly peers: () => readonly NetworkPeer[];
  readonly roundTripMs: (peer: PeerId) => number | null;
  /** Bytes on the way to the peer, and from it. */
  readonly queue: (peer: PeerId) => PeerStatus["queue"];
  /** Of our own log, what peers of this link or one before it claimed to hold. */
  readonly heldElsewhere: () => HeldVersions;
  /** As {@link Libp2pNetwork.adopt}. @throws ERR_NETWORK while offline */
  readonly adopt: AdoptConnection;
  /** Where others can dial this peer. */
  readonly addresses: () => readonly string[];
  /** Where they can dial the hubs that this peer is linked with. */
  readonly hubAddresses: () => readonly string[];
}

export function createMeshLink(options: MeshLinkOptions): MeshLink {
  let link: { readonly network: Libp2pNetwork; readonly drive: Drive } | null = null;
  let turn: Promise<void> = Promise.resolve();
  let closed = false;
  let refusedBefore: ReadonlyMap<MeshErrorCode, number> = new Map();
  /** As the last link left it. */
  let heldElsewhere = options.heldBefore;

  function inTurn(run: () => Promise<void>): Promise<void> {
    const result = turn.then(run);
    turn = result.catch(() => undefined);
    return result;
  }

  async function up(): Promise<void> {
    if (closed) throw new MeshError("ERR_CLOSED", "the mesh is closed");
    const binding = options.replica.binding();
    if (link !== null || binding === null) return;
    link = await connect(options, binding, heldElsewhere);
    link.drive.onStatus(options.changed);
    options.changed();
  }

  async function down(): Promise<void> {
    if (link === null) return;
    const { network, drive: running } = link;
    const last = running.status();
    refusedBefore = sumCounts(refusedBefore, last.refusals);
    ({ heldElsewhere } = last);
    link = null;
    await running.stop();
    await network.stop();
    options.changed();
  }

  return {
    up: () => inTurn(up),
    down: () => inTurn(down),
    again: () => inTurn(() => down().then(up)),
    close: () => {
      closed = true;
      return inTurn(down);
    },
    replication: () => link?.drive.status() ?? null,
    refusedBefore: () => refusedBefore,
    peers: () => link?.network.links() ?? [],
    roundTripMs: (peer) => link?.network.roundTripMs(peer) ?? null,
    queue: (peer) => {
      const { unsent, unhandled } = link?.network.bufferedBytes(peer) ?? NOTHING_BUFFERED;
      return { unsentBytes: unsent, unhandledBytes: unhandled };
    },
    heldElsewhere: () => link?.drive.status().heldElsewhere ?? heldElsewhere,
    adopt: async (paired, signal) => {
      if (link === null) throw new MeshError("ERR_NETWORK", "this device went offline");
      await link.network.adopt(paired, signal);
    },
    addresses: () => link?.network.addresses() ?? [],
    hubAddresses: () => link?.network.hubAddresses() ?? [],
  };
}

const NOTHING_BUFFERED = { unsent: 0, unhandled: 0 };

/** Counts by code, added up. */
export function sumCounts(
  ...maps: readonly ReadonlyMap<MeshErrorCode, number>[]
): ReadonlyMap<MeshErrorCode, number> {
  const sum = new Map<MeshErrorCode, number>();
  for (const map of maps) {
    for (const [code, count] of map) sum.set(code, (sum.get(code) ?? 0) + count);
  }
  return sum;
}

async function connect(
  {
    replica,
    clock,
    random,
    hub,
    gossip = "on",
    deviceName = "",
    discovery = "mdns",
  }: MeshLinkOptions,
  binding: NonNullable<ReturnType<Replica["binding"]>>,
  heldElsewhere: HeldVersions,
): Promise<{ readonly network: Libp2pNetwork; readonly drive: Drive }> {
  const role = hub === null ? "device" : "hub";
  const { hubs } = decodeInvite(binding.invite);
  const network = await createLibp2pNetwork({
    secretKey: replica.keys.secretKey,
    meshId: binding.id,
    role,
    hubs: hubsToDial(hubs, role),
    gossip,
    listen: hub?.listen ?? [],
    certificate: hub?.certificate ?? null,
    discovery: isOnLan(hub?.listen ?? hubs) ? discovery : "off",
    relay: hub === null ? DEVICE_RELAY_LIMITS : HUB_RELAY_LIMITS,
    clock,
    random,
  });
  try {
    const running = await drive({
      network,
      store: replica,
      clock,
      random,
      mesh: binding.id,
      site: replica.keys.siteId,
      role,
      name: deviceName,
      ownSites: replica.ownSites(),
      heldElsewhere,
    });
    return { network, drive: running };
  } catch (error) {
    await network.stop();
    throw error;
  }
}

/** Hubs meet over plain TCP: what browsers need would only cost them more. */
const hubsToDial = (addresses: readonly string[], role: "device" | "hub"): readonly string[] =>
  role === "hub" ? addresses.filter((address) => PLAIN_TCP.test(address)) : addresses;

const PLAIN_TCP = /^\/ip[46]\/[^/]+\/tcp\/\d+\/p2p\//;

/** A hub that listens on this machine only has nothing to call out to the LAN, nor have its devices. */
const isOnLan = (addresses: readonly string[]): boolean =>
  addresses.length === 0 || !addresses.every(isLoopback);
