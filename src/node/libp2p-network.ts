/**
 * The real {@link Network}, on libp2p 3: frames over one stream per peer (`frame-links.ts`),
 * broadcast over gossipsub (`gossip-broadcast.ts`), connections kept by `connection-keeper.ts`.
 * It carries bytes and knows nothing of what they mean.
 *
 * libp2p never dials by itself here: every dial is the keeper's, others are denied.
 *
 * @module
 */

import type { GossipSub } from "@chainsafe/libp2p-gossipsub";
import { circuitRelayServer } from "@libp2p/circuit-relay-v2";
import { identify } from "@libp2p/identify";
import type { Connection, IdentifyResult, Libp2p, PrivateKey } from "@libp2p/interface";
import { noise } from "@libp2p/noise";
import { peerIdFromString } from "@libp2p/peer-id";
import { ping } from "@libp2p/ping";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p, type Libp2pOptions } from "libp2p";
import { MeshError, type MeshErrorCode } from "../protocol/errors.ts";
import type { MeshId, PeerId } from "../protocol/ids.ts";
import type {
  BroadcastVerdict,
  Clock,
  LinkKind,
  Network,
  NetworkHandlers,
  NetworkPeer,
  Random,
} from "../seams.ts";
import { createConnectionKeeper, DEGREE_MAX, type KeptHub } from "./connection-keeper.ts";
import { createFrameLinks, newestFirst, SYNC_PROTOCOL } from "./frame-links.ts";
import {
  createGossipBroadcast,
  type GossipBroadcast,
  gossipService,
  gossipTopic,
} from "./gossip-broadcast.ts";
import { DIAL_TIMEOUT_MS, driveKeeper, foundAddresses } from "./keeper-driver.ts";
import { lanAddressesOf } from "./hub-addresses.ts";
import { createHubDirectory } from "./hub-directory.ts";
import { createLanAddresses, hostOf } from "./lan-candidates.ts";
import { isDirect } from "./link-kind.ts";
import { libp2pPrivateKey, publicKeyOfPeerId } from "./peer-identity.ts";
import {
  type AdoptConnection,
  type PairedConnection,
  pairedConnections,
} from "./paired-connection.ts";
import { createPeerStanding, type PeerStanding } from "./peer-standing.ts";
import { loadTransportPlan, type TransportPlan } from "./transports.ts";
import type { WebrtcCertificate } from "./webrtc-certificate.ts";
import { yamuxThatEndsQuietly } from "./yamux-window-update.ts";

export interface Libp2pNetworkOptions {
  /** The author's Ed25519 seed, 32 bytes: the peer id is made from it. */
  readonly secretKey: Uint8Array;
  readonly meshId: MeshId;
  readonly role: "device" | "hub";
  /** Multiaddrs ending in `/p2p/…`, best first; all are kept connected. */
  readonly hubs: readonly string[];
  readonly gossip: "on" | "off";
  /** Multiaddrs to listen on, Node only: `/ip4/0.0.0.0/tcp/4001`, `…/ws`, `…/udp/4001/webrtc-direct`. */
  readonly listen: readonly string[];
  /** Kept by a hub, so that its `webrtc-direct` address stays. */
  readonly certificate: WebrtcCertificate | null;
  /** "mdns" finds Node peers on the LAN. */
  readonly discovery: "mdns" | "off";
  readonly relay: RelayLimits;
  readonly clock: Clock;
  readonly random: Random;
}

/** What this peer does for others that signal through it. */
export interface RelayLimits {
  readonly reservationsMax: number;
  readonly reservationMs: number;
  /** Per relayed connection; signalling takes some 10 KiB. Must be finite: see `isDirect`. */
  readonly connectionBytesMax: number;
  readonly connectionMs: number;
}

/** For a LAN of a hundred devices. libp2p's own: 15 reservations, 128 KiB, 2 minutes. */
export const HUB_RELAY_LIMITS: RelayLimits = {
  reservationsMax: 512,
  reservationMs: 24 * 3_600_000,
  connectionBytesMax: 1024 * 1024,
  connectionMs: 5 * 60_000,
};

export const DEVICE_RELAY_LIMITS: RelayLimits = { ...HUB_RELAY_LIMITS, reservationsMax: 100 };

