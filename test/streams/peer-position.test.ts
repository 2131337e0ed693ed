/** What is remembered of the other end of a stream. */
import { expect, test } from "vitest";
import { siteId } from "../../src/protocol/ids.ts";
import type { VectorEntry } from "../../src/protocol/version-vector.ts";
import type { StreamStore } from "../../src/seams.ts";
import { createPeerPositions } from "../../src/streams/peer-position.ts";
import { mesh } from "../unit/replication-machine.ts";

const SITE = siteId("07".repeat(16));

const main = (head: number, hash: string, ...beyond: VectorEntry["beyond"]): VectorEntry => ({
  site: SITE,
  stream: "data",
  floor: 0,
  head,
  headHash: hash.repeat(16),
  beyond,
});

const branch = (floor: number, head: number): VectorEntry => ({
  ...main(head, "bb"),
  branch: "bb".repeat(16),
  floor,
});

/** Nothing is kept of an end without a name. */
const store = {} as StreamStore;

test("[T16] of two claims the larger one counts, but a branch tells that less is held beyond a gap", async () => {
  const position = await createPeerPositions(store).open(undefined, mesh);
  const before = [main(4, "aa", { first: 6, last: 100 })];
  position.addEntries(before);
  position.addEntries([main(3, "aa")]);
  expect(position.claimed()).toEqual(before);
  // Another version 5 came: what was beyond the gap did not follow it, and was let go.
  const after = [main(5, "cc"), branch(4, 5)];
  position.addEntries(after);
  expect(position.claimed()).toEqual(after);
  position.addEntries(before);
  expect(position.claimed()).toEqual(after);
});
