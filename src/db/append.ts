/**
 * Received changesets into the log, and from there into the tables: authentic ones are always
 * logged, whatever their rows hold (docs/PROTOCOL.md, rules L1 to L8).
 *
 * @module
 */

import type { VerifiedChangeset } from "../protocol/changeset.ts";
import type { MeshErrorCode } from "../protocol/errors.ts";
import { AUTHORS_MAX } from "../protocol/limits.ts";
import type { IngestOutcome } from "../seams.ts";
import { addBeyond, type Chain, isBeyond, takeBeyond } from "./chains.ts";
import type { Engine } from "./engine.ts";
import { dropBeyond, forkChain } from "./forks.ts";
import { insertEntry, type LogVerdict, readEntry } from "./log.ts";
import { countRefusal, type ReplicaState } from "./replica-state.ts";
import {
  type Budget,
  createBudget,
  isSpent,
  mergingTransaction,
  type MergeWatch,
  settleUntried,
  trySettle,
} from "./settle.ts";

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
  changesets: readonly VerifiedChangeset[],
  from: number,
): Promise<AppendProgress> =>
  mergingTransaction(state, (engine, watch) =>
    appendInTransaction(state, engine, changesets, from, watch),
  );

function appendInTransaction(
  state: ReplicaState,
  engine: Engine,
  changesets: readonly VerifiedChangeset[],
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
    const changeset = changesets[at] as VerifiedChangeset;
    const { outcome, chain } = admit(state, engine, changeset, budget, watch);
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

const placeOf = (chain: Chain, version: number): string =>
  `${chain.author}/${chain.stream}/${version}`;

const outcomeOf = ({ state, code }: LogVerdict): IngestOutcome => {
  const verdict = state === "merged" ? "applied" : state;
  return code === null ? { verdict } : { verdict, code };
};

interface Admission {
  readonly outcome: IngestOutcome;
  readonly chain: Chain | null;
}

const refused = (code: MeshErrorCode): Admission => ({
  outcome: { verdict: "refused", code },
  chain: null,
});

const later = (code: MeshErrorCode, chain: Chain | null): Admission => ({
  outcome: { verdict: "later", code },
  chain,
});

function admit(
  state: ReplicaState,
  engine: Engine,
  changeset: VerifiedChangeset,
  budget: Budget,
  watch: MergeWatch,
): Admission {
  const { header, mesh, author } = changeset;
  if (state.mesh === null || mesh !== state.mesh.id) return refused("ERR_WRONG_MESH");
  const known = state.chains.authorOf(header.site);
  // Two keys with one site id: 2^64 work for whoever wants it, and then the first one here stays.
  if (known !== null && known !== author) return refused("ERR_FORK");
  let chain = state.chains.get(header.site, header.stream);
  if (chain === undefined) {
    if (state.chains.count() >= AUTHORS_MAX) return later("ERR_BUSY", null);
    chain = state.chains.add(engine, header.site, author, header.stream);
  }
  const { site, stream, version } = header;
  const { find } = state.chains;
  if (find(site, stream, version, changeset.headerHash) !== undefined) {
    return { outcome: { verdict: "known" }, chain };
  }
  const base = { head: version - 1, headHash: changeset.previousHash };
  const before = version === 1 ? chain : find(site, stream, base.head, base.headHash);
  if (before === undefined || before.head < base.head) {
    return admitBeyond(state, engine, chain, changeset);
  }
  const isFork = before.head > base.head;
  if (isFork && state.chains.count() >= AUTHORS_MAX) return later("ERR_BUSY", chain);
  const next = isFork ? forkChain(state, engine, before, base, changeset.headerHash) : before;
  budget.changesets--;
  budget.payloadBytes -= changeset.payload.length;
  return { outcome: admitNext(state, engine, next, changeset, watch), chain: next };
}

/** The head's successor: logged with its verdict at once when it can be merged. */
function admitNext(
  state: ReplicaState,
  engine: Engine,
  chain: Chain,
  changeset: VerifiedChangeset,
  watch: MergeWatch,
): IngestOutcome {
  const { header, headerHash, payload } = changeset;
  const isNext = chain.settled + 1 === header.version;
  const behind = state.parked.has(chain) ? "parked" : "held";
  const verdict: LogVerdict =
    state.schema === null || !isNext || behind === "parked"
      ? { state: "held", code: null, merged: null }
      : trySettle(state, engine, chain, { header, headerHash, payload, code: null }, watch);
  insertEntry(engine, chain, changeset, verdict);
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
  changeset: VerifiedChangeset,
): Admission {
  const { site, stream, version } = changeset.header;
  // Which branch it is of cannot be told; and beyond the own head nothing is kept.
  const isUnclear = state.chains.of(site, stream).length > 1 || chain === state.chains.own();
  if (isUnclear || version <= chain.head + 1 || isBeyond(chain, version)) {
    return later("ERR_UNKNOWN_PREDECESSOR", chain);
  }
  if (addBeyond(chain, version) === "full") return later("ERR_BUSY", chain);
  insertEntry(engine, chain, changeset, { state: "held", code: null, merged: null });
  state.chains.touch(chain);
  return { outcome: { verdict: "held" }, chain };
}
