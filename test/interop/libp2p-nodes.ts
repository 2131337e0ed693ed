/** libp2p networks in this process, on loopback. */
import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:net";
import { getPublicKeyAsync } from "@noble/ed25519";
import {
  createLibp2pNetwork,
  HUB_RELAY_LIMITS,
  type Libp2pNetwork,
  type Libp2pNetworkOptions,
} from "../../src/node/libp2p-network.ts";
import { peerIdOfPublicKey } from "../../src/node/peer-identity.ts";
import { createWebrtcCertificate } from "../../src/node/webrtc-certificate.ts";
import { meshId, publicKey } from "../../src/protocol/ids.ts";
import type { Clock, Random } from "../../src/seams.ts";

const testClock: Clock = { nowMs: () => performance.now(), wallClockMs: () => Date.now() };

export const testRandom: Random = {
  below: (bound) => randomBytes(4).readUInt32LE() % bound,
  bytes: (length) => Uint8Array.from(randomBytes(length)),
};

const TEST_MESH = meshId(createHash("sha256").update("network tests").digest("hex"));

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

export type ListenOn = "tcp" | "ws" | "webrtc-direct";

export interface ListeningNode {
  readonly network: Libp2pNetwork;
  /** Known before the network starts. */
  readonly address: string;
}

export async function listeningOptions(
  on: ListenOn,
  changes: Partial<Libp2pNetworkOptions> = {},
): Promise<{ readonly options: Libp2pNetworkOptions; readonly address: string }> {
  const secretKey = changes.secretKey ?? testRandom.bytes(32);
  const certificate =
    changes.certificate ?? (await createWebrtcCertificate(testRandom.bytes(8), Date.now()));
  const listen = changes.listen?.[0] ?? listenAddress(on, await freePort());
  const certhash = on === "webrtc-direct" ? `/certhash/${certificate.certhash}` : "";
  const self = peerIdOfPublicKey(publicKey(await getPublicKeyAsync(secretKey)));
  return {
    options: networkOptions({ ...changes, secretKey, certificate, listen: [listen] }),
    address: `${listen}${certhash}/p2p/${self}`,
  };
}

/** Dials only. */
export const openNode = (changes: Partial<Libp2pNetworkOptions> = {}): Promise<Libp2pNetwork> =>
  createLibp2pNetwork(networkOptions(changes));

export async function openListening(
  on: ListenOn,
  changes: Partial<Libp2pNetworkOptions> = {},
): Promise<ListeningNode> {
  const { options, address } = await listeningOptions(on, changes);
  return { network: await createLibp2pNetwork(options), address };
}

const listenAddress = (on: ListenOn, port: number): string =>
  ({
    tcp: `/ip4/127.0.0.1/tcp/${port}`,
    ws: `/ip4/127.0.0.1/tcp/${port}/ws`,
    "webrtc-direct": `/ip4/127.0.0.1/udp/${port}/webrtc-direct`,
  })[on];

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
