/** The tables that are written while processes are killed. */
import type { Schema } from "rowmesh";

export const NOTES: Schema = {
  version: 1,
  tables: [
    // `parts` rows of one transaction have the same `entry`, numbered from 1.
    "CREATE TABLE note (id TEXT PRIMARY KEY NOT NULL, entry TEXT, parts INTEGER, text TEXT) STRICT",
    // All devices write the same rows of it.
    "CREATE TABLE tally (id TEXT PRIMARY KEY NOT NULL, count INTEGER) STRICT",
  ],
};

export const databaseName = (storage: string): string => `crash-${storage}`;
