/**
 * Claims judged by the log: what of it somebody holds who names certain heads. Heads are compared by
 * hash, for the names of an author's chains depend on which branches one knows
 * (docs/decisions/0010-forks.md). Who holds a changeset holds all that leads to it.
 *
 * @module
 */

import {
  type AuthorStream,
  type ChangesetRange,
  HEAD_HASH_BYTES,
  mainStream,
  type VectorEntry,
} from "../protocol/version-vector.ts";
import type { JudgedClaims } from "../seams.ts";
import type { Chain } from "./chains.ts";
import type { Engine } from "./engine.ts";
import { readHash } from "./log.ts";
import type { ReplicaState } from "./replica-state.ts";

const NO_HASH = "00".repeat(HEAD_HASH_BYTES);

export function judgeClaims(
  state: ReplicaState,
  engine: Engine,
  claims: readonly VectorEntry[],
  also: readonly VectorEntry[],
): JudgedClaims {
  const held: ChangesetRange[] = [];
  for (const ofAuthor of byAuthor([...claims, ...also]).values()) {
    held.push(...heldOfAuthor(state, engine, ofAuthor));
  }
  const own = ownEntry(state);
  const ofOwn = claims.filter(({ site, stream }) => site === own.site && stream === own.stream);
  return { held, own, isOwnAhead: isOwnAhead(state, ofOwn) };
}

function byAuthor(claims: readonly VectorEntry[]): Map<AuthorStream, VectorEntry[]> {
  const groups = new Map<AuthorStream, VectorEntry[]>();
  for (const claim of claims) {
    const main = mainStream(claim);
    const group = groups.get(main);
    if (group === undefined) groups.set(main, [claim]);
    else group.push(claim);
  }
  return groups;
}

function heldOfAuthor(
  state: ReplicaState,
  engine: Engine,
  claims: readonly VectorEntry[],
): readonly ChangesetRange[] {
  const [{ site, stream } = { site: state.signer.siteId, stream: "data" as const }] = claims;
  const chains = state.chains.of(site, stream);
  const [only] = chains;
  if (only === undefined) return [];
  const isForked = chains.length > 1 || claims.some(({ branch }) => branch !== undefined);
  return claims.flatMap((claim) =>
    isForked ? heldOfFork(state, claim) : heldOfOne(engine, only, claim),
  );
}

/** Where each has one chain it is the same one, unless a hash shows otherwise. */
function heldOfOne(
  engine: Engine,
  chain: Chain,
  { head, headHash, beyond }: VectorEntry,
): readonly ChangesetRange[] {
  const { site, stream } = chain;
  const comparable = headHash !== NO_HASH && head <= chain.head;
  if (comparable && head > 0 && readHash(engine, chain, head)?.startsWith(headHash) !== true) {
    return [];
  }
  const ranges = head > 0 ? [{ first: 1, last: head }, ...beyond] : beyond;
  return ranges.map(({ first, last }) => ({ site, stream, first, last }));
}

function heldOfFork(
  state: ReplicaState,
  { site, stream, branch, floor, head, headHash }: VectorEntry,
): readonly ChangesetRange[] {
  if (head === floor || headHash === NO_HASH) return [];
  const chain = state.chains.find(site, stream, head, headHash);
  if (chain !== undefined) return pathTo(state, chain, head);
  // Further than we are: what we have of a chain of that name leads there.
  const namesake = state.chains.get(site, stream, branch);
  return namesake === undefined || namesake.head >= head
    ? []
    : pathTo(state, namesake, namesake.head);
}

/** The chain up to that version, and the chains that it leaves. */
function pathTo(state: ReplicaState, to: Chain, version: number): readonly ChangesetRange[] {
  const ranges: ChangesetRange[] = [];
  let last = version;
  let chain: Chain | undefined = to;
  while (chain !== undefined) {
    const { site, stream, branch, base, baseHash }: Chain = chain;
    const name = branch === "" ? { site, stream } : { site, stream, branch };
    if (last > base) ranges.push({ ...name, first: base + 1, last });
    last = base;
    chain = base === 0 ? undefined : state.chains.find(site, stream, base, baseHash);
  }
  return ranges;
}

const ownEntry = ({ chains, signer, released }: ReplicaState): VectorEntry => {
  const { branch = "", base = 0 } = chains.own() ?? {};
  return {
    site: signer.siteId,
    stream: "data",
    ...(branch === "" ? {} : { branch }),
    floor: base,
    head: released.head,
    headHash: released.headHash.slice(0, 2 * HEAD_HASH_BYTES),
    beyond: [],
  };
};

function isOwnAhead(state: ReplicaState, claims: readonly VectorEntry[]): boolean {
  const own = state.chains.own();
  const released = state.released.head;
  const path = own === undefined ? [] : pathTo(state, own, released);
  let isAhead = false;
  for (const { site, stream, head, headHash, floor, beyond } of claims) {
    if ((beyond.at(-1)?.last ?? 0) > released) return true;
    if (head === floor) continue;
    const chain =
      headHash === NO_HASH ? undefined : state.chains.find(site, stream, head, headHash);
    // Where one of their chains ends on ours, nothing that they hold follows it.
    const isOnPath = path.some(({ branch = "", last }) => branch === chain?.branch && head <= last);
    if (isOnPath) return false;
    isAhead ||= chain === undefined && head > released;
  }
  return isAhead;
}
