/**
 * Newcomers: chains of which we hold nothing yet. In an open mesh anybody may invent authors, and
 * each costs memory and a place among AUTHORS_MAX, so they are taken at a bounded rate. This delays
 * an author, it never refuses one: what is not asked for now is asked for later.
 *
 * Those who come themselves, one for each link, have an allowance of their own: whoever floods us
 * with authors from hearsay keeps nobody out who is linked to us.
 *
 * @module
 */

import { NEW_AUTHOR_MS, NEW_AUTHORS_BURST } from "../protocol/limits.ts";
import type { SiteId } from "../protocol/ids.ts";
import type { AuthorStream, VersionVector } from "../protocol/version-vector.ts";
import { createAllowance } from "./allowance.ts";

const RATE = { burst: NEW_AUTHORS_BURST, perSecond: 1_000 / NEW_AUTHOR_MS };

export interface Newcomers {
  /** How many chains of which we hold nothing may be asked for now. */
  readonly room: (as: "itself" | "hearsay", nowMs: number) => number;
  /** Our vector is going to have this entry. `links` are the sites of the peers we are linked to. */
  readonly arrived: (key: AuthorStream, links: ReadonlySet<SiteId>, nowMs: number) => void;
}

export function createNewcomers(ours: VersionVector): Newcomers {
  const allowances = { itself: createAllowance(RATE), hearsay: createAllowance(RATE) };
  return {
    room: (as, nowMs) => allowances[as].left(nowMs),
    arrived: (key, links, nowMs) => {
      if (ours.has(key)) return;
      const [site] = key.split("/");
      allowances[links.has(site as SiteId) ? "itself" : "hearsay"].take(1, nowMs);
    },
  };
}
