/**
 * Opens a {@link ReplicaDatabase}: file, identity, schema, log, and whatever was waiting in it.
 *
 * @module
 */

import { isMeshError, MeshError } from "../protocol/errors.ts";
import type { HeaderHash, MeshId, SiteId } from "../protocol/ids.ts";
import { fromHex } from "../protocol/ids.ts";
import type { ChangesetRange } from "../protocol/version-vector.ts";
import type { ChunkRequest, IngestOutcome } from "../seams.ts";
import { admitOutline, appendSome } from "./append.ts";
import type { Chain } from "./chains.ts";
import { changeEvents } from "./change-events.ts";
import { judgeClaims } from "./claims.ts";
import { knownSchema } from "./known-schemas.ts";
import { type DatabaseFile, openDatabaseFile, readMeta, writeMeta } from "./database-file.ts";
import type { Engine } from "./engine.ts";
import { addChunks, chunkHashOf, incomingOf, isMissing, isWhole } from "./incoming.ts";
import { createLiveQueries } from "./live-query.ts";
import { logAuthors, logCounts } from "./log-status.ts";
import { readHash, readPayloadNumber, readRun } from "./log.ts";
import { createMutex } from "./mutex.ts";
import { isCopied, takeNewKey } from "./new-key.ts";
import { rebuildTables } from "./rebuild.ts";
import { dropReceipts, hasStaleReceipts, readResult } from "./receipts.ts";
import type {
  DatabaseChange,
  ReplicaDatabase,
  ReplicaDatabaseOptions,
} from "./replica-database.ts";
import { createReplicaState, release, type ReplicaState, reloadState } from "./replica-state.ts";
import { bindDrafts, restoreOwn } from "./restore.ts";
import { installSchema } from "./schema-install.ts";
import { computeStateHash } from "./state-hash.ts";
import { type ArrivedChangeset, readChunk } from "./stored-payload.ts";
import { createTransactions } from "./transaction.ts";
import { ownChain, sealTransaction } from "./write-path.ts";

/**
 * @throws ERR_SCHEMA_INVALID, ERR_SCHEMA_NEWER, ERR_OPTION_INVALID (another signer than the
 * file's), ERR_STORAGE_*, ERR_DATABASE_CORRUPT. The storage is closed then.
 */
export async function openReplicaDatabase(
  options: ReplicaDatabaseOptions,
): Promise<ReplicaDatabase> {
  let opened: DatabaseFile | null = null;
  try {
    const { wasm, storage } = options;
    const schema = options.schema === null ? null : await knownSchema(options.schema, wasm);
    const { file, signer } = await openDatabaseFile(storage, wasm, options.identity);
    opened = file;
    if (schema !== null) await file.transact((engine) => installSchema(engine, schema));
    const state = createReplicaState(file, signer, schema, options.clock);
    file.onReopened(() => reloadState(state));
    for (let more = state.untried.size > 0; more;) ({ more } = await appendSome(state, [], 0));
    // Noticed before, and ended before it was done.
    if (isCopied(state)) await takeNewKey(state, options.identity);
    const database = createReplicaDatabase(state, options);
    // Large ones whose last chunk was committed before this process began.
    await database.append([]);
    return database;
  } catch (error) {
    await (opened ?? options.storage).close();
    throw error;
  }
}

