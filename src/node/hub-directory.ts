/**
 * How a device learns of other hubs than the one it joined at: each hub tells whoever asks where the
 * hubs that it is linked with can be dialled, so that when one dies the others are known.
 * ```
 * /rowmesh/hubs/1    asks by opening the stream    hub: varint count │ count × text address
 * ```
 *
 * @module
 */

import type { Connection, IdentifyResult, Libp2p, Stream } from "@libp2p/interface";
import { type Multiaddr, multiaddr } from "@multiformats/multiaddr";
import { ByteReader, ByteWriter, concatBytes, notCanonical } from "../protocol/bytes.ts";
import { isMeshError, MeshError, type MeshErrorCode } from "../protocol/errors.ts";
import type { PeerId } from "../protocol/ids.ts";
import { ADDRESS_BYTES_MAX, INVITE_ADDRESSES_MAX } from "../protocol/limits.ts";
import type { Clock } from "../seams.ts";
import { lanAddressesOf } from "./hub-addresses.ts";
import { publicKeyOfPeerId } from "./peer-identity.ts";

export const HUBS_PROTOCOL = "/rowmesh/hubs/1";
const ASK_MS = 15_000;
const ANSWER_TIMEOUT_MS = 5_000;
/** Sixteen addresses with their lengths, and the count. */
export const ANSWER_BYTES_MAX: number = INVITE_ADDRESSES_MAX * (ADDRESS_BYTES_MAX + 2) + 1;

export interface HubDirectoryOptions {
  readonly libp2p: Libp2p;
  readonly clock: Clock;
  readonly role: "device" | "hub";
  /** Of this mesh: anybody can speak the protocol. */
  readonly isHub: (peer: PeerId) => boolean;
  /** The direct one, if there is one. */
  readonly connectionTo: (peer: PeerId) => Connection | undefined;
  /** Somebody says that there is such a hub, and how it can be dialled. */
  readonly onHub: (peer: PeerId, addresses: readonly Multiaddr[], heardOver: Multiaddr) => void;
  readonly onBroken: (peer: PeerId, code: MeshErrorCode) => void;
}

export interface HubDirectory {
  /** Answers, if this is a hub. */
  readonly serve: () => Promise<void>;
  readonly identified: (result: IdentifyResult) => void;
  readonly disconnected: (peer: PeerId) => void;
  /** Asks those hubs whose answer is old; call it every few seconds. */
  readonly refresh: () => void;
  /** Of the hubs that this peer is connected with, best for browsers first. */
  readonly addresses: () => readonly string[];
}

interface Teller {
  readonly addresses: readonly string[];
  askAfterMs: number;
}

export function createHubDirectory(options: HubDirectoryOptions): HubDirectory {
  const { libp2p, clock, role, isHub, connectionTo, onHub, onBroken } = options;
  /** Connected peers that answer. */
  const tellers = new Map<PeerId, Teller>();

  const addresses = (): readonly string[] =>
    [...tellers].flatMap(([peer, teller]) => (isHub(peer) ? teller.addresses : []));

  /** Whoever asks knows itself. */
  const answerTo = (asker: PeerId): readonly string[] =>
    addresses()
      .filter((address) => !address.endsWith(`/p2p/${asker}`))
      .slice(0, INVITE_ADDRESSES_MAX);

  async function answer(stream: Stream, connection: Connection): Promise<void> {
    try {
      stream.send(encodeAddresses(answerTo(connection.remotePeer.toString())));
      await stream.close({ signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
    } catch (error) {
      stream.abort(error instanceof Error ? error : new Error(String(error)));
    }
  }

  async function ask(peer: PeerId, connection: Connection): Promise<void> {
    try {
      const hubs = decodeAddresses(await readAnswer(connection));
      for (const [hub, found] of hubs) onHub(hub, found, connection.remoteAddr);
    } catch (error) {
      // Else the connection ended, or took too long.
      if (isMeshError(error)) onBroken(peer, error.code);
    }
  }

  return {
    serve: async () => {
      if (role !== "hub") return;
      const limits = { maxInboundStreams: 2, runOnLimitedConnection: false };
      await libp2p.handle(HUBS_PROTOCOL, answer, limits);
    },
    identified: ({ peerId, protocols, listenAddrs, connection }) => {
      const peer = peerId.toString();
      if (!protocols.includes(HUBS_PROTOCOL)) return;
      const its = lanAddressesOf(peer, listenAddrs, connection.remoteAddr);
      tellers.set(peer, { addresses: its, askAfterMs: tellers.get(peer)?.askAfterMs ?? 0 });
    },
    disconnected: (peer) => tellers.delete(peer),
    refresh: () => {
      const nowMs = clock.nowMs();
      for (const [peer, teller] of tellers) {
        const connection = connectionTo(peer);
        if (connection === undefined || !isHub(peer) || nowMs < teller.askAfterMs) continue;
        teller.askAfterMs = nowMs + ASK_MS;
        void ask(peer, connection);
      }
    },
    addresses,
  };
}

async function readAnswer(connection: Connection): Promise<Uint8Array> {
  const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
  const stream = await connection.newStream(HUBS_PROTOCOL, { signal });
  const onTimeout = (): void => stream.abort(new Error("no answer"));
  signal.addEventListener("abort", onTimeout);
  try {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of stream) {
      bytes += chunk.byteLength;
      if (bytes > ANSWER_BYTES_MAX) throw new MeshError("ERR_LIMIT", "addresses of hubs");
      chunks.push(chunk instanceof Uint8Array ? chunk : chunk.subarray());
      // An end that came before we listened is not told again.
      if (stream.remoteWriteStatus === "closed" && stream.readBufferLength === 0) break;
    }
    return concatBytes(chunks);
  } finally {
    signal.removeEventListener("abort", onTimeout);
    stream.abort(new Error("answered"));
  }
}

export function encodeAddresses(addresses: readonly string[]): Uint8Array {
  const writer = new ByteWriter().varint(addresses.length);
  for (const address of addresses) writer.text(address);
  return writer.finish();
}

/** By peer. @throws MeshError ERR_NOT_CANONICAL, ERR_LIMIT */
export function decodeAddresses(bytes: Uint8Array): ReadonlyMap<PeerId, readonly Multiaddr[]> {
  const reader = new ByteReader(bytes);
  const count = reader.varint(INVITE_ADDRESSES_MAX);
  const byPeer = new Map<PeerId, Multiaddr[]>();
  for (let i = 0; i < count; i++) {
    const [peer, address] = parseAddress(reader.text(ADDRESS_BYTES_MAX));
    byPeer.set(peer, [...(byPeer.get(peer) ?? []), address]);
  }
  reader.end();
  return byPeer;
}

function parseAddress(text: string): readonly [PeerId, Multiaddr] {
  try {
    const address = multiaddr(text);
    const last = address.getComponents().at(-1);
    if (last?.name !== "p2p" || last.value === undefined) throw notCanonical("no peer id");
    publicKeyOfPeerId(last.value);
    return [last.value, address];
  } catch {
    throw notCanonical("the address of a hub");
  }
}
