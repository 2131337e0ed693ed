/**
 * From the log to the tables: which changeset may be merged next, and what becomes of it. A
 * changeset is *settled* when it is merged or void; it is looked at when its predecessor and all the
 * causes it names are settled (docs/PROTOCOL.md, rules M1 to M3).
 *
 * Each author's chain waits for at most one thing at a time, so waiting costs the number of authors.
 *
 * @module
 */

import type { ChangesetHeader, Dependency, Stream } from "../protocol/changeset.ts";
import { isMeshError, type MeshErrorCode } from "../protocol/errors.ts";
import { fromHex, type HeaderHash, type SiteId, toHex } from "../protocol/ids.ts";
import { CHUNK_BYTES } from "../protocol/limits.ts";
import {
  decodePayloadPrefix,
  type PayloadRows,
  readPrefix,
  readTables,
} from "../protocol/payload.ts";
import type { Chain } from "./chains.ts";
import type { Engine } from "./engine.ts";
import { type LogEntry, type LogVerdict, readEntry, updateVerdict } from "./log.ts";
import { mergeRows } from "./merge.ts";
import {
  countRefusal,
  noteWallClock,
  type Parked,
  type ReplicaState,
  reloadState,
} from "./replica-state.ts";
import { type AppSchema, schemaVersionOf } from "./schema.ts";
import { payloadReader, payloadStart, type StoredPayload } from "./stored-payload.ts";
import { validatePayload } from "./validate.ts";

/** The changeset that is being merged when something fails. */
export interface MergeWatch {
  merging: HeaderHash | null;
}

/**
 * Runs a transaction that merges. When SQLite refuses a valid changeset, or traps on one, that one is
 * set aside and the transaction run again: the others are not its hostages. It is logged as parked;
 * to void it would let validity depend on what this replica holds.
 */
export async function mergingTransaction<T>(
  state: ReplicaState,
  work: (engine: Engine, watch: MergeWatch) => T | Promise<T>,
): Promise<T> {
  for (;;) {
    const watch: MergeWatch = { merging: null };
    try {
      return await state.file.transact((engine) => work(engine, watch));
    } catch (error) {
      reloadState(state);
      const code = (["ERR_ENGINE_TRAP", "ERR_SQL"] as const).find((each) =>
        isMeshError(error, each),
      );
      if (watch.merging === null || code === undefined) throw error;
      state.setAside.set(watch.merging, code);
    }
  }
}

/** What may be merged in one SQLite transaction; the rest waits for the next. */
export interface Budget {
  changesets: number;
  payloadBytes: number;
}

export const createBudget = (): Budget => ({ changesets: 2_000, payloadBytes: 4 * 1024 * 1024 });

export const isSpent = (budget: Budget): boolean =>
  budget.changesets <= 0 || budget.payloadBytes <= 0;

type Judged = Pick<LogEntry, "headerHash" | "code"> & {
  readonly header: ChangesetHeader;
  readonly payload: StoredPayload;
};

export type OnSettled = (chain: Chain, version: number, verdict: LogVerdict) => void;

/** Tries the chains in `state.untried`, and those that their progress frees, within the budget. */
export function settleUntried(
  state: ReplicaState,
  engine: Engine,
  budget: Budget,
  watch: MergeWatch,
  onVerdict: OnSettled,
): void {
  if (state.schema === null) {
    state.untried.clear();
    return;
  }
  for (const chain of state.untried) {
    state.untried.delete(chain);
    // Until the next opening: its payload may be large, and gaps close behind it as often as one likes.
    if (state.parked.has(chain)) continue;
    while (chain.settled < chain.head) {
      if (isSpent(budget)) {
        state.untried.add(chain);
        return;
      }
      const version = chain.settled + 1;
      const entry = readEntry(engine, chain, version);
      if (entry === null) throw new RangeError(`no version ${version} of ${chain.site} in the log`);
      const { header, payload } = entry;
      budget.changesets--;
      if (entry.state === "merged") {
        // Written here, before what it follows came back.
        settled(state, chain, entry.headerHash, header.dependencies);
        continue;
      }
      budget.payloadBytes -= header.payloadBytes;
      const judged = { header, payload, headerHash: entry.headerHash, code: entry.code };
      const verdict = trySettle(state, engine, chain, judged, watch);
      if (verdict.state !== entry.state || verdict.code !== entry.code) {
        updateVerdict(engine, entry.id, verdict);
        onVerdict(chain, version, verdict);
      }
      if (verdict.state === "held" || verdict.state === "parked") break;
    }
  }
}

/**
 * The next changeset of a chain: settles it, or says why not. When it is settled, those who waited
 * for it are in `state.untried`.
 */
