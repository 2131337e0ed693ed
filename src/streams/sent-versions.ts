/**
 * What one outbound stream has carried so far, acknowledged or not: it is not carried again.
 *
 * @module
 */

import { decodeRun } from "../protocol/changeset-run.ts";
import type { HeaderHash } from "../protocol/ids.ts";
import {
  type AuthorStream,
  type ChangesetRange,
  HEAD_HASH_BYTES,
  mainStream,
  streamOf,
  type VectorEntry,
} from "../protocol/version-vector.ts";
import { createVersionSet } from "./version-set.ts";

export interface SentVersions {
  /** Of one author in the order of its log. */
  readonly add: (run: Uint8Array, hash: HeaderHash) => ChangesetRange;
  /** By version: for authors with one chain. */
  readonly entries: () => readonly VectorEntry[];
  /** By the hashes at which what was sent of these authors ends: all that leads there was sent or is held. */
  readonly heads: (mains: ReadonlySet<AuthorStream>) => readonly VectorEntry[];
}

export function createSentVersions(): SentVersions {
  const sent = createVersionSet();
  const versionsByHead = new Map<AuthorStream, Map<HeaderHash, number>>();
  return {
    add: (run, hash) => {
      const range = rangeOfRun(run);
      const main = mainStream(range);
      const heads = versionsByHead.get(main) ?? new Map<HeaderHash, number>();
      heads.delete(decodeRun(run).previousHash);
      versionsByHead.set(main, heads.set(hash, range.last));
      if (range.branch === undefined) sent.add(range);
      return range;
    },
    entries: sent.entries,
    heads: (mains) =>
      [...mains].flatMap((main) =>
        [...(versionsByHead.get(main) ?? [])].map(([hash, head]) => headOf(main, head, hash)),
      ),
  };
}

/** Several may end one chain: each is named by its own hash. */
function headOf(main: AuthorStream, head: number, hash: HeaderHash): VectorEntry {
  const headHash = hash.slice(0, 2 * HEAD_HASH_BYTES);
  return { ...streamOf(main), branch: headHash, floor: 0, head, headHash, beyond: [] };
}

/** @throws MeshError what a run that does not decode is refused with */
export function rangeOfRun(bytes: Uint8Array): ChangesetRange {
  const { stream, branch, changesets } = decodeRun(bytes);
  const { site, version } = (changesets[0] as (typeof changesets)[number]).header;
  const name = branch === undefined ? { site, stream } : { site, stream, branch };
  return { ...name, first: version, last: version + changesets.length - 1 };
}