export interface Libp2pNetwork extends Network {
  /** Where others can dial this peer, each ending in `/p2p/<self>`. Empty before `start`. */
  readonly addresses: () => readonly string[];
  /** Where the hubs that this peer is connected with can be dialled, best for browsers first. */
  readonly hubAddresses: () => readonly string[];
  /** Milliseconds, from libp2p's ping; `null` before the first. */
  readonly roundTripMs: (peer: PeerId) => number | null;
  /** Of any kind, relayed ones too. */
  readonly connectionCount: () => number;
  /** Forgives failed dials; for when the device knows that it changed networks. */
  readonly networkChanged: () => void;
  /**
   * Takes a connection that people made by hand; listens on it before it returns. Resolves when
   * frames go over a link with that peer, rejects when they will not.
   */
  readonly adopt: AdoptConnection;
  /** Bytes held for a peer: unsent, and received but not yet handled. */
  readonly bufferedBytes: (peer: PeerId) => { readonly unsent: number; readonly unhandled: number };
}

const HOUSEKEEPING_MS = 2_000;
/** libp2p waits without limit for WebRTC connections that never report their end. */
const STOP_TIMEOUT_MS = 5_000;

/** @throws MeshError ERR_OPTION_INVALID on a hub address without a peer id. */
export async function createLibp2pNetwork(options: Libp2pNetworkOptions): Promise<Libp2pNetwork> {
  const known = keptHubs(options.hubs);
  const plan = await loadTransportPlan(options);
  const privateKey = await libp2pPrivateKey(options.secretKey);
  const standing = createPeerStanding();
  const allowedDials = new Set<PeerId>();
  const libp2p = await createLibp2p(
    libp2pOptions(options, plan, privateKey, {
      denyDialPeer: (peer) => !allowedDials.has(peer.toString()),
      denyInboundEncryptedConnection: (peer) =>
        standing.isBanned(peer.toString(), options.clock.nowMs()),
      denyOutboundEncryptedConnection: (peer) =>
        standing.isBanned(peer.toString(), options.clock.nowMs()),
    }),
  );
  // A hub's own invite comes back to it through others.
  const hubs = known.filter(({ peer }) => peer !== libp2p.peerId.toString());
  return runNetwork({ options, plan, hubs, libp2p, standing, allowedDials });
}

interface Parts {
  readonly options: Libp2pNetworkOptions;
  readonly plan: TransportPlan;
  readonly hubs: readonly KeptHub[];
  readonly libp2p: Libp2p;
  readonly standing: PeerStanding;
  readonly allowedDials: Set<PeerId>;
}

