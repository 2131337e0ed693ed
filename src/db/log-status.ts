/**
 * What a replica can tell of its log, for people: counts, authors, forks.
 *
 * @module
 */

import { type HeaderHash, headerHash, type SiteId, siteId } from "../protocol/ids.ts";
import type { ForkProof, LogAuthor, LogCounts } from "./replica-database.ts";
import type { ReplicaState } from "./replica-state.ts";

export function logCounts(state: ReplicaState): LogCounts {
  let held = 0;
  let parked = 0;
  for (const chain of state.schema === null ? [] : state.chains.all()) {
    const waiting = chain.head - chain.settled;
    if (state.parked.has(chain)) parked += waiting;
    else held += waiting;
    for (const { first, last } of chain.beyond) held += last - first + 1;
  }
  const [parkedCode] = state.parked.values();
  return {
    held,
    parked,
    parkedCode: parkedCode ?? null,
    void: state.voidCount,
    refusedByCode: new Map(state.refusals),
    forks: readForks(state),
  };
}

export const logAuthors = (state: ReplicaState): LogAuthor[] =>
  [...state.chains.all()]
    .filter(({ stream }) => stream === "data")
    .map((chain) => ({
      siteId: chain.site,
      publicKey: chain.key,
      local: chain.site === state.signer.siteId,
      version: chain.head,
      lastWroteMs: state.lastWroteMs.get(chain.site) ?? null,
    }));

/** Beside each proof the header of the branch that this replica follows, when it holds that version. */
function readForks(state: ReplicaState): ForkProof[] {
  const forks = new Map<string, { siteId: SiteId; version: number; headers: HeaderHash[] }>();
  const proofs = state.file
    .engine()
    .prepare(
      "SELECT a.site, f.version, f.header_hash, l.header_hash FROM rowmesh_fork f JOIN rowmesh_author a ON a.id = f.author LEFT JOIN rowmesh_log l ON l.author = f.author AND l.stream = f.stream AND l.version = f.version AND l.state <> 4 ORDER BY 1, 2",
    );
  while (proofs.step()) {
    const site = siteId(proofs.blob(0));
    const version = proofs.integer(1);
    const fork = forks.get(`${site}/${version}`) ?? { siteId: site, version, headers: [] };
    forks.set(`${site}/${version}`, fork);
    const ours = proofs.blob(3);
    if (fork.headers.length === 0 && ours.length > 0) fork.headers.push(headerHash(ours));
    fork.headers.push(headerHash(proofs.blob(2)));
  }
  return [...forks.values()];
}