function createReplicaDatabase(
  state: ReplicaState,
  { storage, wasm, identity }: ReplicaDatabaseOptions,
): ReplicaDatabase {
  const { file } = state;
  const mutex = createMutex();
  const listeners = new Set<(change: DatabaseChange) => void>();
  const wakers = new Set<() => void>();
  const keyListeners = new Set<() => void>();
  let closed = false;
  const ownSites = (): readonly SiteId[] => [
    state.signer.siteId,
    ...state.formerKeys.map(({ formerSiteId }) => formerSiteId),
  ];
  let ownSite = state.signer.siteId;
  file.onReopened(() => {
    reloadState(state);
    if (state.signer.siteId === ownSite) return;
    ownSite = state.signer.siteId;
    for (const listener of keyListeners) listener();
  });

  const read = <T>(run: (engine: Engine) => T): Promise<T> =>
    mutex.run(async () => {
      await file.recover();
      try {
        return run(file.engine());
      } finally {
        await file.recover();
      }
    });
  const live = createLiveQueries(read);
  const tell = (broadcasts: readonly Uint8Array[]): void => {
    const entries = state.chains.takeChanged();
    const tables = new Set(state.changedTables);
    state.changedTables.clear();
    const incoming = [...state.incomingChanged.values()];
    state.incomingChanged.clear();
    if (entries.length === 0 && tables.size === 0 && incoming.length === 0) return;
    for (const wake of wakers) wake();
    wakers.clear();
    live.changed(tables);
    for (const listener of listeners) listener({ entries, broadcasts, tables, incoming });
  };
  /** One transaction of rowmesh's own; memory follows the file when it fails. */
  const change = async <T>(work: (engine: Engine) => Promise<T>): Promise<T> => {
    try {
      const result = await file.transact(work);
      tell([]);
      return result;
    } catch (error) {
      reloadState(state);
      throw error;
    }
  };
  const transactions = createTransactions({
    mutex,
    nowMs: state.clock.nowMs,
    engine: file.engine,
    recover: file.recover,
    commit: async (work) => {
      let sealing = false;
      try {
        let broadcasts: readonly Uint8Array[] = [];
        const result = await file.transact(async (engine) => {
          const written = new Set<string>();
          const value = await work(engine, written);
          sealing = true;
          broadcasts = await sealTransaction(state, engine, written);
          return value;
        });
        tell(broadcasts);
        return result;
      } catch (error) {
        if (sealing) reloadState(state);
        throw error;
      }
    },
  });

  /** Own changesets up to `to` become known to others: durable before it resolves. */
  const releaseUpTo = async (to: number): Promise<void> => {
    const engine = file.engine();
    const own = state.chains.own();
    if (own === undefined || state.mesh === null || to <= state.released.head) return;
    const headHash = readHash(engine, own, to);
    if (headHash === null) return;
    await change(async (current) => {
      release(state, own, { head: to, headHash });
      state.chains.save(current);
    });
  };
  /** In the turn that found out: nothing more is signed with the old key. */
  const renewKey = async (): Promise<void> => {
    if (!isCopied(state)) return;
    try {
      if (!(await takeNewKey(state, identity))) return;
      if (state.offering) await releaseUpTo(state.chains.own()?.head ?? 0);
      tell([]);
    } catch (error) {
      // A full disk, say. What was appended is kept; tried again with the next, or when opened.
      if (!isMeshError(error)) throw error;
    }
  };
  const appendOthers = async (
    changesets: readonly ArrivedChangeset[],
  ): Promise<readonly IngestOutcome[]> => {
    const outcomes: IngestOutcome[] = [];
    for (let more = true; more;) {
      // A turn per transaction: the app's calls go between.
      const progress = await mutex.run(async () => {
        const done = await appendSome(state, changesets, outcomes.length);
        tell([]);
        await renewKey();
        return done;
      });
      outcomes.push(...progress.outcomes);
      more = progress.more || outcomes.length < changesets.length;
    }
    return outcomes;
  };
  const appendOwn = async (
    changesets: readonly ArrivedChangeset[],
  ): Promise<readonly IngestOutcome[]> => {
    const restored = await mutex.run(async () => {
      const outcomes = await restoreOwn(state, changesets);
      tell([]);
      await renewKey();
      return outcomes;
    });
    const others = await appendOthers(changesets.filter((_, at) => restored[at] === null));
    let next = 0;
    return restored.map((outcome, at) => {
      if (outcome === null) return others[next++] as IngestOutcome;
      const isApplied = outcome.verdict === "held" && isSettledIn(state, changesets[at]);
      return isApplied ? { verdict: "applied" } : outcome;
    });
  };
  const append = async (
    changesets: readonly ArrivedChangeset[],
  ): Promise<readonly IngestOutcome[]> => {
    const outcomes: IngestOutcome[] = [];
    for (let from = 0; from < changesets.length;) {
      const { siteId } = state.signer;
      const isOwn = changesets[from]?.header.site === siteId;
      let to = from + 1;
      while (to < changesets.length && (changesets[to]?.header.site === siteId) === isOwn) to++;
      const part = changesets.slice(from, to);
      outcomes.push(...(isOwn ? await appendOwn(part) : await appendOthers(part)));
      from = to;
    }
    return outcomes;
  };
  /** Into the log with large ones that are whole. What cannot go there yet waits for a change of its author's chains. */
  const appendWhole = async (): Promise<ReadonlyMap<HeaderHash, IngestOutcome>> => {
    const outcomes = new Map<HeaderHash, IngestOutcome>();
    for (const incoming of [...state.incoming.values()].filter(isWhole)) {
      const { changeset } = incoming;
      const { site, stream } = changeset.header;
      const touches = state.chains.touches(site, stream);
      // Our own may follow what is released by now.
      if (incoming.triedAt === touches && site !== state.signer.siteId) continue;
      const [outcome] = await append([changeset]);
      incoming.triedAt = touches;
      if (outcome !== undefined) outcomes.set(changeset.headerHash, outcome);
    }
    return outcomes;
  };
  return {
    ...transactions,
    watch: live.watch,
    get signer() {
      return state.signer;
    },
    ownSites,
    onNewKey: (listener) => {
      keyListeners.add(listener);
      return () => keyListeners.delete(listener);
    },
    mesh: () => state.mesh,
    bindMesh: (id, invite) =>
      mutex.run(() => change((engine) => bindMesh(state, engine, id, invite))),
    vector: () => state.chains.vector(),
    hashOf: (site, stream, version) => {
      const chain = state.chains.get(site, stream);
      // An engine about to be replaced: what it holds can be asked for again.
      if (chain === undefined || !file.usable()) return null;
      return readHash(file.engine(), chain, version);
    },
    findHash: (site, stream, version, hashPrefix) => {
      if (!file.usable()) return null;
      const chain = state.chains.find(site, stream, version, hashPrefix);
      // What peers hold of our own and we have not released is for `restoreOwn` to see.
      const isReleased = chain !== state.chains.own() || version <= state.released.head;
      return chain === undefined || !isReleased ? null : readHash(file.engine(), chain, version);
    },
    authorOf: (site) => state.chains.authorOf(site),
    append: async (changesets) => {
      const outcomes = await append(changesets);
      await appendWhole();
      return outcomes;
    },
    appendOutlines: async (outlines) => {
      const outcomes = await mutex.run(() =>
        change(async (engine) => outlines.map((outline) => admitOutline(state, engine, outline))),
      );
      await appendWhole();
      return outcomes;
    },
    missingChunkHash: (headerHash, index) => {
      const incoming = state.incoming.get(headerHash);
      const isAsked = incoming !== undefined && isMissing(incoming, index);
      return isAsked ? chunkHashOf(incoming, index) : null;
    },
    appendChunks: async (chunks) => {
      const kept = await mutex.run(() =>
        change(async (engine) => addChunks(state, engine, chunks)),
      );
      const outcomes = await appendWhole();
      return kept.map((outcome, at) => {
        const whole = outcomes.get(chunks[at]?.headerHash as HeaderHash);
        return outcome.verdict === "incomplete" && whole !== undefined ? whole : outcome;
      });
    },
    incoming: () => [...state.incoming.values()].map(incomingOf),
    readChunks: (request) => read((engine) => readChunks(state, engine, request)),
    read: (range, bytesMax, large = "whole") =>
      mutex.run(async () => {
        await file.recover();
        if (chainOf(state, range) === state.chains.own())
          await releaseUpTo(releasable(state, range));
        return readRange(state, file.engine(), range, bytesMax, large);
      }),
    judge: (claims, also) => read((engine) => judgeClaims(state, engine, claims, also)),
    offer: (mode) =>
      mutex.run(async () => {
        state.offering = mode === "on";
        if (!state.offering) return;
        state.hasOffered = true;
        await file.recover();
        await releaseUpTo(state.chains.own()?.head ?? 0);
      }),
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    peerPosition: (name) => read((engine) => readMeta(engine, `peer ${name}`) as Uint8Array | null),
    keepPeerPosition: (name, position) =>
      mutex.run(() => file.transact((engine) => writeMeta(engine, `peer ${name}`, position))),
    keptResult: (receipt) => read((engine) => readResult(engine, receipt)),
    dropReceipts: (isOpen) =>
      mutex.run(async () => {
        await file.recover();
        if (hasStaleReceipts(file.engine(), isOpen)) {
          await file.transact((engine) => dropReceipts(engine, isOpen));
        }
      }),
    counts: () => logCounts(state),
    authors: () => logAuthors(state),
    events: (eventsOptions = {}) =>
      changeEvents(
        {
          ownSites,
          schema: state.schema,
          read,
          closed: () => closed,
          onNextCommit: (wake) => {
            wakers.add(wake);
            return () => wakers.delete(wake);
          },
        },
        eventsOptions,
      ),
    stateHash: () =>
      read((engine) => (state.schema === null ? "" : computeStateHash(engine, state.schema))),
    rebuild: () => mutex.run(() => rebuildTables(state, storage, wasm)),
    close: async () => {
      if (closed) return;
      closed = true;
      live.close();
      for (const wake of wakers) wake();
      await mutex.close();
      await file.close();
    },
  };
}

