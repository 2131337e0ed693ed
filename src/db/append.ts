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
import { keepProof } from "./forks.ts";
import { insertEntry, type LogVerdict, readEntry, readHash, updateVerdict } from "./log.ts";
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
  const verdict = state === "merged" ? "applied" : state === "branch" ? "refused" : state;
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
    if (state.chains.count() >= AUTHORS_MAX) {
      return { outcome: { verdict: "later", code: "ERR_BUSY" }, chain: null };
    }
    chain = state.chains.add(engine, header.site, author, header.stream);
  }
  const { version } = header;
  if (version <= chain.head || isBeyond(chain, version)) {
    const held = readHash(engine, chain, version);
    if (held === changeset.headerHash) return { outcome: { verdict: "known" }, chain };
    return fork(engine, chain, changeset);
  }
  if (version > chain.head + 1) return admitBeyond(state, engine, chain, changeset);
  if (changeset.previousHash !== chain.headHash) return fork(engine, chain, changeset);
  budget.changesets--;
  budget.payloadBytes -= changeset.payload.length;
  return { outcome: admitNext(state, engine, chain, changeset, watch), chain };
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

/** What was held beyond the gap follows, as far as it links; what does not is another branch. */
function closeGap(state: ReplicaState, engine: Engine, chain: Chain): void {
  let closed = false;
  while (chain.beyond[0]?.first === chain.head + 1) {
    const entry = readEntry(engine, chain, chain.head + 1);
    if (entry === null) throw new RangeError("a version beyond the gap is not in the log");
    if (entry.previousHash !== chain.headHash) {
      cutBranch(engine, chain);
      break;
    }
    takeBeyond(chain);
    chain.head++;
    chain.headHash = entry.headerHash;
    closed = true;
  }
  if (closed && state.schema !== null) state.untried.add(chain);
}

/** The range after the head belongs to another branch: kept as proof, no longer claimed as held. */
function cutBranch(engine: Engine, chain: Chain): void {
  const [range] = chain.beyond;
  if (range === undefined) return;
  for (let version = range.first; version <= range.last; version++) {
    const entry = readEntry(engine, chain, version);
    if (entry === null) continue;
    updateVerdict(engine, entry.id, { state: "branch", code: "ERR_FORK", merged: null });
    if (version === range.first) keepProof(engine, chain, { ...entry, ...entry.changeset });
  }
  chain.beyond.shift();
}

function admitBeyond(
  state: ReplicaState,
  engine: Engine,
  chain: Chain,
  changeset: VerifiedChangeset,
): Admission {
  if (addBeyond(chain, changeset.header.version) === "full") {
    return { outcome: { verdict: "later", code: "ERR_BUSY" }, chain };
  }
  insertEntry(engine, chain, changeset, { state: "held", code: null, merged: null });
  state.chains.touch(chain);
  return { outcome: { verdict: "held" }, chain };
}

function fork(engine: Engine, chain: Chain, changeset: VerifiedChangeset): Admission {
  keepProof(engine, chain, changeset);
  return { outcome: { verdict: "refused", code: "ERR_FORK" }, chain };
}
