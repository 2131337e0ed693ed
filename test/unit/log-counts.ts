/** What an empty log counts. */
import type { LogCounts } from "../../src/db/replica-database.ts";

export const NO_COUNTS: LogCounts = {
  held: 0,
  parked: 0,
  parkedCode: null,
  newerSchemas: [],
  void: 0,
  refusedByCode: new Map(),
  forks: [],
  formerKeys: [],
  unreleased: 0,
};
