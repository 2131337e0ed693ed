/** The hub's name on the LAN: who makes it, who asks for it, who answers. The LAN lab runs it. */
import type { NetworkInterfaceInfo } from "node:os";
import { expect, test } from "vitest";
import {
  installHubCandidate,
  type RemoteDescriber,
  withHubName,
} from "../../src/node/hub-candidate.ts";
import { fingerprintOfCerthash, hubName } from "../../src/node/hub-name.ts";
import { addressFor, answerOf, asksFor } from "../../src/node/hub-name-server.ts";
import { createWebrtcCertificate } from "../../src/node/webrtc-certificate.ts";

const FINGERPRINT = Uint8Array.from({ length: 32 }, (_, at) => at);
const NAME = hubName(FINGERPRINT);

const HEX = [...FINGERPRINT].map((byte) => byte.toString(16).padStart(2, "0").toUpperCase());
const ADDRESS_LINE = "a=candidate:1467250027 1 UDP 1467250027 192.168.1.5 4380 typ host\n";
const ANSWER = `v=0
a=ice-lite
a=fingerprint:sha-256 ${HEX.join(":")}
${ADDRESS_LINE}a=end-of-candidates
`;

test("the name is a UUID, and its own for each certificate", async () => {
  expect(NAME).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.local$/);
  const { certhash } = await createWebrtcCertificate(new Uint8Array(8).fill(1), Date.now());
  const fingerprint = fingerprintOfCerthash(certhash);
  expect(fingerprint.length).toBe(32);
  expect(hubName(fingerprint)).not.toBe(NAME);
});

test("the description of a hub names it after its address", () => {
  const named = `a=candidate:2 1 UDP 1 ${NAME} 4380 typ host\n`;
  expect(withHubName(ANSWER)).toBe(ANSWER.replace(ADDRESS_LINE, `${ADDRESS_LINE}${named}`));
});

test("other descriptions stay as they are", () => {
  for (const sdp of [
    ANSWER.replace("a=ice-lite\n", ""),
    ANSWER.replace("sha-256", "sha-1"),
    ANSWER.replace(ADDRESS_LINE, ""),
    "",
  ]) {
    expect(withHubName(sdp)).toBe(sdp);
  }
});

test("only answers are changed, and the prototype ends as it was", async () => {
  const seen: RTCSessionDescriptionInit[] = [];
  const original = async (description: RTCSessionDescriptionInit): Promise<void> => {
    seen.push(description);
  };
  const prototype: RemoteDescriber = { setRemoteDescription: original };
  const undo = [1, 2].map(() => installHubCandidate(prototype));
  await prototype.setRemoteDescription({ type: "offer", sdp: ANSWER });
  await prototype.setRemoteDescription({ type: "answer", sdp: ANSWER });
  expect(seen.map(({ sdp }) => sdp)).toEqual([ANSWER, withHubName(ANSWER)]);
  undo[0]!();
  undo[0]!();
  expect(prototype.setRemoteDescription).not.toBe(original);
  undo[1]!();
  expect(prototype.setRemoteDescription).toBe(original);
});

test("questions for the name's address, among others and in any case", () => {
  const asks = (...questions: { readonly name: string; readonly type: string }[]): boolean =>
    asksFor({ questions }, NAME);
  const other = { name: "_http._tcp.local", type: "PTR" };
  expect(asks(other, { name: NAME.toUpperCase(), type: "A" })).toBe(true);
  expect(asks({ name: NAME, type: "ANY" })).toBe(true);
  expect(asks({ name: NAME, type: "AAAA" })).toBe(false);
  expect(asks(other)).toBe(false);
  expect(asksFor({}, NAME)).toBe(false);
});

test("the answer is one A record, short-lived", () => {
  expect(answerOf("ab.local", "192.168.1.5")).toEqual([
    { name: "ab.local", type: "A", class: "IN", ttl: 1, flush: true, data: "192.168.1.5" },
  ]);
});

const info = (address: string, internal = false): NetworkInterfaceInfo => ({
  address,
  internal,
  family: "IPv4",
  netmask: "255.255.255.0",
  mac: "00:00:00:00:00:00",
  cidr: `${address}/24`,
});

test("the address in the asker's network", () => {
  const interfaces = {
    lo: [info("127.0.0.1", true)],
    eth0: [info("10.0.0.5")],
    eth1: [info("192.168.1.5"), info("192.168.2.5")],
  };
  expect(addressFor("192.168.2.77", interfaces)).toBe("192.168.2.5");
  expect(addressFor("10.0.0.9", interfaces)).toBe("10.0.0.5");
  expect(addressFor("10.0.0.9", { lo: [info("127.0.0.1", true)] })).toBeNull();
});
