/**
 * Answers for the hub's name on the LAN (`hub-name.ts`): multicast DNS (RFC 6762), one name, type A.
 *
 * A public door: whatever is no question for that name is ignored, and answers are few.
 *
 * @module
 */

import { createSocket, type Socket } from "node:dgram";
import { type NetworkInterfaceInfo, networkInterfaces } from "node:os";

const MDNS_PORT = 5353;
const MDNS_GROUP = "224.0.0.251";
/** Whoever asks is about to dial. Kept longer, an answer sends the next dial to an old address. */
const TTL_SECONDS = 1;
const REJOIN_MS = 5_000;
/** A device that asks again does so after a second. */
const ANSWERS_PER_SECOND_MAX = 50;
const QUESTIONS_MAX = 32;
const HEADER_BYTES = 12;
const TYPE_A = 1;
const TYPE_ANY = 255;
const CLASS_IN = 1;
/** The top bit asks for a unicast answer, or, in an answer, says that it is the only one. */
const TOP_BIT = 0x8000;

/** As `os.networkInterfaces()` gives them. */
type NetworkInterfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

/** Does nothing where the port cannot be had. @returns the undo. */
export function serveHubName(name: string): () => void {
  const socket = createSocket({ type: "udp4", reuseAddr: true });
  let answers = 0;
  let secondMs = 0;
  let rejoin: ReturnType<typeof setInterval> | undefined;
  let state: "open" | "closed" = "open";

  function close(): void {
    if (state === "closed") return;
    state = "closed";
    clearInterval(rejoin);
    socket.close();
  }

  socket.on("error", close);
  socket.on("message", (packet, { address: asker }) => {
    if (!asksFor(packet, name)) return;
    const nowMs = performance.now();
    if (nowMs - secondMs >= 1_000) [secondMs, answers] = [nowMs, 0];
    const own = addressFor(asker, networkInterfaces());
    if (own === null || answers >= ANSWERS_PER_SECOND_MAX) return;
    answers += 1;
    try {
      socket.setMulticastInterface(own);
      socket.send(encodeAnswer(name, own), MDNS_PORT, MDNS_GROUP, () => undefined);
    } catch {
      // The address went this moment.
    }
  });
  socket.bind({ port: MDNS_PORT, exclusive: false }, () => {
    if (state === "closed") return;
    join(socket);
    rejoin = setInterval(() => join(socket), REJOIN_MS);
    rejoin.unref();
    socket.unref();
  });
  return close;
}

function join(socket: Socket): void {
  for (const { address } of ownAddresses(networkInterfaces())) {
    try {
      socket.addMembership(MDNS_GROUP, address);
    } catch {
      // Joined before, or the interface went.
    }
  }
}

const ownAddresses = (interfaces: NetworkInterfaces): readonly NetworkInterfaceInfo[] =>
  Object.values(interfaces)
    .flatMap((infos) => infos ?? [])
    .filter(({ family, internal }) => family === "IPv4" && !internal);

/** Our address in the asker's network: the one that has most leading bits in common. */
export function addressFor(asker: string, interfaces: NetworkInterfaces): string | null {
  const common = (address: string): number => Math.clz32((bits(address) ^ bits(asker)) >>> 0);
  const addresses = ownAddresses(interfaces).map(({ address }) => address);
  const [best] = addresses.sort((a, b) => common(b) - common(a));
  return best ?? null;
}

const bits = (address: string): number =>
  address.split(".").reduce((sum, byte) => sum * 256 + Number(byte), 0);

/** Whether a packet asks for the A record of a name. Compressed questions are none of ours. */
export function asksFor(packet: Uint8Array, name: string): boolean {
  if (packet.length < HEADER_BYTES) return false;
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  // Responses carry the top bit.
  if ((view.getUint16(2) & TOP_BIT) !== 0) return false;
  const count = Math.min(view.getUint16(4), QUESTIONS_MAX);
  let at = HEADER_BYTES;
  for (let question = 0; question < count; question++) {
    const labels: string[] = [];
    for (let length = packet[at]; length !== 0; length = packet[at]) {
      if (length === undefined || length > 63) return false;
      labels.push(String.fromCharCode(...packet.subarray(at + 1, at + 1 + length)));
      at += 1 + length;
    }
    if (at + 5 > packet.length) return false;
    const type = view.getUint16(at + 1);
    const isAddress = type === TYPE_A || type === TYPE_ANY;
    if (isAddress && labels.join(".").toLowerCase() === name) return true;
    at += 5;
  }
  return false;
}

export function encodeAnswer(name: string, address: string): Uint8Array {
  const labels = name.split(".").map((label) => String.fromCharCode(label.length) + label);
  const encodedName = Buffer.from(`${labels.join("")}\0`, "ascii");
  const answer = Buffer.alloc(HEADER_BYTES + encodedName.length + 10 + 4);
  // A response, authoritative, with one answer.
  answer.writeUInt16BE(0x8400, 2);
  answer.writeUInt16BE(1, 6);
  answer.set(encodedName, HEADER_BYTES);
  const at = HEADER_BYTES + encodedName.length;
  answer.writeUInt16BE(TYPE_A, at);
  answer.writeUInt16BE(TOP_BIT | CLASS_IN, at + 2);
  answer.writeUInt32BE(TTL_SECONDS, at + 4);
  answer.writeUInt16BE(4, at + 8);
  answer.set(address.split(".").map(Number), at + 10);
  return answer;
}
