/** Addresses of relays that name no host never reach libp2p's address manager, which throws on them. */
import { type Multiaddr, multiaddr } from "@multiformats/multiaddr";
import { expect, test } from "vitest";
import { observingHosts } from "../../src/node/relay-transport.ts";

const PEER = "12D3KooWD9wRAf1bKG39FFE4WA7LeEtcboqk9MCEnMu2JgB13Vc2";
const HOST = `/ip4/192.168.1.5/udp/4380/webrtc-direct/p2p/${PEER}/p2p-circuit`;

function recorded() {
  const calls: string[] = [];
  const manager = {
    confirmObservedAddr: (address: Multiaddr) => calls.push(`confirm ${address.toString()}`),
    removeObservedAddr: (address: Multiaddr) => calls.push(`remove ${address.toString()}`),
    getAddresses: () => [multiaddr(HOST)],
  };
  type Manager = Parameters<typeof observingHosts>[0];
  return { calls, manager: observingHosts(manager as unknown as Manager) };
}

test.each([`/webrtc/p2p/${PEER}/p2p-circuit`, `/p2p/${PEER}/p2p-circuit/webrtc/p2p/${PEER}`])(
  "%s is neither confirmed nor withdrawn",
  (address) => {
    const { calls, manager } = recorded();
    manager.confirmObservedAddr(multiaddr(address));
    manager.removeObservedAddr(multiaddr(address));
    expect(calls).toEqual([]);
  },
);

test("an address with a host is, and everything else is the manager's own", () => {
  const { calls, manager } = recorded();
  manager.confirmObservedAddr(multiaddr(HOST));
  manager.removeObservedAddr(multiaddr(HOST));
  expect(calls).toEqual([`confirm ${HOST}`, `remove ${HOST}`]);
  expect(manager.getAddresses().map(String)).toEqual([HOST]);
});