const isSettledIn = (
  { chains }: ReplicaState,
  changeset: ArrivedChangeset | undefined,
): boolean => {
  if (changeset === undefined) return false;
  const { site, stream, version } = changeset.header;
  return (chains.find(site, stream, version, changeset.headerHash)?.settled ?? 0) >= version;
};

const releasable = (state: ReplicaState, range: ChangesetRange): number =>
  Math.min(range.last, chainOf(state, range)?.head ?? 0);

const chainOf = (
  { chains }: ReplicaState,
  { site, stream, branch }: ChangesetRange,
): Chain | undefined => chains.get(site, stream, branch);

function readRange(
  state: ReplicaState,
  engine: Engine,
  range: ChangesetRange,
  bytesMax: number,
  large: "whole" | "outlined",
): Awaited<ReturnType<ReplicaDatabase["read"]>> {
  const chain = chainOf(state, range);
  const runs: Uint8Array[] = [];
  const hashes: HeaderHash[] = [];
  const outlines: Uint8Array[] = [];
  let bytes = 0;
  let next = range.first;
  // What lies above the watermark may still change: it is nobody else's.
  const isOwn = chain === state.chains.own();
  const last = isOwn ? Math.min(range.last, state.released.head) : range.last;
  if (chain === undefined) return { runs, hashes, next: null };
  while (next <= last && (bytes === 0 || bytes < bytesMax)) {
    const part = readRun(engine, chain, { first: next, last }, bytesMax - bytes, large);
    if (part === null) break;
    const { run, hash, outline } = part;
    if (run !== null) {
      runs.push(run);
      hashes.push(hash);
    }
    if (outline !== null) outlines.push(outline);
    bytes += (run?.length ?? 0) + (outline?.length ?? 0);
    ({ next } = part);
  }
  const isServed = next > range.last || bytes === 0 || (isOwn && next > last);
  return { runs, hashes, outlines, next: isServed ? null : next };
}

