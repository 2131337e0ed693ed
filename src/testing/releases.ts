/**
 * Watches what devices take in: no version of an author is ever released with two contents (P1),
 * but by copies of a profile and by disks that went back in time.
 *
 * @module
 */

import { decodeBroadcast, decodeRun } from "../protocol/changeset-run.ts";
import { isMeshError } from "../protocol/errors.ts";
import { type SiteId, toHex } from "../protocol/ids.ts";
import type { IngestItem } from "../seams.ts";
import { payloadRoot } from "../signing/signed-bytes.ts";

export interface ReleaseWatch {
  readonly see: (items: readonly IngestItem[]) => void;
  /** From now on this author may have several contents under one version. */
  readonly mayFork: (site: SiteId) => void;
}

export function createReleaseWatch(fail: (fault: unknown) => void): ReleaseWatch {
  const contents = new Map<string, string>();
  const mayFork = new Set<SiteId>();
  return {
    see: (items) => {
      for (const { header, headerBytes, payload } of items.flatMap(changesetsIn)) {
        const { site, stream, version } = header;
        if (mayFork.has(site)) continue;
        const name = `${site} ${stream} ${version}`;
        const content = `${toHex(headerBytes)} ${toHex(payloadRoot(payload))}`;
        const before = contents.get(name);
        if (before !== undefined && before !== content) {
          fail(new Error(`two contents were released under version ${version} of ${site}`));
        }
        contents.set(name, content);
      }
    },
    mayFork: (site) => mayFork.add(site),
  };
}

/** Of damaged bytes none. */
function changesetsIn({ type, bytes }: IngestItem) {
  try {
    return type === "run" ? decodeRun(bytes).changesets : [decodeBroadcast(bytes).changeset];
  } catch (error) {
    if (isMeshError(error)) return [];
    throw error;
  }
}
