/**
 * What a replica keeps in memory beside its file. All of it can be read back from the file, and is
 * after every failed transaction.
 *
 * @module
 */

import { decodePayloadPrefix } from "../protocol/payload.ts";
import type { MeshErrorCode } from "../protocol/errors.ts";
import { isMeshError } from "../protocol/errors.ts";
import { type HeaderHash, meshId, siteId, type SiteId, ZERO_HASH } from "../protocol/ids.ts";
import type { Clock, IncomingChangeset, Signer } from "../seams.ts";
import { type Chain, type Chains, loadChains, type OwnHead } from "./chains.ts";
import { type DatabaseFile, readMeta, writeMeta } from "./database-file.ts";
import type { Engine } from "./engine.ts";
import type { ForkProof } from "./forks.ts";
import { type Incoming, loadIncoming } from "./incoming.ts";
import { readHash } from "./log.ts";
import { OWN_AUTHOR } from "./log-tables.ts";
import type { AppSchema } from "./schema.ts";
import type { MeshBinding } from "./replica-database.ts";

/** A key that two copies of this profile wrote with, and what this one took instead. */
export interface FormerKey {
  readonly formerSiteId: SiteId;
  readonly siteId: SiteId;
  /** When it was taken, by this device's clock, in milliseconds since 1970. */
  readonly takenMs: number;
}

export interface Parked {
  readonly code: MeshErrorCode;
  /** The schema version it names, where that is what it waits for. */
  readonly schemaVersion: number | null;
}

export interface ReplicaState {
  readonly file: DatabaseFile;
  /** Of the key in the file. */
  signer: Signer;
  /** By site: the file says whose turn it is. */
  readonly signers: Map<SiteId, Signer>;
  readonly schema: AppSchema | null;
  readonly clock: Clock;
  chains: Chains;
  mesh: MeshBinding | null;
  /** Oldest first. */
  formerKeys: readonly FormerKey[];
  /** The own changesets up to here are known to others, or may be. */
  released: OwnHead;
  offering: boolean;
  /** Since this was opened: what was lost before has been looked for. */
  hasOffered: boolean;
  /** Own changesets came that were written elsewhere while this was open. */
  isElsewhere: boolean;
  /** The next number in merge order. */
  nextMerged: number;
  /** The schema version whose hash an own changeset has carried last. */
  announced: number;
  /** Chains whose next changeset has not been looked at since it became possible. */
  readonly untried: Set<Chain>;
  /** Chains whose next changeset waits for that site, and for which of its versions. */
  readonly waitersBySite: Map<SiteId, Map<Chain, number>>;
  /** Why a chain's next changeset waits for an upgrade. */
  readonly parked: Map<Chain, Parked>;
  /** Changesets that the engine failed on although they are valid: not tried again by this process. */
  readonly setAside: Map<HeaderHash, MeshErrorCode>;
  /** Large changesets of which chunks are missing. */
  readonly incoming: Map<HeaderHash, Incoming>;
  /** What nobody has been told of them yet. */
  readonly incomingChanged: Map<HeaderHash, IncomingChangeset>;
  readonly refusals: Map<MeshErrorCode, number>;
  readonly lastWroteMs: Map<SiteId, number>;
  /** Names of tables that the open or last transaction changed. */
  readonly changedTables: Set<string>;
  voidCount: number;
  /** As last read: for when the engine is being replaced. */
  forks: readonly ForkProof[];
}

const NOTHING: OwnHead = { head: 0, headHash: ZERO_HASH };

export function createReplicaState(
  file: DatabaseFile,
  signer: Signer,
  schema: AppSchema | null,
  clock: Clock,
): ReplicaState {
  const state: ReplicaState = {
    file,
    signer,
    signers: new Map([[signer.siteId, signer]]),
    schema,
    clock,
    chains: loadChains(file.engine(), OWN_AUTHOR, () => state.released),
    mesh: null,
    formerKeys: [],
    released: NOTHING,
    offering: false,
    hasOffered: false,
    isElsewhere: false,
    nextMerged: 1,
    announced: 0,
    untried: new Set(),
    waitersBySite: new Map(),
    parked: new Map(),
    setAside: new Map(),
    incoming: new Map(),
    incomingChanged: new Map(),
    refusals: new Map(),
    lastWroteMs: new Map(),
    changedTables: new Set(),
    voidCount: 0,
    forks: [],
  };
  reloadState(state);
  return state;
}

