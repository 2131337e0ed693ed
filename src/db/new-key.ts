/**
 * A new key for a profile that exists twice. Two copies of one file sign with one key until their
 * logs meet; then each takes a key of its own, by itself, and the old one signs nothing any more
 * (docs/PROTOCOL.md, rule L13). What the old key signed stays in the log as any author's; what nobody
 * else has yet is signed again with the new key.
 *
 * @module
 */

import { fromHex, type SiteId } from "../protocol/ids.ts";
import { appendSome } from "./append.ts";
import type { Chain, OwnHead } from "./chains.ts";
import { type IdentitySource, replaceIdentity, writeMeta } from "./database-file.ts";
import type { Engine } from "./engine.ts";
import { noteFormerKey, type ReplicaState, reloadState } from "./replica-state.ts";
import { moveHead, resign } from "./restore.ts";
import type { AppSchema } from "./schema.ts";
import { appendOwn, ownChain, wallClock } from "./write-path.ts";

/**
 * The own key has forked: what a copy released is in the log, and contradicts what was released here.
 * Or it was used elsewhere while it was in use here. What came back on the first connection after
 * opening is the suffix that a rewound disk lost (`restore.ts`).
 */
export const isCopied = ({ chains, schema, signer, isElsewhere }: ReplicaState): boolean =>
  schema !== null && (isElsewhere || chains.of(signer.siteId, "data").length > 1);

/**
 * One transaction: after a crash the file has the old key and is still copied, or the new one.
 * @returns false when `identity` has no other key to give
 */
export async function takeNewKey(state: ReplicaState, identity: IdentitySource): Promise<boolean> {
  const { secret, signer } = await identity(null);
  if (state.chains.authorOf(signer.siteId) !== null) return false;
  state.signers.set(signer.siteId, signer);
  try {
    await state.file.transact(async (engine) => {
      const former = state.chains.own() as Chain;
      const { released, schema } = state;
      replaceIdentity(engine, former.site, secret, signer);
      // The schema's hash is told by each author.
      writeMeta(engine, "announced", 0n);
      const takenMs = wallClock(state);
      noteFormerKey(state, engine, { formerSiteId: former.site, siteId: signer.siteId, takenMs });
      reloadState(state);
      if (former.head > released.head) {
        await carryOver(state, engine, schema as AppSchema, former, released);
      }
    });
    state.isElsewhere = false;
    await state.file.reopen();
  } catch (error) {
    reloadState(state);
    throw error;
  }
  while (state.untried.size > 0) await appendSome(state, [], 0);
  return true;
}

/** The old key's unreleased changesets become the first of the new one's. */
async function carryOver(
  state: ReplicaState,
  engine: Engine,
  schema: AppSchema,
  { site, branch }: Chain,
  released: OwnHead,
): Promise<void> {
  const former = state.chains.get(site, "data", branch === "" ? undefined : branch) as Chain;
  // Their predecessor becomes a cause: of a row-less changeset, for theirs may be full.
  await appendOwn(state, engine, schema, [], [causeOf(site, released)], []);
  const own = ownChain(state, engine);
  const base = { head: own.head, headHash: own.headHash };
  const mesh = state.mesh?.id;
  if (mesh === undefined) throw new RangeError("a fork without a mesh");
  const head = await resign(state, engine, {
    from: former,
    after: released.head,
    to: own,
    base,
    mesh,
  });
  moveHead(state, own, head, base);
  const settled =
    former.settled < released.head
      ? { head: former.settled, headHash: former.settledHash }
      : released;
  moveHead(state, former, released, settled);
  former.listed = Math.min(former.listed, released.head);
  state.chains.moved(former);
  state.chains.save(engine);
}

const causeOf = (site: SiteId, { head, headHash }: OwnHead) => ({
  site,
  version: head,
  hashPrefix: fromHex(headHash.slice(0, 16)),
});
