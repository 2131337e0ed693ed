/**
 * What goes into the replication machine and what comes out of it, as data. `src/node/drive.ts`
 * turns the world into events and effects into calls; `test/sim` does the same with a virtual one.
 *
 * @module
 */

import type { MeshErrorCode } from "../protocol/errors.ts";
import type { PeerId } from "../protocol/ids.ts";
import type { ChangesetRange, VectorEntry } from "../protocol/version-vector.ts";
import type {
  BroadcastVerdict,
  ChunkRequest,
  IncomingChangeset,
  IngestItem,
  IngestOutcome,
} from "../seams.ts";

export type ReplicationEvent =
  | { readonly type: "peerUp"; readonly peer: PeerId }
  | { readonly type: "peerDown"; readonly peer: PeerId }
  | { readonly type: "frame"; readonly from: PeerId; readonly bytes: Uint8Array }
  /** So many bytes of this peer's next frame have come. */
  | { readonly type: "arriving"; readonly from: PeerId; readonly bytes: number }
  /** The network took every frame of the last `send` to this peer. */
  | { readonly type: "sent"; readonly peer: PeerId }
  | {
      readonly type: "changed";
      readonly entries: readonly VectorEntry[];
      readonly broadcasts: readonly Uint8Array[];
      readonly incoming?: readonly IncomingChangeset[];
    }
  /** The answer to the last `read` for this peer; no runs and no `next` when the store failed. */
  | {
      readonly type: "read";
      readonly peer: PeerId;
      readonly runs: readonly Uint8Array[];
      readonly outlines?: readonly Uint8Array[];
      readonly next: number | null;
    }
  /** The answer to the last `readChunks` for this peer; none when the store failed. */
  | {
      readonly type: "chunksRead";
      readonly peer: PeerId;
      readonly chunks: readonly { readonly index: number; readonly bytes: Uint8Array }[];
    }
  /** Every `ingest` gets exactly one; no outcomes when the store failed. */
  | {
      readonly type: "ingested";
      readonly ticket: number;
      readonly outcomes: readonly IngestOutcome[];
    }
  | {
      readonly type: "broadcastReceived";
      readonly id: number;
      readonly from: PeerId;
      readonly bytes: Uint8Array;
    }
  /** How many peers a `broadcast` was handed to. */
  | { readonly type: "broadcastSent"; readonly peers: number }
  | { readonly type: "wake" };

export type Effect =
  /** In order; the next `send` to this peer comes after its `sent`. */
  | { readonly type: "send"; readonly to: PeerId; readonly frames: readonly Uint8Array[] }
  | { readonly type: "broadcast"; readonly bytes: Uint8Array }
  | { readonly type: "ingest"; readonly ticket: number; readonly item: IngestItem }
  /** Of these two at most one per peer is under way. */
  | {
      readonly type: "read";
      readonly peer: PeerId;
      readonly range: ChangesetRange;
      readonly bytesMax: number;
    }
  | { readonly type: "readChunks"; readonly peer: PeerId; readonly request: ChunkRequest }
  | { readonly type: "offer"; readonly mode: "on" | "off" }
  | { readonly type: "penalise"; readonly peer: PeerId; readonly code: MeshErrorCode }
  | { readonly type: "suggest"; readonly via: PeerId; readonly peers: readonly PeerId[] }
  | { readonly type: "verdict"; readonly id: number; readonly verdict: BroadcastVerdict }
  /** Replaces the wake asked for before. */
  | { readonly type: "wake"; readonly atMs: number };

export type Emit = (effect: Effect) => void;
