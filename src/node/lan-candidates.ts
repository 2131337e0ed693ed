/**
 * WebRTC between browsers on a LAN without multicast.
 *
 * Browsers hide their addresses: a candidate names `<uuid>.local`, which the other side looks up by
 * multicast DNS. Access points that block multicast make it a name that nobody knows, and two
 * browsers a metre apart never meet. Hubs know better: each sees from which address a browser comes,
 * and tells it (libp2p's identify). So every such candidate is followed by one for each address
 * under which a hub sees us. Where multicast works they are as good, and where a hub sees us through
 * a translator of addresses they are useless, and cost a few packets.
 *
 * The library offers no way to add candidates, so `setLocalDescription` is wrapped for as long as a
 * network runs: it comes before the first candidate, on both sides.
 *
 * @module
 */

import type { Multiaddr } from "@multiformats/multiaddr";

/** The parts of `RTCPeerConnection` that are needed here. */
export interface CandidateSource {
  readonly addEventListener: (
    type: "icecandidate",
    listener: (event: { readonly candidate: RTCIceCandidate | null }) => void,
  ) => void;
  readonly dispatchEvent: (event: Event) => boolean;
  setLocalDescription: (description?: RTCLocalSessionDescriptionInit) => Promise<void>;
}

export type LanAddresses = () => Iterable<string>;

interface Installation {
  readonly original: CandidateSource["setLocalDescription"];
  readonly sources: Set<LanAddresses>;
}

const installations = new WeakMap<CandidateSource, Installation>();

/**
 * `prototype`: `RTCPeerConnection.prototype`. `addresses`: under which hubs see us now. @returns the
 * undo; the original is back when every caller has undone. Idempotent.
 */
export function installLanCandidates(
  prototype: CandidateSource,
  addresses: LanAddresses,
): () => void {
  const installation = installations.get(prototype) ?? install(prototype);
  const source: LanAddresses = () => addresses();
  installation.sources.add(source);
  return () => {
    installation.sources.delete(source);
    if (installation.sources.size > 0 || !installations.delete(prototype)) return;
    prototype.setLocalDescription = installation.original;
  };
}

function install(prototype: CandidateSource): Installation {
  const original = prototype.setLocalDescription;
  const sources = new Set<LanAddresses>();
  const watched = new WeakSet<CandidateSource>();
  prototype.setLocalDescription = function setLocalDescription(
    this: CandidateSource,
    description?: RTCLocalSessionDescriptionInit,
  ): Promise<void> {
    if (!watched.has(this)) {
      watched.add(this);
      this.addEventListener("icecandidate", ({ candidate }) => {
        const addresses = new Set<string>();
        for (const source of sources) for (const address of source()) addresses.add(address);
        for (const each of withAddresses(candidate?.candidate ?? "", addresses)) {
          const init = { ...candidate?.toJSON(), candidate: each };
          this.dispatchEvent(
            new RTCPeerConnectionIceEvent("icecandidate", { candidate: new RTCIceCandidate(init) }),
          );
        }
      });
    }
    return original.call(this, description);
  };
  const installation = { original, sources };
  installations.set(prototype, installation);
  return installation;
}

/** RFC 8839 §5.1: the fifth field is the address. None of a candidate that names no `.local` host. */
export function withAddresses(candidate: string, addresses: Iterable<string>): readonly string[] {
  const fields = candidate.split(" ");
  if (fields[4]?.endsWith(".local") !== true) return [];
  return [...addresses].map((address) =>
    fields.map((field, at) => (at === 4 ? address : field)).join(" "),
  );
}

/** `/ip4/192.168.1.7/udp/…` → `192.168.1.7`; null for what is no IP address. */
export function hostOf(address: Multiaddr): string | null {
  const [host] = address.getComponents();
  return host?.name === "ip4" || host?.name === "ip6" ? (host.value ?? null) : null;
}
