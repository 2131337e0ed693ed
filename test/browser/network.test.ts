/** The network in real Chromium: browser and hub, browser and browser, and without the hub. */
import { afterAll, beforeAll, describe } from "vitest";
import type { PeerId } from "../../src/protocol/ids.ts";
import type { Network } from "../../src/seams.ts";
import { networkContract } from "../contracts/network.ts";
import { type HubProcess, type HubProcesses, prepareHubs } from "../interop/hub-process.ts";
import { openPages, type PageNetwork, type Pages } from "./network/pages.ts";

let pages: Pages;
let hubs: HubProcesses;
beforeAll(async () => {
  hubs = await prepareHubs();
  pages = await openPages();
}, 60_000);
afterAll(async () => {
  await pages?.close();
  await hubs?.close();
});

const silent = {
  peerUp: () => undefined,
  peerDown: () => undefined,
  frame: () => Promise.resolve(),
  broadcast: () => Promise.resolve("accept" as const),
};

/** Tells the network of the others as soon as it reaches the one they share. */
function introducing(network: Network, via: PeerId, others: readonly PeerId[]): Network {
  return {
    ...network,
    start: (handlers) =>
      network.start({
        ...handlers,
        peerUp: (peer) => {
          if (peer.id === via) network.suggestPeers(via, others);
          handlers.peerUp(peer);
        },
      }),
  };
}

/** The network as if one peer did not exist. */
function hiding(network: Network, hidden: PeerId): Network {
  return {
    ...network,
    start: (handlers) =>
      network.start({
        ...handlers,
        peerUp: (peer) => {
          if (peer.id !== hidden) handlers.peerUp(peer);
        },
        peerDown: (peer) => {
          if (peer !== hidden) handlers.peerDown(peer);
        },
      }),
  };
}

/** `count` pages that know one hub, and of one another. */
async function openAround({ network: hub, address, kill }: HubProcess, count: number) {
  const opened: PageNetwork[] = [];
  for (let i = 0; i < count; i++) opened.push(await pages.open([address]));
  const ids = opened.map(({ self }) => self);
  const introduced = opened.map((page) =>
    introducing(
      page,
      hub.self,
      ids.filter((id) => id !== page.self),
    ),
  );
  const end = async (): Promise<void> => {
    await Promise.all(opened.map((page) => page.stop()));
    await Promise.all(opened.map((page) => page.close()));
    await kill("SIGKILL");
  };
  return { introduced, end };
}

networkContract("libp2p, Chromium and Chromium over WebRTC, signalled by a hub", async (count) => {
  const hub = await hubs.open("webrtc-direct");
  await hub.network.start(silent);
  const { introduced, end } = await openAround(hub, count);
  return { networks: introduced.map((network) => hiding(network, hub.network.self)), end };
});

describe.each(["webrtc-direct", "ws"] as const)("over %s", (on) => {
  networkContract(`libp2p, a hub and Chromium over ${on}`, async (count) => {
    const hub = await hubs.open(on);
    const { introduced, end } = await openAround(hub, count - 1);
    return { networks: [hub.network, ...introduced], end };
  });
});
