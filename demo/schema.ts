/**
 * The tables of the field notebook, and their rows. Ids are random text, so that two devices never
 * choose the same one; a row names who wrote it by site id, and each device keeps its own row in
 * `observer`. A sighting may name an animal that another device has deleted: queries say so.
 *
 * @module
 */

import type { Schema } from "rowmesh";

export const schema: Schema = {
  version: 1,
  tables: [
    `CREATE TABLE observer (
      site_id TEXT PRIMARY KEY NOT NULL,
      name TEXT
    ) STRICT`,
    `CREATE TABLE animal (
      id TEXT PRIMARY KEY NOT NULL,
      name TEXT,
      genus TEXT,
      species TEXT,
      habitat TEXT,
      diet TEXT,
      observer TEXT,
      edited_by TEXT
    ) STRICT`,
    `CREATE TABLE sighting (
      id TEXT PRIMARY KEY NOT NULL,
      animal_id TEXT,
      head_count INTEGER NOT NULL DEFAULT 1,
      place TEXT,
      seen_at_ms INTEGER NOT NULL DEFAULT 0,
      note TEXT,
      observer TEXT,
      edited_by TEXT
    ) STRICT`,
    "CREATE INDEX sighting_by_time ON sighting (seen_at_ms, id)",
    "CREATE INDEX sighting_by_animal ON sighting (animal_id)",
    "CREATE INDEX sighting_by_observer ON sighting (observer)",
    "CREATE INDEX animal_by_name ON animal (name)",
  ],
};

/** Type aliases, not interfaces: a query's row type must be assignable to `SqlRow`. */
export type Animal = {
  readonly id: string;
  readonly name: string | null;
  readonly genus: string | null;
  readonly species: string | null;
  readonly habitat: string | null;
  readonly diet: string | null;
  readonly observer: string | null;
  readonly edited_by: string | null;
};

export type Sighting = {
  readonly id: string;
  readonly animal_id: string | null;
  readonly head_count: number;
  readonly place: string | null;
  /** Milliseconds since 1970. */
  readonly seen_at_ms: number;
  readonly note: string | null;
  readonly observer: string | null;
  readonly edited_by: string | null;
};

export const ANIMAL_COLUMNS = [
  "id",
  "name",
  "genus",
  "species",
  "habitat",
  "diet",
  "observer",
  "edited_by",
] as const;

export const SIGHTING_COLUMNS = [
  "id",
  "animal_id",
  "head_count",
  "place",
  "seen_at_ms",
  "note",
  "observer",
  "edited_by",
] as const;

export const HABITATS: readonly string[] = [
  "forest",
  "meadow",
  "wetland",
  "river",
  "coast",
  "mountain",
  "farmland",
  "town",
];

export const DIETS: readonly string[] = [
  "herbivore",
  "carnivore",
  "omnivore",
  "insectivore",
  "piscivore",
  "granivore",
];

/** 16 random bytes in hex. `crypto.randomUUID` is missing on plain-http pages. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