function runNetwork({ options, plan, hubs, libp2p, standing, allowedDials }: Parts): Libp2pNetwork {
  const { role, meshId, clock, random } = options;
  const self = libp2p.peerId.toString();
  let state: "new" | "running" | "stopped" = "new";
  let handlers: NetworkHandlers | null = null;
  let gossip: GossipBroadcast | null = null;
  const undo: (() => void)[] = [];
  const lanAddresses = createLanAddresses();
  /** An event of the peer's name for each link. */
  const linkUp = new EventTarget();

  const keeper = driveKeeper({
    libp2p,
    clock,
    discovery: plan.discovery,
    allowedDials,
    keeper: createConnectionKeeper({
      self,
      role,
      hubs,
      signalling: plan.signalling,
      degreeMax: role === "hub" ? Number.POSITIVE_INFINITY : DEGREE_MAX,
      random,
    }),
  });
  const links = createFrameLinks({
    libp2p,
    clock,
    onUp: (peer, connection) => {
      linkUp.dispatchEvent(new Event(peer.id));
      handlers?.peerUp(peer);
      keeper.handle({ type: "carrying", peer: peer.id, connection: connection.id });
    },
    onDown: (peer) => handlers?.peerDown(peer),
    onFrame: async (peer, bytes) => handlers?.frame(peer, bytes),
    onArriving: (peer, bytes) => handlers?.arriving?.(peer, bytes),
    onBroken: (peer, code) => penalise(peer, code),
  });
  const connectionsTo = (peer: PeerId): Connection[] =>
    libp2p.getConnections(peerIdFromString(peer));

  const directory = createHubDirectory({
    libp2p,
    clock,
    role,
    isHub: (peer) => handlers?.isHub?.(peer) ?? false,
    connectionTo: (peer) => links.link(peer)?.connection,
    onHub: (peer, addresses, heardOver) => {
      const dialable =
        plan.signalling === "none"
          ? foundAddresses(addresses, peer)
          : lanAddressesOf(peer, addresses, heardOver);
      keeper.handle({ type: "found", peer, addresses: dialable });
    },
    onBroken: penalise,
  });

  function penalise(peer: PeerId, code: MeshErrorCode): void {
    const untilMs = standing.strike(peer, code, clock.nowMs());
    if (untilMs === null) return;
    keeper.handle({ type: "banned", peer, untilMs });
    for (const connection of connectionsTo(peer)) {
      connection.abort(new MeshError(code, "too many bad frames"));
    }
  }

  async function judge(from: PeerId, bytes: Uint8Array): Promise<BroadcastVerdict> {
    const verdict = (await handlers?.broadcast(from, bytes)) ?? "ignore";
    if (verdict === "reject") penalise(from, "ERR_NOT_CANONICAL");
    return verdict;
  }

  async function start(given: NetworkHandlers): Promise<void> {
    if (state !== "new") return;
    state = "running";
    handlers = given;
    libp2p.addEventListener("peer:identify", learnAddresses);
    libp2p.addEventListener("peer:disconnect", disconnected);
    undo.push(plan.prepare(lanAddresses), () => {
      libp2p.removeEventListener("peer:identify", learnAddresses);
      libp2p.removeEventListener("peer:disconnect", disconnected);
    });
    await libp2p.handle(SYNC_PROTOCOL, links.accept, { runOnLimitedConnection: false });
    await directory.serve();
    await plan.beforeStart();
    try {
      await libp2p.start();
    } catch (cause) {
      await stop();
      throw new MeshError("ERR_NETWORK", "cannot listen", { cause });
    }
    plan.afterStart(libp2p);
    if (options.gossip === "on") {
      const pubsub = libp2p.services["pubsub"] as GossipSub;
      gossip = createGossipBroadcast(pubsub, gossipTopic(meshId), judge);
    }
    const housekeeping = setInterval(() => {
      links.open();
      directory.refresh();
      gossip?.heal((peer) => newestFirst(connectionsTo(peer))[0]);
    }, HOUSEKEEPING_MS);
    undo.push(
      () => clearInterval(housekeeping),
      plan.onNetworkChange(networkChanged),
      plan.onVisible(() => keeper.handle({ type: "visible" })),
    );
    keeper.handle({ type: "woken" });
  }

  function learnAddresses({ detail }: CustomEvent<IdentifyResult>): void {
    const hub = detail.peerId.toString();
    directory.identified(detail);
    const address = detail.observedAddr === undefined ? null : hostOf(detail.observedAddr);
    const isHub = hubs.some(({ peer }) => peer === hub);
    if (isHub && address !== null && isDirect(detail.connection)) lanAddresses.learn(hub, address);
  }

  function disconnected({ detail }: CustomEvent<{ toString: () => string }>): void {
    directory.disconnected(detail.toString());
  }

  async function adopt(paired: PairedConnection, signal: AbortSignal): Promise<void> {
    if (state !== "running") throw new MeshError("ERR_NETWORK", "the network is stopped");
    const { peer, data } = paired;
    keeper.handle({ type: "paired", peer });
    await (libp2p.services["paired"] as { readonly adopt: AdoptConnection }).adopt(paired, signal);
    if (links.link(peer) !== undefined) return;
    await new Promise<void>((resolve, reject) => {
      const ended = (): void => reject(new MeshError("ERR_NETWORK", "the connection ended"));
      linkUp.addEventListener(peer, () => resolve(), { once: true, signal });
      data.addEventListener("close", ended, { once: true, signal });
      signal.addEventListener("abort", ended, { once: true });
      if (signal.aborted || data.readyState !== "open") ended();
    });
  }

  function networkChanged(): void {
    keeper.handle({ type: "networkChanged" });
  }

  async function stop(): Promise<void> {
    if (state === "stopped") return;
    state = "stopped";
    links.stop();
    keeper.stop();
    gossip?.stop();
    for (const each of undo.splice(0)) each();
    await plan.beforeStop(libp2p);
    await settled(Promise.resolve(libp2p.stop()), STOP_TIMEOUT_MS);
    handlers = null;
  }

  function linksNow(): readonly NetworkPeer[] {
    const relayed = libp2p.getConnections().filter((connection) => !isDirect(connection));
    const peers = new Map<PeerId, LinkKind>();
    for (const { remotePeer } of relayed) peers.set(remotePeer.toString(), "relayed");
    for (const [id, { kind }] of links.all()) peers.set(id, kind);
    return [...peers].map(([id, link]) => ({ id, link }));
  }

  return {
    self,
    start,
    stop,
    send: async (to, frame) => links.link(to)?.frames.send(frame),
    broadcast: async (bytes) => (gossip === null ? 0 : gossip.publish(bytes)),
    penalise,
    suggestPeers: (via, peers) => keeper.handle({ type: "suggested", via, peers }),
    links: linksNow,
    addresses: () => libp2p.getMultiaddrs().map((address) => address.toString()),
    hubAddresses: directory.addresses,
    roundTripMs: (peer) => links.link(peer)?.connection.rtt ?? null,
    connectionCount: () => libp2p.getConnections().length,
    networkChanged,
    adopt,
    bufferedBytes: (peer) => {
      const frames = links.link(peer)?.frames;
      return { unsent: frames?.unsentBytes() ?? 0, unhandled: frames?.unhandledBytes() ?? 0 };
    },
  };
}

