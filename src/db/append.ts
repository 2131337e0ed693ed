/**
 * Received changesets into the log, and from there into the tables: authentic ones are always
 * logged, whatever their rows hold (docs/PROTOCOL.md, rules L1 to L8).
 *
 * @module
 */

import type { MeshErrorCode } from "../protocol/errors.ts";
import { AUTHORS_MAX } from "../protocol/limits.ts";
import type { VerifiedOutline } from "../protocol/changeset.ts";
import type { IngestOutcome } from "../seams.ts";
import { addBeyond, type Chain, isBeyond, takeBeyond } from "./chains.ts";
import type { Engine } from "./engine.ts";
import { dropBeyond, forkChain } from "./forks.ts";
import { addIncoming, isStillHere, isWhole, settleIncoming } from "./incoming.ts";
import { insertEntry, type LogVerdict, readEntry } from "./log.ts";
import { countRefusal, type ReplicaState } from "./replica-state.ts";
import { judgeOwn, releaseKnown } from "./restore.ts";
import {
  type Budget,
  createBudget,
  isSpent,
  mergingTransaction,
  type MergeWatch,
  settleUntried,
  trySettle,
} from "./settle.ts";
import { type ArrivedChangeset, storePayload } from "./stored-payload.ts";

export interface AppendProgress {
  /** How many of the changesets were dealt with, from the first on. */
  readonly done: number;
  readonly outcomes: readonly IngestOutcome[];
  /** Changesets outside of this batch that were settled by it, or wait for the next call. */
  readonly more: boolean;
}

/**
 * One SQLite transaction: as many of the changesets from `from` on as fit the budget, and what their
 * merging frees. Own ones are for `restore.ts`.
 */
export const appendSome = (
  state: ReplicaState,
  changesets: readonly ArrivedChangeset[],
  from: number,
): Promise<AppendProgress> =>
  mergingTransaction(state, (engine, watch) =>
    appendInTransaction(state, engine, changesets, from, watch),
  );

function appendInTransaction(
  state: ReplicaState,
  engine: Engine,
  changesets: readonly ArrivedChangeset[],
  from: number,
  watch: MergeWatch,
): AppendProgress {
  const budget = createBudget();
  const outcomes: IngestOutcome[] = [];
  const indexByPlace = new Map<string, number>();
  let at = from;
  const later = (): void =>
    settleUntried(state, engine, budget, watch, (chain, version, verdict) => {
      const index = indexByPlace.get(placeOf(chain, version));
      if (index !== undefined) outcomes[index] = outcomeOf(verdict);
    });
  for (; at < changesets.length && !isSpent(budget); at++) {
    const changeset = changesets[at] as ArrivedChangeset;
    const { outcome, chain } = admit(state, engine, changeset, budget, watch);
    settleIncoming(state, engine, changeset, outcome);
    if (outcome.verdict === "held" && chain !== null) {
      indexByPlace.set(placeOf(chain, changeset.header.version), outcomes.length);
    }
    if (outcome.verdict === "refused" && outcome.code !== undefined) {
      countRefusal(state, outcome.code);
    }
    outcomes.push(outcome);
    if (state.untried.size > 0) later();
  }
  later();
  state.chains.save(engine);
  return { done: at - from, outcomes, more: state.untried.size > 0 };
}

/**
 * Keeps the outline of a large changeset that would be admitted, to be filled chunk by chunk. Inside
 * an open transaction.
 */
export function admitOutline(
  state: ReplicaState,
  engine: Engine,
  outline: VerifiedOutline,
): IngestOutcome {
  const incoming = state.incoming.get(outline.headerHash);
  if (incoming !== undefined && !isWhole(incoming)) return { verdict: "known" };
  const own = state.chains.own();
  let restored: IngestOutcome | null = null;
  if (own !== undefined && outline.header.site === own.site) {
    releaseKnown(state, engine, own, [outline]);
    state.chains.save(engine);
    restored = judgeOwn(state, engine, own, state.released, outline);
  }
  const place = restored?.verdict === "held" ? null : (restored ?? locate(state, outline));
  // Also of a whole one that follows a branch which is not here: its sender has that as well.
  if (place !== null && "verdict" in place) return place;
  if (incoming !== undefined) return { verdict: "incomplete" };
  if (addIncoming(state, engine, outline)) return { verdict: "incomplete" };
  return { verdict: "later", code: "ERR_BUSY" };
}

const placeOf = (chain: Chain, version: number): string =>
  `${chain.author}/${chain.stream}/${version}`;

const outcomeOf = ({ state, code }: LogVerdict): IngestOutcome => {
  const verdict = state === "merged" ? "applied" : state;
  return code === null ? { verdict } : { verdict, code };
};

interface Admission {
  readonly outcome: IngestOutcome;
  /** Null unless it was logged. */
  readonly chain: Chain | null;
}

/** Where a changeset goes: behind a chain's head or another place in it, or beyond a gap. */
interface Place {
  readonly type: "next" | "fork" | "beyond";
  /** Null: of an author that has none yet. */
  readonly chain: Chain | null;
}

