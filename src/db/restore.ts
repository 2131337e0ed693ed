/**
 * Own history: signing unreleased changesets again, and taking back what this replica had released
 * and lost. One procedure binds drafts to a mesh and follows a rewound disk (docs/PROTOCOL.md,
 * rules L6 and L7).
 *
 * @module
 */

import { encodeHeader, type VerifiedChangeset } from "../protocol/changeset.ts";
import { fromHex, type MeshId } from "../protocol/ids.ts";
import type { IngestOutcome } from "../seams.ts";
import type { Chain, OwnHead } from "./chains.ts";
import type { Engine } from "./engine.ts";
import { keepProof } from "./forks.ts";
import { insertEntry, type LogVerdict, readEntry, readHash } from "./log.ts";
import { countRefusal, release, type ReplicaState } from "./replica-state.ts";
import { mergingTransaction, type MergeWatch, trySettle } from "./settle.ts";
import { ownChain, signNext } from "./write-path.ts";

/**
 * Signs the unreleased changesets again, with the same rows and causes, as successors of `base` for
 * `mesh`. Inside an open transaction.
 */
export async function resign(
  state: ReplicaState,
  engine: Engine,
  mesh: MeshId,
  base: OwnHead,
  unreleased: { readonly first: number; readonly last: number },
): Promise<void> {
  const own = ownChain(state, engine);
  const ids: number[] = [];
  for (let version = unreleased.first; version <= unreleased.last; version++) {
    ids.push(readEntry(engine, own, version)?.id ?? missing(version));
  }
  let previous = base;
  // From the last to the first when versions grow, so that no two ever share a place.
  const updates: { readonly id: number; readonly changeset: VerifiedChangeset }[] = [];
  for (const [at, id] of ids.entries()) {
    const { changeset } = readEntry(engine, own, unreleased.first + at) ?? missing(id);
    const { payload, header } = changeset;
    const signed = await signNext(state.signer, mesh, previous, payload, header.dependencies);
    updates.push({ id, changeset: { ...signed, payload: new Uint8Array(0) } });
    previous = { head: signed.header.version, headHash: signed.headerHash };
  }
  const update = engine.prepare(
    "UPDATE rowmesh_log SET version = ?, header_hash = ?, previous_hash = ?, header = ?, signature = ? WHERE id = ?",
  );
  for (let at = updates.length - 1; at >= 0; at--) {
    const { id, changeset } = updates[at] ?? missing(at);
    update.bindInteger(1, changeset.header.version);
    update.bindBlob(2, fromHex(changeset.headerHash));
    update.bindBlob(3, fromHex(changeset.previousHash));
    update.bindBlob(4, encodeHeader(changeset.header));
    update.bindBlob(5, changeset.signature);
    update.bindInteger(6, id);
    update.run();
  }
  moveHead(state, own, previous);
}

const missing = (version: number): never => {
  throw new RangeError(`no own version ${version} in the log`);
};

function moveHead(state: ReplicaState, own: Chain, head: OwnHead): void {
  own.head = head.head;
  own.headHash = head.headHash;
  own.settled = head.head;
  own.settledHash = head.headHash;
  state.chains.touch(own);
}

/**
 * Own changesets that came back from a peer. Those after the released head are taken into the log
 * and the tables again; what was written here meanwhile and not released follows them.
 */
export const restoreOwn = (
  state: ReplicaState,
  changesets: readonly VerifiedChangeset[],
): Promise<readonly IngestOutcome[]> =>
  mergingTransaction(state, (engine, watch) =>
    restoreInTransaction(state, engine, changesets, watch),
  );

async function restoreInTransaction(
  state: ReplicaState,
  engine: Engine,
  changesets: readonly VerifiedChangeset[],
  watch: MergeWatch,
): Promise<readonly IngestOutcome[]> {
  const own = ownChain(state, engine);
  const unreleased = { first: state.released.head + 1, last: own.head };
  const ownHead = { head: own.head, headHash: own.headHash };
  const restored: { readonly changeset: VerifiedChangeset; readonly verdict: LogVerdict }[] = [];
  let base = state.released;
  const outcomes: IngestOutcome[] = [];
  for (const changeset of changesets) {
    const outcome = restoreOne(state, engine, own, base, changeset, watch);
    if ("state" in outcome) {
      restored.push({ changeset, verdict: outcome });
      base = { head: changeset.header.version, headHash: changeset.headerHash };
      outcomes.push({ verdict: outcome.state === "merged" ? "applied" : "void" });
    } else outcomes.push(outcome);
  }
  // What trySettle moved is set right by resign; when nothing came back, here.
  if (restored.length === 0) {
    moveHead(state, own, ownHead);
    return outcomes;
  }
  const mesh = (restored[0] as { readonly changeset: VerifiedChangeset }).changeset.mesh;
  await resign(state, engine, mesh, base, unreleased);
  for (const { changeset, verdict } of restored) insertEntry(engine, own, changeset, verdict);
  release(state, own, base);
  state.chains.save(engine);
  return outcomes;
}

function restoreOne(
  state: ReplicaState,
  engine: Engine,
  own: Chain,
  base: OwnHead,
  changeset: VerifiedChangeset,
  watch: MergeWatch,
): LogVerdict | IngestOutcome {
  const { header, headerHash, payload, previousHash } = changeset;
  if (state.mesh === null || changeset.mesh !== state.mesh.id) {
    return refuse(state, "ERR_WRONG_MESH");
  }
  if (header.stream !== "data" || state.schema === null)
    return { verdict: "later", code: "ERR_NOT_SUPPORTED" };
  if (header.version <= base.head) {
    const held =
      header.version === base.head ? base.headHash : readHash(engine, own, header.version);
    if (held === headerHash) return { verdict: "known" };
    keepProof(engine, own, changeset);
    return refuse(state, "ERR_FORK");
  }
  if (header.version > base.head + 1) {
    return { verdict: "later", code: "ERR_UNKNOWN_PREDECESSOR" };
  }
  if (previousHash !== base.headHash) {
    keepProof(engine, own, changeset);
    return refuse(state, "ERR_FORK");
  }
  const verdict = trySettle(state, engine, own, { header, headerHash, payload, code: null }, watch);
  state.parked.delete(own);
  if (verdict.state === "merged" || verdict.state === "void") return verdict;
  return { verdict: "later", code: verdict.code ?? "ERR_UNKNOWN_PREDECESSOR" };
}

const refuse = (state: ReplicaState, code: "ERR_FORK" | "ERR_WRONG_MESH"): IngestOutcome => {
  countRefusal(state, code);
  return { verdict: "refused", code };
};
