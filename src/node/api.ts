/**
 * The public face of the package as types: what `openMesh` takes and what it gives back.
 *
 * @module
 */

import type { ChangeEvent } from "../db/change-events.ts";
import type { Schema } from "../db/schema.ts";
import type { MeshDatabase } from "../db/sql-runner.ts";
import type { MeshErrorCode } from "../protocol/errors.ts";
import type { Bundles, Streams } from "../streams/streams.ts";
import type { HeaderHash, MeshId, PeerId, PublicKey, SiteId } from "../protocol/ids.ts";

export type { ChangeEvent } from "../db/change-events.ts";
export type { Schema, SchemaMigration } from "../db/schema.ts";
export type {
  MeshDatabase,
  QueryOptions,
  SqlRunner,
  TransactionOptions,
  WatchOptions,
} from "../db/sql-runner.ts";

export type StorageChoice =
  | "auto"
  | "opfs"
  | "indexeddb"
  | "memory"
  | { readonly directory: string };

export interface OpenMeshOptions {
  /** The local database's name: `[a-z0-9_-]{1,64}`. */
  readonly name: string;
  /** Left out: the replica stores and forwards everything but merges nothing (a relay, a hub). */
  readonly schema?: Schema;
  /** Default "auto": OPFS, else IndexedDB; in Node a directory must be named, or "memory". */
  readonly storage?: StorageChoice;
  /** A join URL or code made by `invite()` or printed by `rowmesh hub`. */
  readonly join?: string;
  /** Shown to the people of the mesh beside what this device wrote. Default: none. */
  readonly deviceName?: string;
  /** "off": no network until `mesh.online(true)`. Default "on" in browsers and Node. */
  readonly network?: "on" | "off";
  /** "off": no gossipsub; anti-entropy alone carries the data. Default "on". */
  readonly gossip?: "on" | "off";
  /**
   * "mdns": asks the LAN by multicast for hubs of this mesh, while there is a network. Default "mdns"
   * in Node, but where all known hubs are on this machine itself; browsers cannot.
   */
  readonly discovery?: "mdns" | "off";
  /** Ends the opening (ERR_ABORTED); without effect afterwards. */
  readonly signal?: AbortSignal;
}

