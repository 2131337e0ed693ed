/**
 * Who is connected, over what, and what each still lacks.
 *
 * @module
 */

import type { MeshStatus, PeerStatus } from "rowmesh";
import type { JSX } from "preact";
import { Icon } from "./icons.tsx";
import { count, linkWords, nameOr, qualityWords } from "./words.ts";

export function PeersCard(props: { status: MeshStatus }): JSX.Element {
  const { peers, online } = props.status;
  return (
    <article class="card" aria-labelledby="peers-title">
      <h2 id="peers-title">In reach</h2>
      {peers.length === 0 ? (
        <p class="quiet" data-testid="no-peers">
          {online ? "No other device answers yet." : "Offline: nobody can be reached."}
        </p>
      ) : (
        <ul class="entries" data-testid="peers">
          {peers.map((peer) => (
            <Peer key={peer.peerId} peer={peer} />
          ))}
        </ul>
      )}
    </article>
  );
}

function Peer(props: { peer: PeerStatus }): JSX.Element {
  const { peer } = props;
  const link = linkWords(peer.link);
  return (
    <li
      class="entry"
      data-testid="peer"
      data-link={peer.link}
      data-role={peer.role}
      data-quality={peer.quality}
    >
      <span class="entry-icon">
        <Icon name={peer.role === "hub" ? "hub" : "phone"} />
      </span>
      <span class="entry-main">
        <span class="entry-title">
          <strong>{nameOr(peer.name, peer.peerId)}</strong>
          <span class={`chip chip-${peer.link}`} title={link.meaning}>
            {link.name}
          </span>
        </span>
        <span class="row-detail">{peerWords(peer)}</span>
      </span>
      {peer.sameDigest && (
        <span class="in-step">
          <Icon name="check" size={18} /> in step
        </span>
      )}
    </li>
  );
}

function peerWords(peer: PeerStatus): string {
  const parts = [peer.role === "hub" ? "hub" : "device"];
  if (peer.weLack > 0) parts.push(`has ${count(peer.weLack, "change")} we lack`);
  if (peer.itLacks > 0) parts.push(`lacks ${count(peer.itLacks, "change")} of ours`);
  if (peer.roundTripMs !== null) parts.push(`${Math.max(1, Math.round(peer.roundTripMs))} ms away`);
  if (peer.quality === "slow" || peer.quality === "silent") parts.push(qualityWords(peer.quality));
  return parts.join(" · ");
}
