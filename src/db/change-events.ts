/**
 * Change events: committed changesets in merge order, resumable, then live.
 *
 * @module
 */

import type { HeaderHash, SiteId } from "../protocol/ids.ts";

export interface ChangeEvent {
  /** Pass as `since` to go on after this one. Local to this replica, ascending. */
  readonly checkpoint: number;
  readonly siteId: SiteId;
  readonly version: number;
  readonly headerHash: HeaderHash;
  readonly local: boolean;
  /** The author's clock, for people only. */
  readonly wallClockMs: number;
  readonly tables: readonly { readonly table: string; readonly rows: number }[];
}

export interface EventsOptions {
  /** A checkpoint; 0, the default, is before the first. */
  readonly since?: number;
  readonly signal?: AbortSignal;
}
