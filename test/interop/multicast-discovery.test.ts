/** What somebody answers by multicast: told each time, and kept nowhere. */
import { generateKeyPair } from "@libp2p/crypto/keys";
import { peerDiscoverySymbol, type PeerDiscovery, type PeerInfo } from "@libp2p/interface";
import { peerIdFromPrivateKey } from "@libp2p/peer-id";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";
import { expect, test } from "vitest";
import { createMulticastDiscovery } from "../../src/node/multicast-discovery.ts";

/** As libp2p's, with answers that the test makes. */
class Answers extends EventTarget {
  readonly [peerDiscoverySymbol] = this;
  state: "new" | "started" | "stopped" = "new";
  start(): void {
    this.state = "started";
  }
  stop(): void {
    this.state = "stopped";
  }
  answer(detail: PeerInfo): void {
    this.dispatchEvent(new CustomEvent("peer", { detail }));
  }
}

test("a forged answer hides nothing that comes after it, and invented peers are not kept", async () => {
  const answers = new Answers();
  const discovery = createMulticastDiscovery(() => answers as unknown as PeerDiscovery);
  const libp2p = await createLibp2p({ services: { discovery: discovery.service } });
  expect(answers.state).toBe("started");
  const heard: string[] = [];
  const stop = discovery.onFound(({ multiaddrs }) => heard.push(String(multiaddrs[0])));
  const id = peerIdFromPrivateKey(await generateKeyPair("Ed25519"));
  const addresses = ["/ip4/10.0.0.66/tcp/1", "/ip4/10.0.0.1/tcp/4383", "/ip4/10.0.0.2/tcp/4383"];
  for (const address of addresses) answers.answer({ id, multiaddrs: [multiaddr(address)] });
  expect(heard).toEqual(addresses);
  // What libp2p does with them it does later.
  await new Promise((resolve) => {
    setTimeout(resolve, 50);
  });
  expect(await libp2p.peerStore.all()).toEqual([]);
  stop();
  answers.answer({ id, multiaddrs: [] });
  expect(heard).toHaveLength(3);
  await libp2p.stop();
  expect(answers.state).toBe("stopped");
});
