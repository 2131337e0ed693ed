/**
 * Own history: signing unreleased changesets again, and taking back what this replica had released
 * and lost. One procedure binds drafts to a mesh, follows a rewound disk and changes the key
 * (docs/PROTOCOL.md, rules L6, L7 and L13).
 *
 * @module
 */

import type { VerifiedOutline } from "../protocol/changeset.ts";
import { fromHex, type MeshId } from "../protocol/ids.ts";
import type { IngestOutcome } from "../seams.ts";
import type { Chain, OwnHead } from "./chains.ts";
import type { Engine } from "./engine.ts";
import { isStillHere, settleIncoming } from "./incoming.ts";
import { insertEntry, readEntry, readHash } from "./log.ts";
import { release, type ReplicaState, reloadState } from "./replica-state.ts";
import { type ArrivedChangeset, storePayload } from "./stored-payload.ts";
import { ownChain, type SignedHeader, signNext } from "./write-path.ts";

export interface Resigning {
  readonly from: Chain;
  /** Its versions above. */
  readonly after: number;
  /** Where they go. */
  readonly to: Chain;
  /** What they follow there. */
  readonly base: OwnHead;
  readonly mesh: MeshId;
}

/**
 * Signs changesets that nobody else has again, with the same rows and causes. Inside an open
 * transaction. The heads are the caller's.
 * @returns the new head
 */
export async function resign(
  state: ReplicaState,
  engine: Engine,
  { from, after, to, base, mesh }: Resigning,
): Promise<OwnHead> {
  let previous = base;
  const updates: { readonly id: number; readonly changeset: SignedHeader }[] = [];
  for (let version = after + 1; version <= from.head; version++) {
    const entry = readEntry(engine, from, version);
    if (entry === null) throw new RangeError(`no own version ${version} in the log`);
    const { payload, header } = entry;
    const {
      header: next,
      headerBytes,
      signature,
      headerHash,
      previousHash,
    } = await signNext(state.signer, mesh, previous, {
      payload,
      payloadBytes: header.payloadBytes,
      dependencies: header.dependencies,
    });
    // Payloads stay where they are: together they may not fit in memory.
    const signed = { header: next, headerBytes, signature, headerHash, previousHash };
    updates.push({ id: entry.id, changeset: signed });
    previous = { head: signed.header.version, headHash: signed.headerHash };
  }
  const update = engine.prepare(
    "UPDATE rowmesh_log SET version = ?, header_hash = ?, previous_hash = ?, header = ?, signature = ?, author = ? WHERE id = ?",
  );
  for (const { id, changeset } of updates) {
    update.bindInteger(1, changeset.header.version);
    update.bindBlob(2, fromHex(changeset.headerHash));
    update.bindBlob(3, fromHex(changeset.previousHash));
    update.bindBlob(4, changeset.headerBytes);
    update.bindBlob(5, changeset.signature);
    update.bindInteger(6, to.author);
    update.bindInteger(7, id);
    update.run();
  }
  return previous;
}

/** Signs all drafts for the mesh. Inside an open transaction. */
export async function bindDrafts(state: ReplicaState, engine: Engine, mesh: MeshId): Promise<void> {
  const own = ownChain(state, engine);
  const { released } = state;
  const all = { from: own, after: released.head, to: own, base: released, mesh };
  const head = await resign(state, engine, all);
  moveHead(state, own, head, head);
}

export function moveHead(state: ReplicaState, own: Chain, head: OwnHead, settled: OwnHead): void {
  own.head = head.head;
  own.headHash = head.headHash;
  own.settled = settled.head;
  own.settledHash = settled.headHash;
  state.chains.touch(own);
  // The hashes are new: what waited for another under the same version may have it now.
  for (const waiter of state.waitersBySite.get(own.site)?.keys() ?? []) state.untried.add(waiter);
  state.waitersBySite.delete(own.site);
}

/**
 * Own changesets that came back from a peer. Those that continue the released head are taken into
 * the log again, and into the tables as soon as their causes are settled; what was written here
 * meanwhile and not released is signed again behind them. Null: of another branch.
 */
