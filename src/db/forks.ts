/**
 * Forks: one key, two changesets under one version. Both are valid and both merge, as two authors
 * would (docs/decisions/0010-forks.md). At a fork the changeset with the lowest header hash continues
 * the chain, every other one begins a branch: one set of changesets makes one set of chains, in
 * whatever order it arrived.
 *
 * @module
 */

import { fromHex, type HeaderHash, headerHash, type SiteId } from "../protocol/ids.ts";
import { BRANCH_BYTES } from "../protocol/version-vector.ts";
import type { Chain, OwnHead } from "./chains.ts";
import { writeMeta } from "./database-file.ts";
import type { Engine } from "./engine.ts";
import { readHash, streamByteOf } from "./log.ts";
import type { ReplicaState } from "./replica-state.ts";

/** Two or more headers that one key signed for one version after one predecessor. */
export interface ForkProof {
  readonly siteId: SiteId;
  readonly version: number;
  /** Ascending. */
  readonly headers: readonly HeaderHash[];
}

const branchOf = (hash: HeaderHash): string => hash.slice(0, 2 * BRANCH_BYTES);

/** @returns the chain that the changeset `hash`, a second successor of `base`, is the next one of */
export function forkChain(
  state: ReplicaState,
  engine: Engine,
  chain: Chain,
  base: OwnHead,
  hash: HeaderHash,
): Chain {
  dropBeyond(engine, chain);
  state.chains.touch(chain);
  const rival = readHash(engine, chain, base.head + 1);
  if (rival === null) throw new RangeError("a fork needs two");
  if (rival < hash) return state.chains.addBranch(engine, chain, branchOf(hash), base);
  moveToBranch(state, engine, chain, base, branchOf(rival));
  return chain;
}

/** What follows `base` in the chain becomes a branch. */
function moveToBranch(
  state: ReplicaState,
  engine: Engine,
  chain: Chain,
  base: OwnHead,
  name: string,
): void {
  const isOwn = chain === state.chains.own();
  const branch = state.chains.addBranch(engine, chain, name, base);
  const move = engine.prepare(
    "UPDATE rowmesh_log SET author = ? WHERE author = ? AND stream = ? AND version > ?",
  );
  move.bindInteger(1, branch.author);
  move.bindInteger(2, chain.author);
  move.bindInteger(3, streamByteOf(chain.stream));
  move.bindInteger(4, base.head);
  move.run();
  branch.head = chain.head;
  branch.headHash = chain.headHash;
  branch.listed = Math.max(base.head, chain.listed);
  branch.released = Math.max(base.head, chain.released);
  const waiting = state.parked.get(chain);
  if (chain.settled >= base.head) {
    branch.settled = chain.settled;
    branch.settledHash = chain.settledHash;
    chain.settled = base.head;
    chain.settledHash = base.headHash;
    state.parked.delete(chain);
    if (waiting !== undefined) state.parked.set(branch, waiting);
  }
  chain.head = base.head;
  chain.headHash = base.headHash;
  chain.listed = Math.min(base.head, chain.listed);
  chain.released = Math.min(base.head, chain.released);
  if (isOwn) {
    // A copy of this file released what was not released here.
    if (state.released.head < base.head) state.released = base;
    state.chains.moveOwn(branch);
    writeMeta(engine, "own", BigInt(branch.author));
  }
  state.chains.moved(chain);
  state.chains.moved(branch);
  if (branch.settled < branch.head) state.untried.add(branch);
}

/** What is held beyond the gap may be of another branch than what will close it: asked for again. */
export function dropBeyond(engine: Engine, chain: Chain): void {
  if (chain.beyond.length === 0) return;
  const drop = engine.prepare(
    "DELETE FROM rowmesh_log WHERE author = ? AND stream = ? AND version > ?",
  );
  drop.bindInteger(1, chain.author);
  drop.bindInteger(2, streamByteOf(chain.stream));
  drop.bindInteger(3, chain.head);
  drop.run();
  chain.beyond = [];
}

export function readForks(state: ReplicaState, engine: Engine): ForkProof[] {
  const forks = new Map<string, ForkProof>();
  const rivals = engine.prepare(
    "SELECT l.header_hash FROM rowmesh_author a JOIN rowmesh_log l ON l.author = a.id WHERE a.site = ? AND l.stream = ? AND l.version = ? AND l.previous_hash = ? ORDER BY 1",
  );
  for (const { site, stream, branch, base, baseHash } of state.chains.all()) {
    if (branch === "" || forks.has(baseHash + site + stream)) continue;
    rivals.bindStored([
      fromHex(site),
      BigInt(streamByteOf(stream)),
      BigInt(base + 1),
      fromHex(baseHash),
    ]);
    const headers: HeaderHash[] = [];
    while (rivals.step()) headers.push(headerHash(rivals.blob(0)));
    forks.set(baseHash + site + stream, { siteId: site, version: base + 1, headers });
  }
  return [...forks.values()];
}
