/**
 * A log without tables behind the database's log interface: what replication needs of a replica,
 * 100 lines instead of an SQL engine, for payloads of one chunk. Unit tests and hostile peers use it;
 * the simulator proper runs the real database.
 */
import type { ReplicaDatabase } from "../../src/db/replica-database.ts";
import { createIngestQueue } from "../../src/node/ingest-queue.ts";
import {
  type ChangesetHeader,
  encodeHeader,
  type VerifiedChangeset,
} from "../../src/protocol/changeset.ts";
import { encodeBroadcast, encodeRun } from "../../src/protocol/changeset-run.ts";
import {
  fromHex,
  type MeshId,
  type PublicKey,
  type SiteId,
  ZERO_HASH,
} from "../../src/protocol/ids.ts";
import { BROADCAST_BYTES_MAX, DEPENDENCY_HASH_BYTES } from "../../src/protocol/limits.ts";
import {
  type AuthorStream,
  authorStream,
  streamOf,
  type VectorEntry,
  type VersionRange,
} from "../../src/protocol/version-vector.ts";
import type { IngestOutcome, ReplicaChange, ReplicaStore, Signer } from "../../src/seams.ts";
import type { Ed25519 } from "../../src/signing/ed25519.ts";

/** What survives a restart. */
export interface LogDisk {
  readonly changesets: Map<AuthorStream, Map<number, VerifiedChangeset>>;
  released: number;
}

export const createLogDisk = (): LogDisk => ({ changesets: new Map(), released: 0 });

export interface MemoryLog extends ReplicaStore {
  readonly write: (payload: Uint8Array) => Promise<void>;
  readonly close: () => Promise<void>;
}

