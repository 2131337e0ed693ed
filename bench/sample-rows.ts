/**
 * The rows every benchmark writes: one table, a 16-byte random key, five more columns. The same on
 * every run.
 *
 * @module
 */

import type { Schema } from "../src/db/schema.ts";
import type { SqlValue } from "../src/protocol/values.ts";

export const SCHEMA: Schema = {
  version: 1,
  tables: [
    `CREATE TABLE sighting (
      id BLOB PRIMARY KEY NOT NULL, animal TEXT, place TEXT, note TEXT, head_count INTEGER, weight REAL
    ) STRICT`,
  ],
};

/** Columns that replicate as one change each. */
export const COLUMNS: readonly string[] = ["animal", "place", "note", "head_count", "weight"];
export const INSERT = "INSERT INTO sighting VALUES (?, ?, ?, ?, ?, ?)";

/** sfc32, seeded: keys fall all over the index, as random ids do. */
export function createRows(seed: number): () => SqlValue[] {
  const next = sfc32(seed);
  const key = (): Uint8Array => {
    const bytes = new Uint8Array(16);
    const words = new DataView(bytes.buffer);
    for (let at = 0; at < 16; at += 4) words.setUint32(at, next());
    return bytes;
  };
  const tenBytes = (): string => next().toString(36).padStart(10, "x").slice(0, 10);
  return () => [key(), tenBytes(), tenBytes(), tenBytes(), next() % 1_000, (next() % 1_000) + 0.5];
}

function sfc32(seed: number): () => number {
  let [a, b, c, counter] = [seed | 0, 0x9e3779b9 | 0, 0x243f6a88, 1];
  return () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return sum >>> 0;
  };
}
