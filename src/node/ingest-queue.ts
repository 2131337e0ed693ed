/**
 * From received bytes to logged changesets: decode, verify, append, in batches. Whatever arrives
 * ends in an outcome; what does not fit the queue is asked for again later.
 *
 * @module
 */

import type { ReplicaDatabase } from "../db/replica-database.ts";
import type { ArrivedChunk } from "../db/incoming.ts";
import { equalBytes } from "../protocol/bytes.ts";
import type { VerifiedChangeset } from "../protocol/changeset.ts";
import { type ChangesetRun, decodeBroadcast, decodeRun } from "../protocol/changeset-run.ts";
import { isMeshError, type MeshErrorCode } from "../protocol/errors.ts";
import {
  type HeaderHash,
  type MeshId,
  type PublicKey,
  type SiteId,
  toHex,
  ZERO_HASH,
} from "../protocol/ids.ts";
import { DEPENDENCY_HASH_BYTES, INGEST_BYTES_MAX } from "../protocol/limits.ts";
import { decodeOutline } from "../protocol/outline.ts";
import type { IngestItem, IngestOutcome } from "../seams.ts";
import type { Ed25519 } from "../signing/ed25519.ts";
import { chunkHash, headerHashOf, payloadRoot, signedMessage } from "../signing/signed-bytes.ts";
import { verifyOutline, verifyRun } from "../signing/verified-changeset.ts";

export interface IngestQueue {
  readonly ingest: (items: readonly IngestItem[]) => Promise<readonly (readonly IngestOutcome[])[]>;
  /** Resolves when nothing is under way; later calls answer "later". */
  readonly close: () => Promise<void>;
}

export interface IngestQueueOptions {
  readonly database: ReplicaDatabase;
  readonly ed25519: Ed25519;
}

/** Bytes verified and appended at once: many small changesets share one COMMIT. */
const BATCH_BYTES = 1024 * 1024;

interface Job {
  readonly item: IngestItem;
  readonly done: (outcomes: readonly IngestOutcome[]) => void;
}

interface ChunkJob extends Job {
  readonly item: Extract<IngestItem, { readonly type: "chunk" }>;
}

const isChunk = (job: Job): job is ChunkJob => job.item.type === "chunk";

/** What came of one item so far: outcomes known already, and changesets still to append. */
interface Judged {
  readonly known: number;
  readonly verified: readonly VerifiedChangeset[];
  /** Outcomes of what follows the verified ones. */
  readonly rest: readonly IngestOutcome[];
}

