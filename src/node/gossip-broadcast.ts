/**
 * Broadcast over gossipsub: fast, best effort, never trusted with the truth.
 *
 * gossipsub 17 drops silently, has no back-pressure, gives nothing to a late joiner, and its stream
 * to a peer dies for good when the connection below it closes while another stays open. So what it
 * carries is small, who was reached is counted, and its streams are opened again on a timer.
 *
 * @module
 */

import { type GossipSub, gossipsub, TopicValidatorResult } from "@chainsafe/libp2p-gossipsub";
import type { Connection, PeerId as Libp2pPeerId } from "@libp2p/interface";
import { sha256 } from "@noble/hashes/sha2.js";
import type { MeshId, PeerId } from "../protocol/ids.ts";
import {
  BROADCAST_BYTES_MAX,
  BROADCAST_PENDING_MAX,
  BROADCAST_QUEUE_BYTES_MAX,
} from "../protocol/limits.ts";
import type { BroadcastVerdict } from "../seams.ts";

/** gossipsub holds the message back while it waits; later verdicts are of no use to anyone. */
const VERDICT_MS = 200;

/** Peers of other meshes behind one hub do not hear of each other's changes. */
export const gossipTopic = (mesh: MeshId): string => `rowmesh/1/${mesh.slice(0, 16)}`;

/** The libp2p service, to be registered under the name `pubsub`. */
export const gossipService = (topic: string): ReturnType<typeof gossipsub> =>
  gossipsub({
    // Changesets are signed; a second signature by the forwarder's key would prove nothing.
    globalSignaturePolicy: "StrictNoSign",
    // The default uses crypto.subtle, which plain-http pages lack.
    msgIdFn: ({ data }) => sha256(data),
    allowedTopics: [topic],
    allowPublishToZeroTopicPeers: true,
    ignoreDuplicatePublishError: true,
    fallbackToFloodsub: false,
    // Behind a hub all WebRTC peers carry the hub's address: the default isolates rooms of 10.
    scoreParams: { IPColocationFactorWeight: 0 },
    maxOutboundBufferSize: BROADCAST_QUEUE_BYTES_MAX,
  });

export interface GossipBroadcast {
  /** @returns peers it was handed to. @throws RangeError above BROADCAST_BYTES_MAX. */
  readonly publish: (bytes: Uint8Array) => Promise<number>;
  /** Opens streams to peers that lost theirs. Call every few seconds. */
  readonly heal: (connectionTo: (peer: PeerId) => Connection | undefined) => void;
  readonly stop: () => void;
}

/** Private parts of gossipsub 17.1.1 that healing needs; it offers no public way. */
interface GossipInternals {
  readonly peers: ReadonlyMap<string, Libp2pPeerId>;
  readonly streamsOutbound: ReadonlyMap<string, unknown>;
  readonly outboundInflightQueue: {
    readonly push: (item: { peerId: Libp2pPeerId; connection: Connection }) => void;
  };
}

export function createGossipBroadcast(
  pubsub: GossipSub,
  topic: string,
  judge: (from: PeerId, bytes: Uint8Array) => Promise<BroadcastVerdict>,
): GossipBroadcast {
  let pending = 0;

  async function verdict(from: PeerId, bytes: Uint8Array): Promise<BroadcastVerdict> {
    if (pending >= BROADCAST_PENDING_MAX) return "ignore";
    pending++;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<"ignore">((resolve) => {
      timer = setTimeout(() => resolve("ignore"), VERDICT_MS);
    });
    const judged = judge(from, bytes).finally(() => pending--);
    try {
      return await Promise.race([judged, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  pubsub.topicValidators.set(topic, async (peer, { data }) => {
    switch (await verdict(peer.toString(), data)) {
      case "accept":
        return TopicValidatorResult.Accept;
      case "ignore":
        return TopicValidatorResult.Ignore;
      case "reject":
        return TopicValidatorResult.Reject;
    }
  });
  pubsub.subscribe(topic);

  return {
    publish: async (bytes) => {
      if (bytes.length > BROADCAST_BYTES_MAX) {
        throw new RangeError(`${bytes.length} bytes are too many to broadcast`);
      }
      const { recipients } = await pubsub.publish(topic, bytes);
      return recipients.length;
    },
    heal: (connectionTo) => {
      const { peers, streamsOutbound, outboundInflightQueue } =
        pubsub as unknown as GossipInternals;
      for (const [peer, peerId] of peers) {
        const connection = streamsOutbound.has(peer) ? undefined : connectionTo(peer);
        if (connection !== undefined) outboundInflightQueue.push({ peerId, connection });
      }
    },
    stop: () => {
      pubsub.topicValidators.delete(topic);
    },
  };
}
