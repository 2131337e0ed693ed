import { X509Certificate } from "node:crypto";
import { getPublicKeyAsync } from "@noble/ed25519";
import { multiaddr } from "@multiformats/multiaddr";
import { expect, test } from "vitest";
import { linkKindOf } from "../../src/node/link-kind.ts";
import { createLibp2pNetwork } from "../../src/node/libp2p-network.ts";
import { peerIdOfPublicKey, publicKeyOfPeerId } from "../../src/node/peer-identity.ts";
import { createWebrtcCertificate } from "../../src/node/webrtc-certificate.ts";
import { publicKey } from "../../src/protocol/ids.ts";
import { networkOptions } from "../interop/libp2p-nodes.ts";

const SECRET = Uint8Array.from({ length: 32 }, (_, i) => i);
const PEER = "12D3KooWA2EbUGqRgWmXsNJzcQdYZLL1gPNLEUWXKEYcSkHXFCnG";

test("the peer id is the author's key, both ways", async () => {
  const key = publicKey(await getPublicKeyAsync(SECRET));
  const peer = peerIdOfPublicKey(key);
  expect(publicKeyOfPeerId(peer)).toBe(key);
  const network = await createLibp2pNetwork(networkOptions({ secretKey: SECRET }));
  expect(network.self).toBe(peer);
  await network.stop();
});

test.each(["", "12D3KooW", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", "x".repeat(9_000)])(
  "%.20s is no author's peer id",
  (peer) => {
    expect(() => publicKeyOfPeerId(peer)).toThrow("ERR_NOT_CANONICAL");
  },
);

test.each([
  [`/ip4/10.0.0.1/tcp/1/p2p/${PEER}`, "tcp"],
  [`/ip4/10.0.0.1/tcp/1/ws/p2p/${PEER}`, "websocket"],
  [`/dns4/hub.local/tcp/1/tls/ws/p2p/${PEER}`, "websocket"],
  [`/ip4/10.0.0.1/udp/1/webrtc-direct/p2p/${PEER}`, "webrtc-direct"],
  [`/ip4/10.0.0.1/udp/1/webrtc-direct/p2p/${PEER}/p2p-circuit/p2p/${PEER}`, "relayed"],
  [`/ip4/10.0.0.1/tcp/1/ws/p2p/${PEER}/p2p-circuit/webrtc/p2p/${PEER}`, "webrtc"],
  [`/webrtc/p2p/${PEER}`, "webrtc"],
  [`/memory/1/p2p/${PEER}`, "memory"],
  [`/p2p/${PEER}`, "none"],
])("%s is %s", (address, kind) => {
  expect(linkKindOf(multiaddr(address))).toBe(kind);
});

test("a certificate is valid for 20 years and its hash is that of its bytes", async () => {
  const nowMs = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
  const made = await createWebrtcCertificate(new Uint8Array(8).fill(0xff), nowMs);
  const certificate = new X509Certificate(made.pem);
  expect(Date.parse(certificate.validFrom)).toBeLessThan(nowMs);
  expect(new Date(certificate.validTo).getUTCFullYear()).toBe(2045);
  const digest = Buffer.from(certificate.fingerprint256.replaceAll(":", ""), "hex");
  const multihash = Buffer.from(made.certhash.slice(1), "base64url");
  expect(made.certhash[0]).toBe("u");
  expect(multihash.subarray(0, 2).toString("hex")).toBe("1220");
  expect(multihash.subarray(2).equals(digest)).toBe(true);
  expect(made.privateKey).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
});

test.each(["/ip4/10.0.0.1/tcp/1", "hub.example"])("%s is no hub address", async (hub) => {
  await expect(createLibp2pNetwork(networkOptions({ hubs: [hub] }))).rejects.toThrow(
    "ERR_OPTION_INVALID",
  );
});
