/**
 * What tabs of one database say on the channel where they meet, and what things between them are
 * called. All else goes over links between two of them.
 *
 * @module
 */

import type { Schema } from "../db/schema.ts";

export type TabMessage =
  /** Who leads? Said by a tab that does not know. */
  | { readonly type: "ask" }
  | {
      readonly type: "lead";
      /** Of this leader's worker: a random name. */
      readonly term: string;
      readonly schema: Schema | null;
      /** What the app wanted last, in whichever tab. */
      readonly online: boolean;
    }
  /** To the leader of that term, window and worker: open your ends of our links. */
  | { readonly type: "attach"; readonly term: string; readonly tab: string }
  /** The app wants this from now on. */
  | { readonly type: "online"; readonly online: boolean };

/** The channel, and the lock that the leader holds. */
export const meetingName = (database: string, storage: "indexeddb" | "default"): string =>
  storage === "default" ? `rowmesh ${database}` : `rowmesh ${database} ${storage}`;

export const databaseLinkName = (tab: string, term: string): string =>
  `rowmesh database ${tab} ${term}`;

export const meshLinkName = (tab: string, term: string): string => `rowmesh mesh ${tab} ${term}`;