export function createIngestQueue({ database, ed25519 }: IngestQueueOptions): IngestQueue {
  const jobs: Job[] = [];
  let queuedBytes = 0;
  let pumping: Promise<void> | null = null;
  let state: "open" | "closed" = "open";

  async function enqueue(item: IngestItem): Promise<readonly IngestOutcome[]> {
    if (state === "closed") return [later("ERR_CLOSED")];
    if (queuedBytes + item.bytes.length > INGEST_BYTES_MAX) return [later("ERR_BUSY")];
    queuedBytes += item.bytes.length;
    return new Promise((done) => {
      jobs.push({ item, done });
      pumping ??= pump();
    });
  }

  async function pump(): Promise<void> {
    // One turn later: what arrives together is appended together.
    await Promise.resolve();
    while (jobs.length > 0) {
      const batch = takeBatch();
      try {
        await digest(batch);
      } finally {
        for (const { item } of batch) queuedBytes -= item.bytes.length;
      }
    }
    // In the same step as the last look at the jobs: one that comes in between would wait for ever.
    pumping = null;
  }

  function takeBatch(): readonly Job[] {
    let bytes = 0;
    let count = 0;
    while (count < jobs.length && (count === 0 || bytes < BATCH_BYTES)) {
      bytes += (jobs[count] as Job).item.bytes.length;
      count++;
    }
    return jobs.splice(0, count);
  }

  /** Chunks apart, in one transaction of their own; outlines after the runs that they may follow. */
  async function digest(batch: readonly Job[]): Promise<void> {
    const mesh = database.mesh()?.id ?? null;
    const runs: Job[] = [];
    const chunks: ChunkJob[] = [];
    const outlines: Job[] = [];
    for (const job of batch) {
      if (isChunk(job)) chunks.push(job);
      else (job.item.type === "outline" ? outlines : runs).push(job);
    }
    if (runs.length > 0) await digestRuns(runs, mesh);
    for (const { item, done } of outlines) done([await expect(item.bytes, mesh)]);
    if (chunks.length > 0) await digestChunks(chunks);
  }

  async function expect(bytes: Uint8Array, mesh: MeshId | null): Promise<IngestOutcome> {
    if (mesh === null) return later("ERR_NO_MESH");
    try {
      const outline = await verifyOutline(ed25519, decodeOutline(bytes), mesh);
      if (outline === null) return refusal("ERR_SIGNATURE_INVALID");
      const [outcome] = await kept([outline], database.appendOutlines);
      return outcome ?? later("ERR_INTERNAL");
    } catch (error) {
      return isMeshError(error) ? refusal(error.code) : later("ERR_INTERNAL");
    }
  }

  async function digestChunks(batch: readonly ChunkJob[]): Promise<void> {
    const right: ChunkJob[] = [];
    for (const job of batch) {
      const hash = database.missingChunkHash(job.item.headerHash, job.item.index);
      if (hash === null) job.done([{ verdict: "known" }]);
      else if (equalBytes(chunkHash(job.item.bytes), hash)) right.push(job);
      else job.done([refusal("ERR_SIGNATURE_INVALID")]);
    }
    const chunks = right.map(({ item }): ArrivedChunk => item);
    const outcomes = chunks.length === 0 ? [] : await kept(chunks, database.appendChunks);
    for (const [i, { done }] of right.entries()) done([outcomes[i] ?? later("ERR_INTERNAL")]);
  }

  async function digestRuns(batch: readonly Job[], mesh: MeshId | null): Promise<void> {
    const judged: Judged[] = [];
    const chain = createChain(database);
    for (const { item } of batch) {
      const verdict = mesh === null ? undecided("ERR_NO_MESH") : await judge(item, mesh, chain);
      chain.extend(verdict.verified);
      judged.push(verdict);
    }
    const verified = judged.flatMap((each) => each.verified);
    const appended = verified.length === 0 ? [] : await kept(verified, database.append);
    let at = 0;
    for (const [i, { known, verified: part, rest }] of judged.entries()) {
      const outcomes = appended.slice(at, at + part.length);
      at += part.length;
      batch[i]?.done([
        ...Array.from({ length: known }, (): IngestOutcome => ({ verdict: "known" })),
        ...outcomes,
        ...rest,
      ]);
    }
  }

  async function judge(item: IngestItem, mesh: MeshId, chain: Chain): Promise<Judged> {
    try {
      const run = item.type === "run" ? decodeRun(item.bytes) : asRun(item.bytes, chain);
      if (typeof run === "string") return undecided(run);
      const known = knownPrefix(run, mesh, chain);
      const unknown = run.changesets.slice(known.count);
      if (unknown.length === 0) return { known: known.count, verified: [], rest: [] };
      const remaining = { ...run, previousHash: known.lastHash, changesets: unknown };
      const { verified, refused } = await verifyRun(ed25519, remaining, mesh);
      const rest = unknown.slice(verified.length).map(() => refusal(refused?.code));
      return { known: known.count, verified, rest };
    } catch (error) {
      if (isMeshError(error)) return { known: 0, verified: [], rest: [refusal(error.code)] };
      // Our own fault must not end the queue, nor be blamed on the sender.
      return undecided("ERR_INTERNAL");
    }
  }

  return {
    ingest: (items) => Promise.all(items.map(enqueue)),
    close: async () => {
      state = "closed";
      for (const { done } of jobs.splice(0)) done([later("ERR_CLOSED")]);
      await pumping;
    },
  };
}

