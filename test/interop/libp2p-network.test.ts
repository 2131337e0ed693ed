/** The Network contract over libp2p between Node peers. */
import { createServer } from "node:net";
import { getPublicKeyAsync } from "@noble/ed25519";
import { networkContract, type OpenNetworks } from "../contracts/network.ts";
import { peerIdOfPublicKey } from "../../src/node/peer-identity.ts";
import { createWebrtcCertificate } from "../../src/node/webrtc-certificate.ts";
import { publicKey } from "../../src/protocol/ids.ts";
import { openNode, testRandom } from "./libp2p-nodes.ts";

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

/** Each listens on a port known beforehand, and has the ones before it as hubs. */
const openOver =
  (listenOn: (port: number) => string, suffix: (certhash: string) => string): OpenNetworks =>
  async (count) => {
    const networks = [];
    const hubs: string[] = [];
    for (let i = 0; i < count; i++) {
      const secretKey = testRandom.bytes(32);
      const certificate = await createWebrtcCertificate(testRandom.bytes(8), Date.now());
      const listen = listenOn(await freePort());
      networks.push(await openNode({ secretKey, certificate, listen: [listen], hubs: [...hubs] }));
      const self = peerIdOfPublicKey(publicKey(await getPublicKeyAsync(secretKey)));
      hubs.push(`${listen}${suffix(certificate.certhash)}/p2p/${self}`);
    }
    return {
      networks,
      end: async () => {
        await Promise.all(networks.map((network) => network.stop()));
      },
    };
  };

networkContract(
  "libp2p over TCP",
  openOver(
    (port) => `/ip4/127.0.0.1/tcp/${port}`,
    () => "",
  ),
);
networkContract(
  "libp2p over WebSocket",
  openOver(
    (port) => `/ip4/127.0.0.1/tcp/${port}/ws`,
    () => "",
  ),
);
networkContract(
  "libp2p over webrtc-direct",
  openOver(
    (port) => `/ip4/127.0.0.1/udp/${port}/webrtc-direct`,
    (certhash) => `/certhash/${certhash}`,
  ),
);
