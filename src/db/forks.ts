/**
 * Forks: one key, two changesets under one version. Both are valid and both merge, as two authors
 * would (docs/decisions/0010-forks.md). At a fork the changeset with the lowest header hash continues
 * the chain, every other one begins a branch: one set of changesets makes one set of chains, in
 * whatever order it arrived.
 *
 * @module
 */

import type { HeaderHash, SiteId } from "../protocol/ids.ts";
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
  const beyond = "FROM rowmesh_log WHERE author = ? AND stream = ? AND version > ?";
  for (const sql of [
    `DELETE FROM rowmesh_chunk WHERE payload IN (SELECT chunks ${beyond})`,
    `DELETE ${beyond}`,
  ]) {
    const drop = engine.prepare(sql);
    drop.bindInteger(1, chain.author);
    drop.bindInteger(2, streamByteOf(chain.stream));
    drop.bindInteger(3, chain.head);
    drop.run();
  }
  chain.beyond = [];
}

/** One lookup for each branch, and one or two for each place where some leave a chain. */
export function readForks({ chains }: Pick<ReplicaState, "chains">, engine: Engine): ForkProof[] {
  const forks = new Map<string, { siteId: SiteId; version: number; headers: HeaderHash[] }>();
  for (const chain of chains.all()) {
    const { site: siteId, stream, branch, base, baseHash } = chain;
    if (branch === "") continue;
    const place = `${siteId} ${stream} ${baseHash}`;
    const version = base + 1;
    const known = forks.get(place);
    const fork = known ?? { siteId, version, headers: [] };
    if (known === undefined) {
      forks.set(place, fork);
      const left =
        base === 0 ? chains.get(siteId, stream) : chains.find(siteId, stream, base, baseHash);
      const next = left === undefined ? null : readHash(engine, left, version);
      if (next !== null) fork.headers.push(next);
    }
    const first = readHash(engine, chain, version);
    if (first !== null) fork.headers.push(first);
  }
  for (const { headers } of forks.values()) headers.sort();
  return [...forks.values()];
}