export async function restoreOwn(
  state: ReplicaState,
  changesets: readonly ArrivedChangeset[],
): Promise<readonly (IngestOutcome | null)[]> {
  try {
    return await state.file.transact((engine) => restoreInTransaction(state, engine, changesets));
  } catch (error) {
    reloadState(state);
    throw error;
  }
}

async function restoreInTransaction(
  state: ReplicaState,
  engine: Engine,
  changesets: readonly ArrivedChangeset[],
): Promise<readonly (IngestOutcome | null)[]> {
  const own = ownChain(state, engine);
  releaseKnown(state, engine, own, changesets);
  const restored: ArrivedChangeset[] = [];
  const outcomes: (IngestOutcome | null)[] = [];
  let base = state.released;
  // Ascending, so that none is left for a branch that follows another one of them.
  const ascending = [...changesets.entries()].sort(
    ([, a], [, b]) => a.header.version - b.header.version,
  );
  for (const [at, changeset] of ascending) {
    const judged = judgeOwn(state, engine, own, base, changeset);
    const isGone = judged?.verdict === "held" && !isStillHere(state, changeset);
    const outcome: IngestOutcome | null = isGone ? { verdict: "later", code: "ERR_BUSY" } : judged;
    outcomes[at] = outcome;
    if (outcome !== null && outcome.verdict !== "held") {
      settleIncoming(state, engine, changeset, outcome);
    }
    if (outcome?.verdict !== "held") continue;
    restored.push(changeset);
    base = { head: changeset.header.version, headHash: changeset.headerHash };
  }
  const [first] = restored;
  if (first === undefined) {
    state.chains.save(engine);
    return outcomes;
  }
  // A disk is not rewound while it is in use.
  if (state.hasOffered) state.isElsewhere = true;
  const settled =
    own.settled <= state.released.head
      ? { head: own.settled, headHash: own.settledHash }
      : state.released;
  const { mesh } = first;
  const after = state.released.head;
  const head = await resign(state, engine, { from: own, after, to: own, base, mesh });
  for (const changeset of restored) {
    const payload = storePayload(engine, changeset);
    insertEntry(engine, own, changeset, payload, { state: "held", code: null, merged: null });
    settleIncoming(state, engine, changeset, { verdict: "held" });
  }
  // What was local and settled is so again when its turn comes, without being merged twice.
  moveHead(state, own, head, settled);
  state.untried.add(own);
  release(state, own, base);
  state.chains.save(engine);
  return outcomes;
}

/**
 * What comes back although it was never released, or is followed by what comes, was released by a
 * copy of this file: it keeps its signature.
 */
export function releaseKnown(
  state: ReplicaState,
  engine: Engine,
  own: Chain,
  changesets: readonly Pick<VerifiedOutline, "header" | "headerHash" | "previousHash">[],
): void {
  let known: OwnHead = state.released;
  for (const { header, headerHash, previousHash } of changesets) {
    if (header.stream !== "data") continue;
    for (const [head, hash] of [
      [header.version, headerHash],
      [header.version - 1, previousHash],
    ] as const) {
      if (head <= known.head || head > own.head) continue;
      if (readHash(engine, own, head) === hash) known = { head, headHash: hash };
    }
  }
  if (known !== state.released) release(state, own, known);
}

/** "held" when it continues `base`; null when it does not: a copy of this key wrote it. */
export function judgeOwn(
  state: ReplicaState,
  engine: Engine,
  own: Chain,
  base: OwnHead,
  changeset: Pick<VerifiedOutline, "header" | "headerHash" | "previousHash" | "mesh">,
): IngestOutcome | null {
  const { header, headerHash, previousHash, mesh } = changeset;
  if (state.mesh === null || mesh !== state.mesh.id) {
    return { verdict: "refused", code: "ERR_WRONG_MESH" };
  }
  if (header.stream !== "data" || state.schema === null) {
    return { verdict: "later", code: "ERR_NOT_SUPPORTED" };
  }
  if (header.version === base.head + 1 && previousHash === base.headHash) {
    return { verdict: "held" };
  }
  const isHead = header.version === base.head;
  const held = isHead ? base.headHash : readHash(engine, own, header.version);
  return header.version <= base.head && held === headerHash ? { verdict: "known" } : null;
}
