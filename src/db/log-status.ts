/**
 * What a replica can tell of its log, for people: counts, authors, forks.
 *
 * @module
 */

import { readForks } from "./forks.ts";
import type { LogAuthor, LogCounts } from "./replica-database.ts";
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
  if (state.file.usable()) state.forks = readForks(state, state.file.engine());
  const [parkedCode] = state.parked.values();
  return {
    held,
    parked,
    parkedCode: parkedCode ?? null,
    void: state.voidCount,
    refusedByCode: new Map(state.refusals),
    forks: state.forks,
    formerKeys: state.formerKeys,
  };
}

export const logAuthors = (state: ReplicaState): LogAuthor[] =>
  [...state.chains.all()]
    .filter(({ stream, branch }) => stream === "data" && branch === "")
    .map((chain) => ({
      siteId: chain.site,
      publicKey: chain.key,
      local: chain.site === state.signer.siteId,
      version: Math.max(...state.chains.of(chain.site, "data").map(({ head }) => head)),
      lastWroteMs: state.lastWroteMs.get(chain.site) ?? null,
    }));
