/**
 * What a replica can tell of its log, for people: counts, authors, forks.
 *
 * @module
 */

import type { Chain } from "./chains.ts";
import { readForks } from "./forks.ts";
import type { SiteId } from "../protocol/ids.ts";
import type { LogAuthor, LogCounts } from "./replica-database.ts";
import type { ReplicaState } from "./replica-state.ts";

export function logCounts(state: ReplicaState): LogCounts {
  let held = 0;
  let parked = 0;
  const newer = new Map<number, { changesets: number; readonly authors: Set<SiteId> }>();
  for (const chain of state.schema === null ? [] : state.chains.all()) {
    const waiting = chain.head - chain.settled;
    const why = state.parked.get(chain);
    if (why === undefined) held += waiting;
    else parked += waiting;
    if (why !== undefined && why.schemaVersion !== null) {
      const same = newer.get(why.schemaVersion) ?? { changesets: 0, authors: new Set<SiteId>() };
      same.changesets += waiting;
      same.authors.add(chain.site);
      newer.set(why.schemaVersion, same);
    }
    for (const { first, last } of chain.beyond) held += last - first + 1;
  }
  if (state.file.usable()) state.forks = readForks(state, state.file.engine());
  const [firstParked] = state.parked.values();
  const own = state.chains.own();
  return {
    held,
    parked,
    parkedCode: firstParked?.code ?? null,
    newerSchemas: [...newer]
      .map(([version, { changesets, authors }]) => ({
        version,
        changesets,
        authors: [...authors].sort(),
      }))
      .sort((a, b) => a.version - b.version),
    void: state.voidCount,
    refusedByCode: new Map(state.refusals),
    forks: state.forks,
    formerKeys: state.formerKeys,
    unreleased: own === undefined ? 0 : own.head - Math.max(own.base, state.released.head),
  };
}

/** Of all branches, which may be too many for an argument list. */
const highest = (chains: readonly Chain[]): number =>
  chains.reduce((version, { head }) => Math.max(version, head), 0);

export const logAuthors = (state: ReplicaState): LogAuthor[] =>
  [...state.chains.all()]
    .filter(({ stream, branch }) => stream === "data" && branch === "")
    .map((chain) => ({
      siteId: chain.site,
      publicKey: chain.key,
      local: chain.site === state.signer.siteId,
      version: highest(state.chains.of(chain.site, "data")),
      lastWroteMs: state.lastWroteMs.get(chain.site) ?? null,
    }));
