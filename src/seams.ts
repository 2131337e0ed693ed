/**
 * Every interface that one may swap: a real one in `src/node`, a simulated one in tests. Plain
 * arrow properties; no EventEmitter, no libp2p, SQLite or worker types. Each has a contract suite
 * in `test/contracts`.
 *
 * @module
 */

import type {
  Stream,
  UnsignedChangeset,
  UnsignedOutline,
  VerifiedChangeset,
  VerifiedOutline,
} from "./protocol/changeset.ts";
import type { MeshErrorCode } from "./protocol/errors.ts";
import type { HeaderHash, MeshId, PeerId, PublicKey, SiteId } from "./protocol/ids.ts";
import type { ChangesetRange, VectorEntry, VersionRange } from "./protocol/version-vector.ts";

export interface Clock {
  /** Monotonic milliseconds for timers and leases; no meaning across processes. */
  readonly nowMs: () => number;
  /** Milliseconds since 1970, for people only; may jump. */
  readonly wallClockMs: () => number;
}

export interface Timers {
  /** Runs once, not before `delayMs` have passed. Returns the cancel function. */
  readonly after: (delayMs: number, run: () => void) => () => void;
}

export interface Random {
  /** A uniform integer in [0, bound). */
  readonly below: (bound: number) => number;
  /** Cryptographically strong in production. */
  readonly bytes: (length: number) => Uint8Array<ArrayBuffer>;
}

/** Signs what this replica writes. Made by `src/signing`, over `@noble/ed25519` or WebCrypto. */
export interface Signer {
  readonly publicKey: PublicKey;
  readonly siteId: SiteId;
  readonly sign: (changeset: UnsignedChangeset, mesh: MeshId) => Promise<VerifiedChangeset>;
  /** For a payload above one chunk, of which only the hashes are at hand. */
  readonly signOutline: (outline: UnsignedOutline, mesh: MeshId) => Promise<VerifiedOutline>;
  /** As the list in an outline holds it: 32 bytes. */
  readonly chunkHash: (chunk: Uint8Array) => Uint8Array;
}

/** What one peer on the network may do to us. At most one call per peer is under way: await = back-pressure. */
export interface NetworkHandlers {
  readonly peerUp: (peer: NetworkPeer) => void;
  readonly peerDown: (peer: PeerId) => void;
  /** One frame of the stream protocol, in order. The next is not read before this resolves. */
  readonly frame: (from: PeerId, bytes: Uint8Array) => Promise<void>;
  /** So many bytes of the next frame have come; about once a second while it is not whole. */
  readonly arriving?: (from: PeerId, bytes: number) => void;
  /** Whether it said so, as a peer of this mesh; left out: nobody did. */
  readonly isHub?: (peer: PeerId) => boolean;
  /** One gossiped message. Resolves within 200 ms with what gossip should do with it. */
  readonly broadcast: (from: PeerId, bytes: Uint8Array) => Promise<BroadcastVerdict>;
}

export type BroadcastVerdict = "accept" | "ignore" | "reject";

export type LinkKind =
  | "webrtc"
  | "webrtc-direct"
  | "websocket"
  | "tcp"
  | "memory"
  | "relayed"
  | "none";

export interface NetworkPeer {
  readonly id: PeerId;
  readonly link: LinkKind;
}

/** Carries bytes between peers that already know each other. Loses a peer, never a frame of a live one. */
export interface Network {
  readonly self: PeerId;
  /** Starts, after which the handlers are called. Idempotent. */
  readonly start: (handlers: NetworkHandlers) => Promise<void>;
  /**
   * Queues one frame. Resolves when there is room for more, so that a caller who awaits holds at
   * most one frame beyond the buffer. A frame for a peer that is gone is dropped silently.
   */
  readonly send: (to: PeerId, frame: Uint8Array) => Promise<void>;
  /** Best effort, to everyone. Resolves with the number of peers it was handed to. */
  readonly broadcast: (bytes: Uint8Array) => Promise<number>;
  /** Lowers a peer's standing after a bad frame; drops it when it goes on. */
  readonly penalise: (peer: PeerId, code: MeshErrorCode) => void;
  /** The mesh's other members that could be dialled, as told by a neighbour. */
  readonly suggestPeers: (via: PeerId, peers: readonly PeerId[]) => void;
  readonly links: () => readonly NetworkPeer[];
  readonly stop: () => Promise<void>;
}

/** What arrived, in the encodings of `protocol/changeset-run.ts` and `protocol/outline.ts`. */
export type IngestItem =
  | { readonly type: "run" | "broadcast" | "outline"; readonly bytes: Uint8Array }
  | {
      readonly type: "chunk";
      /** Of the changeset it is asked for. */
      readonly headerHash: HeaderHash;
      readonly index: number;
      readonly bytes: Uint8Array;
    };