export interface Mesh extends Streams, Bundles {
  readonly db: MeshDatabase;
  /**
   * Of the key in use. When this profile turns out to exist twice it takes a new key by itself:
   * `status().newKeys` tells, and the ids are others from then on.
   */
  readonly siteId: SiteId;
  readonly peerId: PeerId;
  readonly publicKey: PublicKey;
  /** A snapshot; cheap; never waits. */
  readonly status: () => MeshStatus;
  /** Called now and after every change of the status, at most every 100 ms. Returns the stop function. */
  readonly onStatus: (listener: (status: MeshStatus) => void) => () => void;
  /** Committed changesets, local and remote, in merge order, after `since`; then live until the signal. */
  readonly events: (options?: {
    readonly since?: number;
    readonly signal?: AbortSignal;
  }) => AsyncIterableIterator<ChangeEvent>;
  /** SHA-256 over all rows of all tables in canonical order: equal on converged replicas. */
  readonly stateHash: () => Promise<string>;
  /** A URL fragment carrier that lets another device join. Binds drafts to a new mesh if there is none. */
  readonly invite: (options?: {
    readonly role?: "writer";
    readonly baseUrl?: string;
  }) => Promise<string>;
  /** Joins the mesh of the link, keeping local drafts. @throws ERR_MESH_DIFFERENT, ERR_INVITE_INVALID */
  readonly join: (link: string) => Promise<void>;
  /**
   * Links with a device to which no common peer leads, by two short codes that people hand over: as
   * QR codes, or as text. Given up after 10 minutes; at most 4 are open at once. A failed or aborted
   * `connect` ends the pairing, but for a code that was not one. Browsers only.
   * @throws ERR_PAIRING_FAILED, ERR_NOT_SUPPORTED, ERR_ABORTED, ERR_CLOSED
   */
  readonly pair: (options?: {
    /** Gives the pairing up, while it is not connected. */
    readonly signal?: AbortSignal;
  }) => Promise<Pairing>;
  /** Takes this device off the network, and back. Reads and writes go on meanwhile. */
  readonly online: (online: boolean) => Promise<void>;
  /** Re-creates the tables from the signed log into a fresh file and switches to it. */
  readonly rebuild: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/**
 * One meeting of two devices without a server: each shows its code and reads the other's. Both may
 * show theirs at once, and connect in any order.
 */
export interface Pairing {
  /** What the other device reads: a text of QR's alphanumeric characters, at most 210 (140 bytes). */
  readonly code: string;
  /** Of this device's key, for people to compare: the text that the other side's `read` gives. */
  readonly fingerprint: string;
  /** Whose code it is; contacts nobody. Case and white space do not matter. @throws ERR_PAIRING_INVALID */
  readonly read: (code: string) => PairingPeer;
  /**
   * Trusts the device of that code and links with it, going online if need be. A device that is in
   * no mesh joins the other's; of two such devices one founds a mesh. Resolves when the link carries
   * data, which takes the other side's `connect` too.
   * @throws ERR_PAIRING_INVALID, ERR_PAIRING_FAILED, ERR_MESH_DIFFERENT, ERR_ABORTED
   */
  readonly connect: (
    code: string,
    options?: { readonly signal?: AbortSignal },
  ) => Promise<PairingPeer>;
  /** Gives up what is not connected; idempotent. A link that was made stays. */
  readonly close: () => Promise<void>;
}

export interface PairingPeer {
  readonly peerId: PeerId;
  readonly fingerprint: string;
  /** Known from the mesh. */
  readonly name: string | null;
}

export interface MeshStatus {
  readonly meshId: MeshId | null;
  readonly online: boolean;
  readonly storage: StorageStatus;
  readonly tab: {
    /** Of this browser tab; "alone" in Node and where tabs cannot share a database. */
    readonly role: TabRole;
  };
  /** What this page's origin or browser does not have. */
  readonly platform: PlatformStatus;
  readonly queues: {
    /** On the way into the store. */
    readonly intakeBytes: number;
    /** On the way to peers, over all links. */
    readonly unsentBytes: number;
    /** Received, and not handled yet, over all links. */
    readonly unhandledBytes: number;
  };
  /** Equal digests mean equal logs. */
  readonly digest: string;
  readonly peers: readonly PeerStatus[];
  readonly authors: readonly AuthorStatus[];
  /** Changesets held here that wait for a cause, or for an upgrade. */
  readonly waiting: {
    readonly held: number;
    readonly parked: number;
    readonly reason: string | null;
    /**
     * Of the parked, what waits for a newer schema version, by version. Ascending. A version is the
     * claim of the authors that name it: any author can name one that nobody has.
     */
    readonly newerSchemas: readonly {
      readonly version: number;
      readonly changesets: number;
      readonly authors: readonly SiteId[];
    }[];
  };
  /** Large changesets of which a part is here, the first to arrive first. They count as missing. */
  readonly incoming: readonly {
    readonly siteId: SiteId;
    readonly version: number;
    readonly bytes: number;
    readonly totalBytes: number;
  }[];
  /** Changesets known to exist somewhere and not held here. */
  readonly missing: number;
  /**
   * Own changesets, drafts too, that no other device is known to hold: no peer that is or was linked
   * ever claimed them. What was claimed within the last 5 s of a page that was killed is forgotten,
   * and bundles and streams do not count, so it is rather too many than too few. A claim is no
   * promise: the other device may lose its data, or lie.
   */
  readonly unsent: number;
  /** True when every connected peer reported our digest and nothing waits. */
  readonly converged: boolean;
  readonly refusals: readonly {
    readonly code: MeshErrorCode;
    readonly count: number;
    readonly remedy: string;
  }[];
  /** Proven ones with two headers or more; one that a peer's vector merely claims has none. */
  readonly forks: readonly {
    readonly siteId: SiteId;
    readonly version: number;
    readonly headers: readonly HeaderHash[];
  }[];
  /**
   * Keys this device took by itself, oldest first, each since a copy of its profile wrote with the
   * key it had: what that one signed stays, under its site id.
   */
  readonly newKeys: readonly {
    readonly formerSiteId: SiteId;
    readonly siteId: SiteId;
    /** Milliseconds since 1970, by this device's clock. */
    readonly takenMs: number;
  }[];
  /** Plain sentences, most important first, each with what to do if there is something to do. */
  readonly notices: readonly string[];
}

export interface StorageStatus {
  readonly kind: "opfs" | "indexeddb" | "memory" | "directory";
  /** Whether what is committed outlives this page or process. */
  readonly durable: boolean;
  /** `navigator.storage.persisted()`; null where there is no such thing, or it is not known yet. */
  readonly persisted: boolean | null;
  /**
   * Of all that this page's origin stores, as the browser estimates it; in Node of the directory, and
   * of that with what is free on its disk. Read at most once a minute; null while nobody says.
   */
  readonly usageBytes: number | null;
  readonly quotaBytes: number | null;
  /** When the data may be deleted by somebody else than the app, in one plain sentence. */
  readonly eviction: string;
}

/** Of the tabs that share one database, the leader has it open. */
export type TabRole = "alone" | "leader" | "follower";

export interface PlatformStatus {
  /** Of the page; null in Node. */
  readonly secureContext: boolean | null;
  /** Empty in Node. Each with what that means, and what to do. */
  readonly lacks: readonly {
    readonly feature: PlatformFeature;
    readonly effect: string;
    readonly remedy: string;
  }[];
}

export type PlatformFeature =
  | "opfs"
  | "service-worker"
  | "web-locks"
  | "webcrypto"
  | "camera"
  | "webrtc";

export interface PeerStatus {
  readonly peerId: PeerId;
  readonly name: string | null;
  readonly role: "hub" | "device";
  /** "relayed" carries only signalling. */
  readonly link: "webrtc" | "webrtc-direct" | "websocket" | "tcp" | "memory" | "relayed" | "none";
  /** Milliseconds ago. */
  readonly lastHeardMs: number | null;
  readonly roundTripMs: number | null;
  /**
   * "slow": a round trip above 1 s, or above 200 ms with 256 KiB unsent, or what is sent goes
   * nowhere for 10 s. "silent": it was asked 10 s ago and has said nothing since. Null without a link
   * that carries data, and before its first frame.
   */
  readonly quality: "good" | "slow" | "silent" | null;
  /** Changesets it told of that we lack, and those we hold that it lacks. */
  readonly weLack: number;
  readonly itLacks: number;
  /** The same by author, those with most first, at most 8; of very many authors, not all are looked at. */
  readonly lacks: readonly {
    readonly siteId: SiteId;
    readonly name: string | null;
    readonly weLack: number;
    readonly itLacks: number;
  }[];
  readonly sameDigest: boolean;
  /** Whom it says it is linked to, besides this device. */
  readonly linkedTo: readonly PeerId[];
  /** Bytes on the way to it, and from it. */
  readonly queue: { readonly unsentBytes: number; readonly unhandledBytes: number };
}

export interface AuthorStatus {
  readonly siteId: SiteId;
  readonly name: string | null;
  readonly local: boolean;
  readonly version: number;
  readonly lastWroteMs: number | null;
}
