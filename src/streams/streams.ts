/**
 * Streams: the same replication over anything that carries bytes (docs/STREAMS.md). Here are the
 * types that an app sees, and what holds the streams of one mesh together.
 *
 * @module
 */

import type { SiteId } from "../protocol/ids.ts";
import type { IngestOutcome, StreamStore } from "../seams.ts";
import {
  type BundleReport,
  exportBundle,
  type ExportBundleOptions,
  importBundle,
  type ImportBundleOptions,
} from "./bundle.ts";
import { createInboundStream } from "./inbound-stream.ts";
import { createOutboundStream } from "./outbound-stream.ts";
import { createPeerPositions, type PeerPositions } from "./peer-position.ts";

/** Opaque bytes for the carrier, which may be text only. */
export interface Packet {
  readonly bytes: Uint8Array;
  /** The same as base64url: for JSON, for chats, for QR codes. */
  readonly text: () => string;
}

export interface OutboundPackage extends Packet {
  /** How many are in it. */
  readonly changesets: number;
  /**
   * The other end has it: the position moves, durably. With the receipt that `accept` gave there,
   * only by what was kept; without one, by all of it. In any order; twice is as once.
   * @throws MeshError ERR_NOT_CANONICAL, ERR_WRONG_MESH on a receipt that is none
   */
  readonly ack: (receipt?: Uint8Array | string) => Promise<void>;
}

/**
 * The other end. A name, 1 to 128 bytes: what is known of that end is kept in the database under it.
 * Any object: known as long as the object lives, for ends that have no name.
 */
export type StreamPeer = string | object;

export interface OutboundStreamOptions {
  /** Left out: nothing is known of the other end but `since`. */
  readonly to?: StreamPeer;
  /** What the other end says it holds (`InboundStream.position`); replaces what was known of it. */
  readonly since?: Uint8Array | string;
  /** Authors left out. */
  readonly excludeSites?: readonly SiteId[];
  /** Only what was written here. Default false. */
  readonly localOnly?: boolean;
  /** About the size of a package; a larger changeset travels alone. Default 256 KiB. */
  readonly bytesMax?: number;
  /** "once": ends when nothing is left to send. "live" (default): then waits for more. */
  readonly mode?: "live" | "once";
  /** Ends the stream without an error. */
  readonly signal?: AbortSignal;
}

export interface InboundStreamOptions {
  /** As `to`: what came from there is not sent back there. */
  readonly from?: StreamPeer;
}

export interface AcceptedPackage {
  /** One for each changeset of the package; a package that does not decode has one, "refused". */
  readonly outcomes: readonly IngestOutcome[];
  /** What this end holds now of the package's authors: for `ack` there. */
  readonly receipt: Packet;
}

export interface InboundStream {
  /**
   * Verifies, stores, merges, durably. Packages may come in any order, any number of times.
   * Never rejects on bad bytes. @throws MeshError ERR_CLOSED, ERR_NO_MESH
   */
  readonly accept: (packet: Uint8Array | string) => Promise<AcceptedPackage>;
  /** What this end holds: for `since` there. @throws MeshError ERR_NO_MESH */
  readonly position: () => Promise<Packet>;
}

/** What a mesh gives to carriers; `Mesh` is one. */
export interface Streams {
  readonly outboundStream: (
    options?: OutboundStreamOptions,
  ) => AsyncIterableIterator<OutboundPackage, undefined>;
  readonly inboundStream: (options?: InboundStreamOptions) => InboundStream;
}

/** Streams as files. */
export interface Bundles {
  /** The bytes of a bundle file, in order; what the named end is known to hold is left out. */
  readonly exportBundle: (
    options?: ExportBundleOptions,
  ) => AsyncIterableIterator<Uint8Array, undefined>;
  /**
   * Any number of times, in any order, whatever it was cut into. Rejects only on what is no fault of
   * the bytes. @throws MeshError ERR_NO_MESH, ERR_CLOSED
   */
  readonly importBundle: (
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options?: ImportBundleOptions,
  ) => Promise<BundleReport>;
}

/** What the streams of one mesh share. */
export interface StreamEnds {
  readonly store: StreamStore;
  /** Of the replica's key, then of those it had before: it may take a new one at any time. */
  readonly ownSites: () => readonly SiteId[];
  readonly positions: PeerPositions;
  /** Fires when the mesh closes. */
  readonly closed: AbortSignal;
}

export function createStreams(
  store: StreamStore,
  ownSites: () => readonly SiteId[],
): Streams & Bundles & { readonly close: () => void } {
  const closing = new AbortController();
  const positions = createPeerPositions(store);
  const ends: StreamEnds = { store, ownSites, positions, closed: closing.signal };
  const streams: Streams = {
    outboundStream: (options = {}) => createOutboundStream(ends, options),
    inboundStream: (options = {}) => createInboundStream(ends, options),
  };
  return {
    ...streams,
    exportBundle: (options = {}) => exportBundle(ends, streams, options),
    importBundle: (chunks, options = {}) => importBundle(ends, streams, chunks, options),
    close: () => closing.abort(),
  };
}