export function openMemoryLog(
  disk: LogDisk,
  signer: Signer,
  mesh: MeshId,
  ed25519: Ed25519,
): MemoryLog {
  const own = authorStream({ site: signer.siteId, stream: "data" });
  const listeners = new Set<(change: ReplicaChange) => void>();
  let mode: "on" | "off" = "off";
  let turn: Promise<unknown> = Promise.resolve();

  const chain = (key: AuthorStream) =>
    disk.changesets.get(key) ?? new Map<number, VerifiedChangeset>();
  const held = (site: SiteId, version: number) =>
    chain(authorStream({ site, stream: "data" })).get(version);
  const ownHead = () => chain(own).size;

  function put(changeset: VerifiedChangeset): void {
    const key = authorStream(changeset.header);
    const versions = chain(key);
    versions.set(changeset.header.version, changeset);
    disk.changesets.set(key, versions);
  }

  function entry(key: AuthorStream): VectorEntry {
    const versions = [...chain(key).keys()]
      .filter((version) => key !== own || version <= disk.released)
      .sort((a, b) => a - b);
    const ranges: { first: number; last: number }[] = [{ first: 1, last: 0 }];
    for (const version of versions) {
      const range = ranges.at(-1) as { first: number; last: number };
      if (version === range.last + 1) range.last = version;
      else ranges.push({ first: version, last: version });
    }
    const [{ last: head }, ...beyond] = ranges as unknown as [VersionRange, ...VersionRange[]];
    const headHash = chain(key).get(head)?.headerHash.slice(0, 32) ?? "00".repeat(16);
    return { ...streamOf(key), floor: 0, head, headHash, beyond };
  }

  function tell(keys: ReadonlySet<AuthorStream>, broadcasts: readonly Uint8Array[]): void {
    const change = { entries: [...keys].map(entry), broadcasts };
    for (const listener of listeners) listener(change);
  }

  async function sign(payload: Uint8Array): Promise<VerifiedChangeset> {
    const version = ownHead() + 1;
    const header: ChangesetHeader = {
      kind: "data",
      stream: "data",
      encoding: { type: "plain" },
      site: signer.siteId,
      version,
      publicKey: version === 1 ? signer.publicKey : null,
      payloadBytes: payload.length,
      dependencies: [],
    };
    const previousHash = held(signer.siteId, version - 1)?.headerHash ?? ZERO_HASH;
    return signer.sign({ header, headerBytes: encodeHeader(header), payload, previousHash }, mesh);
  }

  function release(upTo: number): readonly Uint8Array[] {
    const broadcasts: Uint8Array[] = [];
    while (disk.released < Math.min(upTo, ownHead())) {
      disk.released += 1;
      const changeset = held(signer.siteId, disk.released) as VerifiedChangeset;
      const previousHashPrefix = fromHex(changeset.previousHash).subarray(0, DEPENDENCY_HASH_BYTES);
      const bytes = encodeBroadcast({ previousHashPrefix, changeset });
      if (bytes.length <= BROADCAST_BYTES_MAX) broadcasts.push(bytes);
    }
    return broadcasts;
  }

  function appendOne(changeset: VerifiedChangeset, changed: Set<AuthorStream>): IngestOutcome {
    const { site, version } = changeset.header;
    const before = held(site, version);
    if (before?.headerHash === changeset.headerHash) return { verdict: "known" };
    const previous = held(site, version - 1);
    const isFork = previous !== undefined && previous.headerHash !== changeset.previousHash;
    if (before !== undefined || isFork) return { verdict: "refused", code: "ERR_FORK" };
    put(changeset);
    changed.add(authorStream(changeset.header));
    return { verdict: "applied" };
  }

  async function append(
    changesets: readonly VerifiedChangeset[],
  ): Promise<readonly IngestOutcome[]> {
    const changed = new Set<AuthorStream>();
    const drafts = changesets.some(({ header }) => header.site === signer.siteId)
      ? takeDrafts()
      : [];
    const outcomes = changesets.map((changeset) => appendOne(changeset, changed));
    if (changed.has(own)) disk.released = Math.max(disk.released, ownHead());
    for (const { payload } of drafts) put(await sign(payload));
    if (changed.size > 0) tell(changed, []);
    return outcomes;
  }

  function takeDrafts(): readonly VerifiedChangeset[] {
    const drafts = [...chain(own).values()].filter(({ header }) => header.version > disk.released);
    for (const { header } of drafts) chain(own).delete(header.version);
    return drafts;
  }

  function inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = turn.then(run);
    turn = result.catch(() => undefined);
    return result;
  }

  const database = {
    mesh: () => ({ id: mesh, invite: new Uint8Array() }),
    hashOf: (site: SiteId, _stream: string, version: number) =>
      held(site, version)?.headerHash ?? null,
    findHash: (site: SiteId, _stream: string, version: number, prefix: string) => {
      const hash = held(site, version)?.headerHash ?? null;
      return hash?.startsWith(prefix) === true ? hash : null;
    },
    authorOf: (site: SiteId): PublicKey | null => held(site, 1)?.author ?? null,
    append: (changesets: readonly VerifiedChangeset[]) => inTurn(() => append(changesets)),
  };
  const queue = createIngestQueue({ database: database as unknown as ReplicaDatabase, ed25519 });

  return {
    mesh: () => mesh,
    vector: async () => [...disk.changesets.keys()].map(entry),
    ingest: queue.ingest,
    read: async ({ site, stream, first, last }, bytesMax) => {
      const versions = chain(authorStream({ site, stream }));
      const changesets: VerifiedChangeset[] = [];
      let bytes = 0;
      let version = first;
      for (; version <= last && bytes < bytesMax; version++) {
        const changeset = versions.get(version);
        if (changeset === undefined) break;
        changesets.push(changeset);
        bytes += changeset.payload.length + 150;
      }
      const [{ author, previousHash } = { author: null, previousHash: ZERO_HASH }] = changesets;
      if (author === null) return { runs: [], next: null };
      const next = version <= last && versions.has(version) ? version : null;
      return { runs: [encodeRun({ stream, author, previousHash, changesets })], next };
    },
    readChunks: async () => [],
    incoming: async () => [],
    offer: async (next) => {
      mode = next;
      if (mode === "off") return;
      if (disk.released < ownHead()) tell(new Set([own]), release(ownHead()));
    },
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    write: (payload) =>
      inTurn(async () => {
        put(await sign(payload));
        if (mode === "on") tell(new Set([own]), release(ownHead()));
      }),
    close: queue.close,
  };
}
