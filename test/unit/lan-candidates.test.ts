/** What browsers tell of their addresses, and what is added. The LAN lab runs it in Chromium. */
import { multiaddr } from "@multiformats/multiaddr";
import { expect, test } from "vitest";
import {
  type CandidateSource,
  createLanAddresses,
  hostOf,
  installLanCandidates,
  withAddresses,
} from "../../src/node/lan-candidates.ts";

const NAMED =
  "candidate:1 1 udp 2113937151 5b2a1c1e-8f0e-4c3f-9d0e-0c7b1b7f0a11.local 54321 typ host generation 0 ufrag x network-cost 999";

test("a candidate with a .local name is followed by one for each address", () => {
  const [first, second, ...rest] = withAddresses(NAMED, ["192.168.1.7", "fd00::7"]);
  expect(first).toBe(
    "candidate:1 1 udp 2113937151 192.168.1.7 54321 typ host generation 0 ufrag x network-cost 999",
  );
  expect(second).toContain(" fd00::7 54321 ");
  expect(rest).toEqual([]);
});

test("nothing is added to a candidate that names its address, nor to the end of candidates", () => {
  const plain = NAMED.replace(/\S+\.local/, "10.0.0.3");
  expect(withAddresses(plain, ["192.168.1.7"])).toEqual([]);
  expect(withAddresses("", ["192.168.1.7"])).toEqual([]);
});

test("each hub's latest word counts, and what is new is told once", () => {
  const addresses = createLanAddresses();
  const told: string[] = [];
  const stop = addresses.onNew((address) => told.push(address));
  addresses.learn("hub 1", "192.168.1.7");
  addresses.learn("hub 2", "192.168.1.7");
  addresses.learn("hub 1", "10.0.0.7");
  stop();
  addresses.learn("hub 2", "10.0.0.8");
  expect(told).toEqual(["192.168.1.7", "10.0.0.7"]);
  expect(addresses.all()).toEqual(["10.0.0.7", "10.0.0.8"]);
});

test("the host of an observed address", () => {
  expect(hostOf(multiaddr("/ip4/192.168.1.7/udp/5000/webrtc-direct"))).toBe("192.168.1.7");
  expect(hostOf(multiaddr("/ip6/fd00::7/tcp/5000/ws"))).toBe("fd00::7");
  expect(hostOf(multiaddr("/dns4/hub.lan/tcp/5000/ws"))).toBeNull();
});

const original = async (): Promise<void> => undefined;

test("listens once on each connection, and leaves the prototype as it was", async () => {
  let listeners = 0;
  const prototype: CandidateSource = {
    connectionState: "new",
    addEventListener: () => void (listeners += 1),
    dispatchEvent: () => true,
    onicecandidate: null,
    setLocalDescription: original,
  };
  const undo = [1, 2].map(() => installLanCandidates(prototype, createLanAddresses()));
  await prototype.setLocalDescription();
  await prototype.setLocalDescription();
  expect(listeners).toBe(1);
  undo[0]!();
  undo[0]!();
  expect(prototype.setLocalDescription).not.toBe(original);
  undo[1]!();
  expect(prototype.setLocalDescription).toBe(original);
});
