/** A libp2p peer that knows the join link and says whatever a test wants it to. */
import { generateKeyPair } from "@libp2p/crypto/keys";
import { identify } from "@libp2p/identify";
import type { Connection, PrivateKey, Stream } from "@libp2p/interface";
import { noise } from "@libp2p/noise";
import { peerIdFromPrivateKey } from "@libp2p/peer-id";
import { tcp } from "@libp2p/tcp";
import { yamux } from "@libp2p/yamux";
import type { GossipSub } from "@chainsafe/libp2p-gossipsub";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";
import {
  encodeCredit,
  encodeFrame,
  frameCost,
  FrameRecordReader,
} from "../../src/node/frame-record.ts";
import { SYNC_PROTOCOL } from "../../src/node/frame-links.ts";
import { HUBS_PROTOCOL } from "../../src/node/hub-directory.ts";
import { gossipService } from "../../src/node/gossip-broadcast.ts";
import type { MeshId } from "../../src/protocol/ids.ts";
import { decodeMessage, encodeMessage, type Message } from "../../src/protocol/messages.ts";

export interface HostilePeer {
  readonly id: string;
  readonly connection: Connection;
  readonly pubsub: GossipSub;
  /** Opens one more stream, which replaces the last. */
  readonly open: () => Promise<HostileStream>;
  readonly redial: () => Promise<Connection>;
  readonly stop: () => Promise<void>;
}

export interface HostileStream {
  readonly stream: Stream;
  /** As they are, framing included. */
  readonly bytes: (bytes: Uint8Array) => void;
  readonly frame: (frame: Uint8Array) => void;
  readonly say: (message: Message) => void;
  /** Messages that came. */
  readonly heard: readonly Message[];
}

export interface HostileOptions {
  /** `/ip4/…/tcp/…/p2p/…` */
  readonly address: string;
  readonly topic: string;
  /** "no": what is received never gets its window back. Default "yes". */
  readonly reads?: "yes" | "no";
  /** Makes it a hub, which is asked for others. */
  readonly tellsHubs?: (stream: Stream) => void;
}

/** Its id is below the victim's: it is the one to open streams. */
export async function openHostilePeer(options: HostileOptions): Promise<HostilePeer> {
  const address = multiaddr(options.address);
  const victim = options.address.slice(options.address.lastIndexOf("/") + 1);
  const node = await createLibp2p({
    privateKey: await keyBelow(victim),
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionGater: { denyDialMultiaddr: () => false },
    services: { identify: identify(), pubsub: gossipService(options.topic) },
  });
  const { tellsHubs } = options;
  if (tellsHubs !== undefined) await node.handle(HUBS_PROTOCOL, tellsHubs);
  const redial = (): Promise<Connection> =>
    node.dial(address, { signal: AbortSignal.timeout(3_000) });
  return {
    id: node.peerId.toString(),
    connection: await redial(),
    pubsub: node.services.pubsub,
    open: async () => {
      const connection = node.getConnections().find(({ status }) => status === "open");
      return hostileStream(
        await (connection ?? (await redial())).newStream(SYNC_PROTOCOL),
        options,
      );
    },
    redial,
    stop: async () => node.stop(),
  };
}

async function keyBelow(victim: string): Promise<PrivateKey> {
  for (;;) {
    const key = await generateKeyPair("Ed25519");
    if (peerIdFromPrivateKey(key).toString() < victim) return key;
  }
}

function hostileStream(stream: Stream, { reads = "yes" }: HostileOptions): HostileStream {
  const reader = new FrameRecordReader();
  const heard: Message[] = [];
  const bytes = (sent: Uint8Array): void => {
    if (stream.status !== "open") return;
    try {
      stream.send(sent);
    } catch {
      // Dropped by the victim: what a hostile peer expects.
    }
  };
  stream.addEventListener("message", ({ data }) => {
    const piece = data instanceof Uint8Array ? data : data.subarray();
    for (const record of reader.push(piece)) {
      if (record.type !== "frame") continue;
      heard.push(decodeMessage(record.bytes));
      if (reads === "yes") bytes(encodeCredit(frameCost(record.bytes)));
    }
  });
  const frame = (sent: Uint8Array): void => bytes(encodeFrame(sent));
  return { stream, bytes, frame, say: (message) => frame(encodeMessage(message)), heard };
}

export const helloTo = (mesh: MeshId, site: string): Extract<Message, { type: "hello" }> => ({
  type: "hello",
  mesh,
  site: site as never,
  role: "device",
  name: "\u001b[2J mallory",
  digest: "00".repeat(32),
});
