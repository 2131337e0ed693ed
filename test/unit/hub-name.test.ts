/** The hub's name on the LAN: who makes it, who asks for it, who answers. The LAN lab runs it. */
import type { NetworkInterfaceInfo } from "node:os";
import { expect, test } from "vitest";
import {
  installHubCandidate,
  type RemoteDescriber,
  withHubName,
} from "../../src/node/hub-candidate.ts";
import { fingerprintOfCerthash, hubName } from "../../src/node/hub-name.ts";
import { addressFor, asksFor, encodeAnswer } from "../../src/node/hub-name-server.ts";
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

/** A query with these questions; type A is 1. */
function query(questions: readonly { readonly name: string; readonly type: number }[]): Uint8Array {
  const bytes = [0, 0, 0, 0, 0, questions.length, 0, 0, 0, 0, 0, 0];
  for (const { name, type } of questions) {
    for (const label of name.split(".")) bytes.push(label.length, ...Buffer.from(label, "ascii"));
    bytes.push(0, 0, type, 0, 1);
  }
  return Uint8Array.from(bytes);
}

test("questions for the name's address, among others and in any case", () => {
  const other = { name: "_http._tcp.local", type: 12 };
  expect(asksFor(query([other, { name: NAME.toUpperCase(), type: 1 }]), NAME)).toBe(true);
  expect(asksFor(query([{ name: NAME, type: 255 }]), NAME)).toBe(true);
  expect(asksFor(query([{ name: NAME, type: 28 }]), NAME)).toBe(false);
  expect(asksFor(query([other]), NAME)).toBe(false);
});

test("answers, and packets cut anywhere, are no questions", () => {
  const answer = encodeAnswer(NAME, "192.168.1.5");
  expect(asksFor(answer, NAME)).toBe(false);
  const whole = query([{ name: NAME, type: 1 }]);
  for (let length = 0; length < whole.length; length++) {
    expect(asksFor(whole.subarray(0, length), NAME)).toBe(false);
  }
  const endless = query([{ name: NAME, type: 1 }]);
  endless[12] = 0xc0;
  expect(asksFor(endless, NAME)).toBe(false);
});

test("the answer is one A record, short-lived", () => {
  const answer = Buffer.from(encodeAnswer("ab.local", "192.168.1.5"));
  expect(answer.toString("hex")).toBe(
    // Header; "ab", "local"; A, IN, 1 s, 4 bytes; the address.
    ["000084000000000100000000", "026162056c6f63616c00", "00018001000000010004", "c0a80105"].join(
      "",
    ),
  );
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