async function settled(promise: Promise<void>, timeoutMs: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  await Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
}

function libp2pOptions(
  { role, gossip, listen, relay, meshId }: Libp2pNetworkOptions,
  plan: TransportPlan,
  privateKey: PrivateKey,
  gater: NonNullable<Libp2pOptions["connectionGater"]>,
): Libp2pOptions {
  return {
    start: false,
    privateKey,
    addresses: { listen: [...listen, ...plan.listen] },
    transports: plan.transports,
    connectionEncrypters: [noise()],
    streamMuxers: [yamuxThatEndsQuietly()],
    // The default refuses private addresses and ws://: a LAN has no others.
    connectionGater: { denyDialMultiaddr: () => false, ...gater },
    connectionManager: {
      maxConnections: role === "hub" ? 1_000 : 100,
      // All dials relayed by a hub count as coming from the hub's one address.
      inboundConnectionThreshold: 1_000,
      maxIncomingPendingConnections: 200,
      addressDialTimeout: DIAL_TIMEOUT_MS,
      reconnectRetries: 0,
      // No DNS-over-HTTPS: nothing on the internet is contacted.
      resolvers: {},
    },
    // The backstop; frame streams notice sooner (frame-stream.ts).
    connectionMonitor: { pingInterval: 5_000, pingTimeout: { minTimeout: 10_000 } },
    services: {
      identify: identify(),
      ping: ping(),
      paired: pairedConnections(),
      ...(plan.discovery === null ? {} : { discovery: plan.discovery.service }),
      relay: circuitRelayServer({
        maxInboundHopStreams: 256,
        maxOutboundHopStreams: 256,
        reservations: {
          maxReservations: relay.reservationsMax,
          reservationTtl: relay.reservationMs,
          defaultDurationLimit: relay.connectionMs,
          defaultDataLimit: BigInt(relay.connectionBytesMax),
        },
      }),
      ...(gossip === "on" ? { pubsub: gossipService(gossipTopic(meshId)) } : {}),
    },
  };
}

/** By peer, in the order given. @throws MeshError ERR_OPTION_INVALID */
export function keptHubs(addresses: readonly string[]): readonly KeptHub[] {
  const byPeer = new Map<PeerId, string[]>();
  for (const address of addresses) {
    let peer: string | undefined;
    try {
      peer = multiaddr(address)
        .getComponents()
        .findLast(({ name }) => name === "p2p")?.value;
      if (peer !== undefined) publicKeyOfPeerId(peer);
    } catch (cause) {
      throw new MeshError("ERR_OPTION_INVALID", `hub address ${address}`, { cause });
    }
    if (peer === undefined) throw new MeshError("ERR_OPTION_INVALID", `${address} lacks /p2p/…`);
    byPeer.set(peer, [...(byPeer.get(peer) ?? []), address]);
  }
  return [...byPeer].map(([peer, ofPeer]) => ({ peer, addresses: ofPeer }));
}