const refused = (code: MeshErrorCode): IngestOutcome => ({ verdict: "refused", code });
const postponed = (code: MeshErrorCode): IngestOutcome => ({ verdict: "later", code });

function locate(
  state: ReplicaState,
  {
    header,
    mesh,
    author,
    headerHash,
    previousHash,
  }: Omit<VerifiedOutline, "chunkHashes" | "__verified">,
): Place | IngestOutcome {
  const { site, stream, version } = header;
  if (state.mesh === null || mesh !== state.mesh.id) return refused("ERR_WRONG_MESH");
  const known = state.chains.authorOf(site);
  // Two keys with one site id: 2^64 work for whoever wants it, and then the first one here stays.
  if (known !== null && known !== author) return refused("ERR_FORK");
  const chain = state.chains.get(site, stream);
  const isFull = state.chains.count() >= AUTHORS_MAX;
  if (chain === undefined) {
    if (isFull) return postponed("ERR_BUSY");
    return { type: version === 1 ? "next" : "beyond", chain: null };
  }
  const { find } = state.chains;
  if (find(site, stream, version, headerHash) !== undefined) return { verdict: "known" };
  const base = version - 1;
  const before = version === 1 ? chain : find(site, stream, base, previousHash);
  if (before !== undefined && before.head >= base) {
    const isFork = before.head > base;
    if (isFork && isFull) return postponed("ERR_BUSY");
    return { type: isFork ? "fork" : "next", chain: before };
  }
  // Which branch it is of cannot be told; and beyond the own head nothing is kept.
  const isUnclear = state.chains.of(site, stream).length > 1 || chain === state.chains.own();
  if (isUnclear || version <= chain.head + 1 || isBeyond(chain, version)) {
    return postponed("ERR_UNKNOWN_PREDECESSOR");
  }
  return { type: "beyond", chain };
}

function admit(
  state: ReplicaState,
  engine: Engine,
  changeset: ArrivedChangeset,
  budget: Budget,
  watch: MergeWatch,
): Admission {
  const { header, author, previousHash, headerHash } = changeset;
  const place = locate(state, changeset);
  if ("verdict" in place) return { outcome: place, chain: null };
  if (!isStillHere(state, changeset)) return { outcome: postponed("ERR_BUSY"), chain: null };
  const chain = place.chain ?? state.chains.add(engine, header.site, author, header.stream);
  if (place.type === "beyond") return admitBeyond(state, engine, chain, changeset);
  const base = { head: header.version - 1, headHash: previousHash };
  const next = place.type === "fork" ? forkChain(state, engine, chain, base, headerHash) : chain;
  budget.changesets--;
  budget.payloadBytes -= header.payloadBytes;
  return { outcome: admitNext(state, engine, next, changeset, watch), chain: next };
}

/** The head's successor: logged with its verdict at once when it can be merged. */
function admitNext(
  state: ReplicaState,
  engine: Engine,
  chain: Chain,
  changeset: ArrivedChangeset,
  watch: MergeWatch,
): IngestOutcome {
  const { header, headerHash } = changeset;
  const payload = storePayload(engine, changeset);
  const isNext = chain.settled + 1 === header.version;
  const behind = state.parked.has(chain) ? "parked" : "held";
  const verdict: LogVerdict =
    state.schema === null || !isNext || behind === "parked"
      ? { state: "held", code: null, merged: null }
      : trySettle(state, engine, chain, { header, headerHash, payload, code: null }, watch);
  insertEntry(engine, chain, changeset, payload, verdict);
  chain.head = header.version;
  chain.headHash = headerHash;
  state.chains.touch(chain);
  closeGap(state, engine, chain);
  if (state.schema === null) return { verdict: "applied" };
  return verdict.state === "held" ? { verdict: behind } : outcomeOf(verdict);
}

/** What was held beyond the gap follows, as far as it links; what does not is of another branch. */
function closeGap(state: ReplicaState, engine: Engine, chain: Chain): void {
  let closed = false;
  while (chain.beyond[0]?.first === chain.head + 1) {
    const entry = readEntry(engine, chain, chain.head + 1);
    if (entry === null) throw new RangeError("a version beyond the gap is not in the log");
    if (entry.previousHash !== chain.headHash) {
      dropBeyond(engine, chain);
      break;
    }
    takeBeyond(chain);
    chain.head++;
    chain.headHash = entry.headerHash;
    closed = true;
  }
  if (closed && state.schema !== null) state.untried.add(chain);
}

function admitBeyond(
  state: ReplicaState,
  engine: Engine,
  chain: Chain,
  changeset: ArrivedChangeset,
): Admission {
  if (addBeyond(chain, changeset.header.version) === "full") {
    return { outcome: postponed("ERR_BUSY"), chain };
  }
  const payload = storePayload(engine, changeset);
  insertEntry(engine, chain, changeset, payload, { state: "held", code: null, merged: null });
  state.chains.touch(chain);
  return { outcome: { verdict: "held" }, chain };
}
