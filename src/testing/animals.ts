/**
 * The schema of the simulations: every kind of key and column, in three releases.
 *
 * @module
 */

import type { Schema } from "../db/schema.ts";

export const ANIMALS: Schema = {
  version: 1,
  tables: [
    "CREATE TABLE animal (id TEXT PRIMARY KEY NOT NULL, name TEXT, legs INTEGER, weight REAL, photo BLOB) STRICT",
    "CREATE TABLE sighting (place TEXT NOT NULL, day INTEGER NOT NULL, count INTEGER NOT NULL DEFAULT 0 CHECK (count >= 0), note TEXT DEFAULT '', PRIMARY KEY (day, place)) STRICT",
    "CREATE TABLE tag (id BLOB PRIMARY KEY NOT NULL) STRICT",
  ],
};

/** What a later release of the app adds. */
export const ANIMALS_2: Schema = {
  version: 2,
  tables: ANIMALS.tables,
  migrations: [
    {
      statements: [
        "ALTER TABLE animal ADD COLUMN tame INTEGER NOT NULL DEFAULT 0 CHECK (tame IN (0, 1))",
        "CREATE TABLE trap (id TEXT PRIMARY KEY NOT NULL, place TEXT) STRICT",
        "CREATE INDEX animal_name ON animal (name)",
      ],
    },
  ],
};

/** And the one after it: a table of keys alone, one that came with version 2, every class of default. */
export const ANIMALS_3: Schema = {
  version: 3,
  tables: ANIMALS.tables,
  migrations: [
    ...(ANIMALS_2.migrations ?? []),
    {
      statements: [
        "ALTER TABLE tag ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey'",
        "ALTER TABLE trap ADD COLUMN bait ANY DEFAULT x'00ff'",
        "ALTER TABLE animal ADD COLUMN speed REAL NOT NULL DEFAULT 2",
        "DROP INDEX animal_name",
        "CREATE INDEX animal_name ON animal (name, tame)",
      ],
    },
  ],
};
