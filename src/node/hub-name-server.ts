/**
 * Answers for the hub's name on the LAN (`hub-name.ts`): multicast DNS (RFC 6762), one name, type A.
 *
 * A public door: whatever is no question for that name is ignored, and answers are few. Each network
 * has a socket of its own, so that an answer goes where the question came from; which networks there
 * are is looked up again and again, for the library joins an address once only.
 *
 * @module
 */

import { type NetworkInterfaceInfo, networkInterfaces } from "node:os";
import multicastDns, { type MulticastDNS } from "multicast-dns";

/** Whoever asks is about to dial. Kept longer, an answer sends the next dial to an old address. */
const TTL_SECONDS = 1;
const LOOK_MS = 5_000;
/** A device that asks again does so after a second. */
const ANSWERS_PER_SECOND_MAX = 50;

/** As `os.networkInterfaces()` gives them. */
export type NetworkInterfaces = Readonly<
  Record<string, readonly NetworkInterfaceInfo[] | undefined>
>;

/** Does nothing on networks where the port cannot be had. @returns the undo. */
export function serveHubName(name: string): () => void {
  const servers = new Map<string, MulticastDNS>();
  const mayAnswer = rateLimit(ANSWERS_PER_SECOND_MAX, () => performance.now());

  function look(): void {
    const addresses = lanIpv4Addresses(networkInterfaces());
    for (const [address, server] of servers) {
      if (addresses.includes(address)) continue;
      servers.delete(address);
      server.destroy();
    }
    for (const address of addresses) {
      if (!servers.has(address)) servers.set(address, serve(address));
    }
  }

  /** Every socket hears the questions of all networks. */
  function serve(own: string): MulticastDNS {
    const server = openMdns(own);
    server.on("query", (query, { address: asker }) => {
      if (!asksFor(query, name) || addressFor(asker, networkInterfaces()) !== own) return;
      if (mayAnswer()) server.respond(answerOf(name, own));
    });
    return server;
  }

  look();
  const looking = setInterval(look, LOOK_MS);
  looking.unref();
  return () => {
    clearInterval(looking);
    for (const server of servers.values()) server.destroy();
    servers.clear();
  };
}

/** Hears what is asked and answered on all networks, and speaks on the one with this address. */
export function openMdns(own: string): MulticastDNS {
  const mdns = multicastDns({ interface: own, bind: "0.0.0.0" });
  // The port is another's, or the address went this moment: nobody hears us.
  mdns.on("error", () => undefined);
  return mdns;
}

/** At most so many times a second. */
function rateLimit(perSecond: number, nowMs: () => number): () => boolean {
  let secondMs = 0;
  let count = 0;
  return () => {
    if (nowMs() - secondMs >= 1_000) [secondMs, count] = [nowMs(), 0];
    count += 1;
    return count <= perSecond;
  };
}

/** Of this machine on its networks; multicast DNS is asked over IPv4. */
export const lanIpv4Addresses = (interfaces: NetworkInterfaces): readonly string[] =>
  Object.values(interfaces)
    .flatMap((infos) => infos ?? [])
    .filter(({ family, internal }) => family === "IPv4" && !internal)
    .map(({ address }) => address);

/** Our address in the asker's network: the one that has most leading bits in common. */
export function addressFor(asker: string, interfaces: NetworkInterfaces): string | null {
  const common = (address: string): number => Math.clz32((bits(address) ^ bits(asker)) >>> 0);
  const [best] = [...lanIpv4Addresses(interfaces)].sort((a, b) => common(b) - common(a));
  return best ?? null;
}

const bits = (address: string): number =>
  address.split(".").reduce((sum, byte) => sum * 256 + Number(byte), 0);

/** Whether a packet asks for the A record of a name. */
export const asksFor = ({ questions = [] }: Questions, name: string): boolean =>
  questions.some(
    (question) => ADDRESS_TYPES.has(question.type) && question.name.toLowerCase() === name,
  );

interface Questions {
  readonly questions?: readonly { readonly name: string; readonly type: string }[] | undefined;
}

const ADDRESS_TYPES: ReadonlySet<string> = new Set(["A", "ANY"]);

/** `flush`: the only answer there is (RFC 6762 §10.2). */
export const answerOf = (name: string, data: string): Parameters<MulticastDNS["respond"]>[0] => [
  { name, type: "A", class: "IN", ttl: TTL_SECONDS, flush: true, data },
];