/** Heads as they will be once the batch is appended, so that its later items can build on earlier ones. */
interface Chain {
  /** Of a changeset whose hash begins with these hex digits. */
  readonly findHash: (
    site: SiteId,
    stream: ChangesetRun["stream"],
    version: number,
    hashPrefix: string,
  ) => HeaderHash | null;
  readonly authorOf: (site: SiteId) => PublicKey | null;
  readonly extend: (verified: readonly VerifiedChangeset[]) => void;
}

/** A broadcast's prefix, in hex digits. */
const PREFIX_DIGITS: number = 2 * DEPENDENCY_HASH_BYTES;

const key = (site: SiteId, stream: string, version: number, hash: string): string =>
  `${site}/${stream}/${version}/${hash.slice(0, PREFIX_DIGITS)}`;

function createChain(database: ReplicaDatabase): Chain {
  const hashes = new Map<string, HeaderHash>();
  const authors = new Map<SiteId, PublicKey>();
  return {
    findHash: (site, stream, version, hashPrefix) =>
      hashes.get(key(site, stream, version, hashPrefix)) ??
      database.findHash(site, stream, version, hashPrefix),
    authorOf: (site) => authors.get(site) ?? database.authorOf(site),
    extend: (verified) => {
      for (const { header, headerHash, author } of verified) {
        hashes.set(key(header.site, header.stream, header.version, headerHash), headerHash);
        authors.set(header.site, author);
      }
    },
  };
}

/** A broadcast as a run of one, if the log tells its author and predecessor; else the reason. */
function asRun(bytes: Uint8Array, chain: Chain): ChangesetRun | MeshErrorCode {
  const { previousHashPrefix, changeset } = decodeBroadcast(bytes);
  const { site, stream, version, publicKey } = changeset.header;
  const author = publicKey ?? chain.authorOf(site);
  if (author === null) return "ERR_UNKNOWN_AUTHOR";
  const prefix = toHex(previousHashPrefix);
  const previousHash =
    version === 1 ? ZERO_HASH : chain.findHash(site, stream, version - 1, prefix);
  // On a branch that is not here, or a lie: the vectors will tell.
  if (previousHash === null) return "ERR_UNKNOWN_PREDECESSOR";
  return { stream, author, previousHash, changesets: [changeset] };
}

/** How many of the run's first changesets the log holds already, told by their hashes alone. */
function knownPrefix(
  run: ChangesetRun,
  mesh: MeshId,
  chain: Chain,
): { readonly count: number; readonly lastHash: HeaderHash } {
  let lastHash = run.previousHash;
  let count = 0;
  for (const { header, headerBytes, payload } of run.changesets) {
    const message = signedMessage(mesh, lastHash, payloadRoot(payload), headerBytes);
    const hash = headerHashOf(message);
    if (chain.findHash(header.site, header.stream, header.version, hash) !== hash) break;
    lastHash = hash;
    count++;
  }
  return { count, lastHash };
}

async function kept<Item>(
  items: readonly Item[],
  append: (items: readonly Item[]) => Promise<readonly IngestOutcome[]>,
): Promise<readonly IngestOutcome[]> {
  try {
    return await append(items);
  } catch (error) {
    // The disk or the engine failed: nothing was kept, the sender still has it.
    const code = isMeshError(error) ? error.code : "ERR_INTERNAL";
    return items.map(() => later(code));
  }
}

const later = (code: MeshErrorCode): IngestOutcome => ({ verdict: "later", code });

const undecided = (code: MeshErrorCode): Judged => ({
  known: 0,
  verified: [],
  rest: [later(code)],
});

const refusal = (code: MeshErrorCode = "ERR_SIGNATURE_INVALID"): IngestOutcome => ({
  verdict: "refused",
  code,
});