/** Forgets everything and reads it from the file: after opening, and after a transaction failed. */
export function reloadState(state: ReplicaState): void {
  // Done when the file could be opened again.
  if (!state.file.usable()) return;
  const engine = state.file.engine();
  const ownAuthor = Number(readMeta(engine, "own") ?? OWN_AUTHOR);
  state.chains = loadChains(engine, ownAuthor, () => state.released);
  const invite = readMeta(engine, "invite");
  const id = readMeta(engine, "mesh");
  state.mesh =
    id instanceof Uint8Array && invite instanceof Uint8Array ? { id: meshId(id), invite } : null;
  state.signer = signerOfFile(state, engine, ownAuthor);
  state.formerKeys = readFormerKeys(engine);
  state.announced = Number(readMeta(engine, "announced") ?? 0n);
  const own = state.chains.own();
  const head = own?.released ?? 0;
  const headHash = own === undefined || head === own.base ? null : readHash(engine, own, head);
  const base = own === undefined ? NOTHING : { head: own.base, headHash: own.baseHash };
  state.released = headHash === null ? base : { head, headHash };
  state.nextMerged = numberOf(
    engine,
    "SELECT coalesce(max(merged), 0) + 1 FROM rowmesh_log WHERE merged IS NOT NULL",
  );
  state.changedTables.clear();
  state.waitersBySite.clear();
  state.parked.clear();
  state.untried.clear();
  for (const chain of state.chains.all()) if (chain.settled < chain.head) state.untried.add(chain);
  loadIncoming(state, engine);
  readRefusals(state, engine);
  readLastWrote(state, engine);
}

/** A commit that failed half-way may have made another key durable: the file knows. */
function signerOfFile({ signers }: ReplicaState, engine: Engine, ownAuthor: number): Signer {
  const own = engine.prepare("SELECT site FROM rowmesh_author WHERE id = ?");
  own.bindInteger(1, ownAuthor);
  own.step();
  const signer = signers.get(siteId(own.blob(0)));
  own.reset();
  if (signer === undefined) throw new RangeError("no signer for the file's key");
  return signer;
}

/** Own changesets up to `to` are released once the open transaction, which saves the chains, commits. */
export function release(state: ReplicaState, own: Chain, to: OwnHead): void {
  own.released = to.head;
  state.released = to;
  state.chains.touch(own);
}

export const countRefusal = (state: ReplicaState, code: MeshErrorCode): void => {
  state.refusals.set(code, (state.refusals.get(code) ?? 0) + 1);
};

function readRefusals(state: ReplicaState, engine: Engine): void {
  // Refusals of what was not logged are counted since opening only: keep them.
  if (state.refusals.size > 0) return;
  const codes = engine.prepare(
    "SELECT code, count(*) FROM rowmesh_log WHERE code IS NOT NULL GROUP BY code",
  );
  while (codes.step()) state.refusals.set(codes.text(0) as MeshErrorCode, codes.integer(1));
  state.voidCount = numberOf(
    engine,
    "SELECT count(*) FROM rowmesh_log WHERE code IS NOT NULL AND state = 3",
  );
}

/** A payload's prefix is at most 48 bytes. */
function readLastWrote(state: ReplicaState, engine: Engine): void {
  const head = engine.prepare(
    "SELECT coalesce((SELECT substr(bytes, 1, 48) FROM rowmesh_chunk WHERE payload = chunks AND chunk = 0), substr(payload, 1, 48)) FROM rowmesh_log WHERE author = ? AND stream = 0 AND version = ? AND state IN (2, 3)",
  );
  for (const { author, site, settled, stream } of state.chains.all()) {
    if (stream !== "data" || settled === 0 || state.lastWroteMs.has(site)) continue;
    head.bindStored([BigInt(author), BigInt(settled)]);
    if (head.step()) noteWallClock(state, site, head.blob(0));
    head.reset();
  }
}

export function noteWallClock(state: ReplicaState, site: SiteId, payload: Uint8Array): void {
  try {
    state.lastWroteMs.set(site, decodePayloadPrefix(payload).wallClockMs);
  } catch (error) {
    if (!isMeshError(error)) throw error;
  }
}

const FORMER_KEYS_MAX = 64;

/** Of more than some the oldest are forgotten. */
export function noteFormerKey(state: ReplicaState, engine: Engine, former: FormerKey): void {
  const keys = [...state.formerKeys, former].slice(-FORMER_KEYS_MAX);
  writeMeta(engine, "formerKeys", JSON.stringify(keys));
}

const readFormerKeys = (engine: Engine): FormerKey[] =>
  JSON.parse(String(readMeta(engine, "formerKeys") ?? "[]")) as FormerKey[];

const numberOf = (engine: Engine, sql: string): number => {
  const statement = engine.prepare(sql);
  statement.step();
  const value = statement.integer(0);
  statement.reset();
  return value;
};
