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
import type { PeerId } from "../protocol/ids.ts";

/** The parts of `RTCPeerConnection` that are needed here. */
export interface CandidateSource {
  readonly connectionState: RTCPeerConnectionState;
  readonly addEventListener: (
    type: "icecandidate",
    listener: (event: { readonly candidate: RTCIceCandidate | null }) => void,
  ) => void;
  readonly dispatchEvent: (event: Event) => boolean;
  onicecandidate: ((this: RTCPeerConnection, event: RTCPeerConnectionIceEvent) => unknown) | null;
  setLocalDescription: (description?: RTCLocalSessionDescriptionInit) => Promise<void>;
}

/** Our addresses as hubs see them, each hub the latest one. */
export interface LanAddresses {
  readonly learn: (hub: PeerId, address: string) => void;
  readonly all: () => readonly string[];
  /** Called with each address that was not known. Returns the stop function. */
  readonly onNew: (listener: (address: string) => void) => () => void;
}

export function createLanAddresses(): LanAddresses {
  const addressByHub = new Map<PeerId, string>();
  const listeners = new Set<(address: string) => void>();
  const all = (): readonly string[] => [...new Set(addressByHub.values())];
  return {
    learn: (hub, address) => {
      const isNew = !all().includes(address);
      addressByHub.set(hub, address);
      if (isNew) for (const listener of listeners) listener(address);
    },
    all,
    onNew: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

interface Installation {
  readonly original: CandidateSource["setLocalDescription"];
  readonly sources: Set<LanAddresses>;
  /** Of connections that are still being made. */
  readonly named: Map<CandidateSource, RTCIceCandidate[]>;
}

const installations = new WeakMap<CandidateSource, Installation>();

/**
 * `prototype`: `RTCPeerConnection.prototype`. @returns the undo; the original is back when every
 * caller has undone. Idempotent.
 */
export function installLanCandidates(
  prototype: CandidateSource,
  addresses: LanAddresses,
): () => void {
  const installation = installations.get(prototype) ?? install(prototype);
  const { original, sources, named } = installation;
  sources.add(addresses);
  // The first dial may begin before the hub has said anything.
  const stop = addresses.onNew((address) => {
    forgetMade(named);
    for (const [source, candidates] of named) {
      for (const candidate of candidates) add(source, candidate, [address]);
    }
  });
  return () => {
    stop();
    sources.delete(addresses);
    if (sources.size > 0 || !installations.delete(prototype)) return;
    prototype.setLocalDescription = original;
  };
}

function install(prototype: CandidateSource): Installation {
  const original = prototype.setLocalDescription;
  const installation: Installation = { original, sources: new Set(), named: new Map() };
  const { sources, named } = installation;
  const watched = new WeakSet<CandidateSource>();
  prototype.setLocalDescription = function setLocalDescription(
    this: CandidateSource,
    description?: RTCLocalSessionDescriptionInit,
  ): Promise<void> {
    if (!watched.has(this)) {
      watched.add(this);
      this.addEventListener("icecandidate", ({ candidate }) => {
        if (candidate === null || withAddresses(candidate.candidate, [""]).length === 0) return;
        forgetMade(named);
        named.set(this, [...(named.get(this) ?? []), candidate]);
        for (const addresses of sources) add(this, candidate, addresses.all());
      });
    }
    return original.call(this, description);
  };
  installations.set(prototype, installation);
  return installation;
}

function forgetMade(named: Installation["named"]): void {
  for (const source of named.keys()) {
    const state = source.connectionState;
    if (state !== "new" && state !== "connecting") named.delete(source);
  }
}

function add(
  source: CandidateSource,
  candidate: RTCIceCandidate,
  addresses: readonly string[],
): void {
  for (const each of withAddresses(candidate.candidate, addresses)) {
    const added = new RTCIceCandidate({ ...candidate.toJSON(), candidate: each });
    announce(source, new RTCPeerConnectionIceEvent("icecandidate", { candidate: added }));
  }
}

/** Firefox calls a connection's `on…` handlers for its own events only; others, for any. */
function announce(source: CandidateSource, event: RTCPeerConnectionIceEvent): void {
  const handler = source.onicecandidate;
  if (handler === null) {
    source.dispatchEvent(event);
    return;
  }
  const call = handler.bind(source as RTCPeerConnection);
  let wasCalled = false;
  source.onicecandidate = (given) => {
    wasCalled = true;
    call(given);
  };
  source.dispatchEvent(event);
  source.onicecandidate = handler;
  if (!wasCalled) call(event);
}

/** RFC 8839 §5.1: the fifth field is the address. None of a candidate that names no `.local` host. */
export function withAddresses(candidate: string, addresses: readonly string[]): readonly string[] {
  const fields = candidate.split(" ");
  if (fields[4]?.endsWith(".local") !== true) return [];
  return addresses.map((address) =>
    fields.map((field, at) => (at === 4 ? address : field)).join(" "),
  );
}

/** `/ip4/192.168.1.7/udp/…` → `192.168.1.7`; null for what is no IP address. */
export function hostOf(address: Multiaddr): string | null {
  const [host] = address.getComponents();
  return host?.name === "ip4" || host?.name === "ip6" ? (host.value ?? null) : null;
}