/** A changeset above one chunk whose outline is here and whose payload is not, or not yet. */
export interface IncomingChangeset {
  readonly site: SiteId;
  readonly stream: Stream;
  readonly version: number;
  readonly headerHash: HeaderHash;
  readonly payloadBytes: number;
  /** Chunks that are not here, by index, ascending; none: it is whole, or was given up. */
  readonly missing: readonly VersionRange[];
}

/** The chunks of a large changeset that somebody asked for. */
export interface ChunkRequest {
  readonly site: SiteId;
  readonly stream: Stream;
  readonly version: number;
  readonly headerHash: HeaderHash;
  readonly indexes: readonly number[];
}

/** What became of one received changeset, or of a part of one. */
export interface IngestOutcome {
  /** "incomplete": an outline or a chunk was kept, others are missing. */
  readonly verdict:
    | "applied"
    | "known"
    | "parked"
    | "held"
    | "void"
    | "incomplete"
    | "later"
    | "refused";
  /** Why, when void, later (cannot be judged yet; ask again) or refused (never valid). */
  readonly code?: MeshErrorCode;
}

/** What a replica's vector became. Sent after commit and before the call that caused it resolves. */
export interface ReplicaChange {
  readonly entries: readonly VectorEntry[];
  /**
   * Own changesets that were just committed and released, oldest first, encoded as broadcasts.
   * Those above `BROADCAST_BYTES_MAX` are left out: neighbours see the vector move and pull.
   */
  readonly broadcasts: readonly Uint8Array[];
  /** Large changesets that grew, are whole, or were given up. */
  readonly incoming?: readonly IncomingChangeset[];
}

/** What a reading of the log gives. */
export interface LogReading {
  readonly runs: readonly Uint8Array[];
  /** Of changesets above one chunk, where asked for: `protocol/outline.ts`. */
  readonly outlines?: readonly Uint8Array[];
  /** The first version not included, or null when the range is served. */
  readonly next: number | null;
}

/** The log layer as replication sees it: async, batched, bytes only; may live in a worker. */
export interface ReplicaStore {
  readonly mesh: () => MeshId | null;
  /** Own changesets count once released: what nobody has may still be signed again. */
  readonly vector: () => Promise<readonly VectorEntry[]>;
  /**
   * Decodes, verifies, logs, merges. Resolves after the commit, one list per item, one outcome per
   * changeset; an item that does not decode has the one outcome "refused". Never rejects on bad bytes.
   */
  readonly ingest: (items: readonly IngestItem[]) => Promise<readonly (readonly IngestOutcome[])[]>;
  /**
   * The runs that hold the range, oldest first, about `bytesMax` bytes in all but at least one
   * changeset; own unreleased changesets in it are released (durably) first. Of a changeset above
   * one chunk the outline alone with "outlined"; a run with all of it with "whole", the default.
   */
  readonly read: (
    range: ChangesetRange,
    bytesMax: number,
    large?: "whole" | "outlined",
  ) => Promise<LogReading>;
  /** Those of the chunks that are here. */
  readonly readChunks: (
    request: ChunkRequest,
  ) => Promise<readonly { readonly index: number; readonly bytes: Uint8Array }[]>;
  /** Large changesets half received, also before this process began. */
  readonly incoming: () => Promise<readonly IncomingChangeset[]>;
  /**
   * On: releases all own changesets, durably; from then on local commits are released as they
   * commit. Off: commits stay unreleased until `read` or the next "on". Starts off.
   */
  readonly offer: (mode: "on" | "off") => Promise<void>;
  readonly onChange: (listener: (change: ReplicaChange) => void) => () => void;
}

/** What of this replica's log somebody holds, judged by what that one claims. */
export interface JudgedClaims {
  /** By the chains here. */
  readonly held: readonly ChangesetRange[];
  /** Where this replica writes, up to what is released. */
  readonly own: VectorEntry;
  /** They hold more of what was written here than is here: the storage was rewound. */
  readonly isOwnAhead: boolean;
}

/** A replica as streams see it: its log, and what it remembers of those at the other ends. */
export interface StreamStore extends ReplicaStore {
  /** As there; with the header hash that each run ends with. */
  readonly read: (
    range: ChangesetRange,
    bytesMax: number,
    large?: "whole" | "outlined",
  ) => Promise<LogReading & { readonly hashes: readonly HeaderHash[] }>;
  /**
   * Several claims may be of one chain. Those without a hash count for authors with one chain only,
   * here and there; those in `also` say nothing about where a chain ends.
   */
  readonly judge: (
    claims: readonly VectorEntry[],
    also: readonly VectorEntry[],
  ) => Promise<JudgedClaims>;
  /** As kept under that name, or null. */
  readonly peerPosition: (name: string) => Promise<Uint8Array | null>;
  /** Durable when it resolves. */
  readonly keepPeerPosition: (name: string, position: Uint8Array) => Promise<void>;
}