function readChunks(
  state: ReplicaState,
  engine: Engine,
  { indexes, ...of }: ChunkRequest,
): { readonly index: number; readonly bytes: Uint8Array }[] {
  const number = payloadNumberOf(state, engine, of);
  if (number === null) return [];
  return indexes.flatMap((index) => {
    const bytes = readChunk(engine, number, index);
    return bytes === null ? [] : [{ index, bytes }];
  });
}

/** Of what is in the log and may be served, or is half here. */
function payloadNumberOf(
  { chains, released, incoming }: ReplicaState,
  engine: Engine,
  { site, stream, version, headerHash }: Omit<ChunkRequest, "indexes">,
): number | null {
  const chain = chains.find(site, stream, version, headerHash);
  if (chain === undefined) return incoming.get(headerHash)?.number ?? null;
  if (chain === chains.own() && version > released.head) return null;
  return readPayloadNumber(engine, chain, version);
}

async function bindMesh(
  state: ReplicaState,
  engine: Engine,
  id: MeshId,
  invite: Uint8Array,
): Promise<void> {
  if (state.mesh !== null && state.mesh.id !== id) {
    throw new MeshError("ERR_MESH_DIFFERENT", `bound to ${state.mesh.id}`);
  }
  const first = state.mesh === null;
  const own = ownChain(state, engine);
  if (first) await bindDrafts(state, engine, id);
  writeMeta(engine, "mesh", fromHex(id));
  writeMeta(engine, "invite", invite);
  state.mesh = { id, invite: invite.slice() };
  if (first && state.offering && own.head > 0) {
    release(state, own, { head: own.head, headHash: own.headHash });
  }
  state.chains.save(engine);
}
