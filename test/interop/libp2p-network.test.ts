/** The Network contract over libp2p between Node peers. */
import { afterAll, beforeAll, describe } from "vitest";
import type { Libp2pNetworkOptions } from "../../src/node/libp2p-network.ts";
import { networkContract, type OpenNetworks } from "../contracts/network.ts";
import { type HubProcesses, prepareHubs } from "./hub-process.ts";
import { openListening } from "./libp2p-nodes.ts";

/** Each listens, and has the ones before it as hubs. */
async function openChain(on: "tcp" | "ws", count: number, hubs: readonly string[]) {
  const known = [...hubs];
  const networks = [];
  for (let i = 0; i < count; i++) {
    const options: Partial<Libp2pNetworkOptions> = { hubs: [...known] };
    const { network, address } = await openListening(on, options);
    networks.push(network);
    known.push(address);
  }
  return networks;
}

describe.each(["tcp", "ws"] as const)("over %s", (on) => {
  networkContract(`libp2p between Node peers over ${on}`, async (count) => {
    const networks = await openChain(on, count, []);
    return {
      networks,
      end: async () => {
        await Promise.all(networks.map((network) => network.stop()));
      },
    };
  });
});

describe("over webrtc-direct", () => {
  let hubs: HubProcesses;
  beforeAll(async () => {
    hubs = await prepareHubs();
  }, 60_000);
  afterAll(() => hubs?.close());

  const open: OpenNetworks = async (count) => {
    const hub = await hubs.open("webrtc-direct");
    const networks = await openChain("tcp", count - 1, [hub.address]);
    return {
      networks: [hub.network, ...networks],
      end: async () => {
        await Promise.all(networks.map((network) => network.stop()));
        await hub.kill("SIGKILL");
      },
    };
  };
  networkContract("libp2p between a hub and Node peers over webrtc-direct", open);
});
