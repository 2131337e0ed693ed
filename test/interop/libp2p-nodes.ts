/** libp2p networks in this process, on loopback. */
import { createHash, randomBytes } from "node:crypto";
import {
  createLibp2pNetwork,
  HUB_RELAY_LIMITS,
  type Libp2pNetwork,
  type Libp2pNetworkOptions,
} from "../../src/node/libp2p-network.ts";
import { meshId } from "../../src/protocol/ids.ts";
import type { Clock, Random } from "../../src/seams.ts";

export const testClock: Clock = { nowMs: () => performance.now(), wallClockMs: () => Date.now() };

export const testRandom: Random = {
  below: (bound) => randomBytes(4).readUInt32LE() % bound,
  bytes: (length) => Uint8Array.from(randomBytes(length)),
};

export const TEST_MESH = meshId(createHash("sha256").update("network tests").digest("hex"));

export const networkOptions = (
  changes: Partial<Libp2pNetworkOptions> = {},
): Libp2pNetworkOptions => ({
  secretKey: testRandom.bytes(32),
  meshId: TEST_MESH,
  role: "device",
  hubs: [],
  gossip: "on",
  listen: [],
  certificate: null,
  discovery: "off",
  relay: HUB_RELAY_LIMITS,
  clock: testClock,
  random: testRandom,
  ...changes,
});

/** Keeps a network's own start for the suite, which needs addresses before. */
export const openNode = (changes: Partial<Libp2pNetworkOptions> = {}): Promise<Libp2pNetwork> =>
  createLibp2pNetwork(networkOptions(changes));