export function trySettle(
  state: ReplicaState,
  engine: Engine,
  chain: Chain,
  changeset: Judged,
  watch: MergeWatch,
): LogVerdict {
  const { header, headerHash } = changeset;
  const isFirst = chain.branch !== "" && header.version === chain.base + 1;
  const missing =
    isFirst && !isSettled(state, chain.stream, baseOf(chain))
      ? baseOf(chain)
      : header.dependencies.find((cause) => !isSettled(state, "data", cause));
  if (missing !== undefined) {
    waitFor(state, chain, missing);
    return { state: "held", code: null, merged: null };
  }
  const verdict = judgeAndMerge(state, engine, chain.site, changeset, watch);
  const start = payloadStart(engine, changeset.payload);
  if (verdict.code !== null && verdict.code !== changeset.code) countRefusal(state, verdict.code);
  if (verdict.state === "parked") {
    state.parked.set(chain, parkedAs(verdict.code ?? "ERR_SCHEMA_NEWER", start));
    return verdict;
  }
  if (verdict.state === "void") state.voidCount++;
  settled(state, chain, headerHash, header.dependencies);
  noteWallClock(state, chain.site, start);
  return verdict;
}

/** What a branch leaves is the predecessor of its first changeset. */
const baseOf = ({ site, base, baseHash }: Chain): Dependency => ({
  site,
  version: base,
  hashPrefix: fromHex(baseHash.slice(0, 16)),
});

const parkedAs = (code: MeshErrorCode, payload: Uint8Array): Parked => ({
  code,
  schemaVersion: code === "ERR_SCHEMA_NEWER" ? decodePayloadPrefix(payload).schemaVersion : null,
});

function waitFor(state: ReplicaState, chain: Chain, { site, version }: Dependency): void {
  const waiters = state.waitersBySite.get(site) ?? new Map<Chain, number>();
  state.waitersBySite.set(site, waiters.set(chain, version));
}

/** Moves a chain's settled head on by one, and lets those try again who may have waited for it. */
export function settled(
  state: ReplicaState,
  chain: Chain,
  hash: HeaderHash,
  dependencies: readonly Dependency[],
): void {
  state.chains.settle(chain, hash, dependencies);
  state.parked.delete(chain);
  const waiters = state.waitersBySite.get(chain.site);
  for (const [waiter, version] of waiters ?? []) {
    // Each chain of the site passes it once: whoever waits for what never comes costs a comparison.
    if (version !== chain.settled) continue;
    waiters?.delete(waiter);
    state.untried.add(waiter);
  }
}

function isSettled(
  state: ReplicaState,
  stream: Stream,
  { site, version, hashPrefix }: Dependency,
): boolean {
  if (version === 0) return true;
  const hash = toHex(hashPrefix);
  const [main, branch] = state.chains.of(site, stream);
  if (main === undefined) return false;
  if (main.settled === version && main.settledHash.startsWith(hash)) return true;
  if (main.settled < version && branch === undefined) return false;
  const chain = state.chains.find(site, stream, version, hash);
  return chain !== undefined && chain.settled >= version;
}

/** Chunk by chunk: what is decoded is not kept. Of a payload that was found readable. */
export function rowsOf(
  engine: Engine,
  header: ChangesetHeader,
  payload: StoredPayload,
): PayloadRows {
  const reader = payloadReader(engine, header, payload);
  const { schemaVersion } = readPrefix(reader);
  return { schemaVersion, tables: readTables(reader, CHUNK_BYTES) };
}

const parked = (code: MeshErrorCode): LogVerdict => ({ state: "parked", code, merged: null });
const voided: LogVerdict = { state: "void", code: "ERR_ROWS_INVALID", merged: null };

function judgeAndMerge(
  state: ReplicaState,
  engine: Engine,
  site: SiteId,
  changeset: Judged,
  watch: MergeWatch,
): LogVerdict {
  const schema = state.schema as AppSchema;
  const { header, payload, headerHash } = changeset;
  const failed = state.setAside.get(headerHash);
  if (failed !== undefined) return parked(failed);
  if (changeset.code === "ERR_ENGINE_TRAP") return parked("ERR_ENGINE_TRAP");
  const readable = header.kind === "data" && header.encoding.type === "plain";
  if (!readable) return parked("ERR_ENCODING_UNKNOWN");
  let rows: PayloadRows;
  try {
    const reader = payloadReader(engine, header, payload);
    const { schemaVersion, schemaHash } = readPrefix(reader);
    if (schemaVersion > schema.version) return parked("ERR_SCHEMA_NEWER");
    const { hash } = schemaVersionOf(schema, schemaVersion);
    if (schemaHash !== null && schemaHash !== hash) {
      return parked("ERR_SCHEMA_MISMATCH");
    }
    const decoded = readTables(reader, CHUNK_BYTES);
    // Small ones are decoded once; large ones a second time, rather than kept.
    rows = { schemaVersion, tables: payload.number === null ? [...decoded] : decoded };
    validatePayload(rows, schema, engine);
  } catch (error) {
    const broken = ["ERR_ROWS_INVALID", "ERR_NOT_CANONICAL", "ERR_LIMIT"] as const;
    if (broken.some((code) => isMeshError(error, code))) return voided;
    throw error;
  }
  if (payload.number !== null) rows = rowsOf(engine, header, payload);
  watch.merging = headerHash;
  mergeRows(engine, schema, site, rows, (table) => state.changedTables.add(table.name));
  watch.merging = null;
  return { state: "merged", code: null, merged: state.nextMerged++ };
}
