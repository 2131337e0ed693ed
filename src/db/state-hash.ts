/**
 * The state hash: one number for all that an app can see, equal on converged replicas.
 *
 * @module
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { ByteWriter } from "../protocol/bytes.ts";
import { toHex } from "../protocol/ids.ts";
import { writeValue } from "../protocol/payload.ts";
import type { Engine } from "./engine.ts";
import { type AppSchema, quoteName } from "./schema.ts";

/**
 * SHA-256 over all tables in order of declaration: name, columns, then the rows by primary key, each
 * value with its storage class. 64 hex digits.
 */
export function computeStateHash(engine: Engine, schema: AppSchema): string {
  const hash = sha256.create();
  for (const { name, keys, columns } of schema.tables) {
    const cells = columns.flatMap((column) => (column === null ? [] : [column.name]));
    const key = keys.map((column) => column.name);
    const all = [...key, ...cells];
    const heading = new ByteWriter().text(name).varint(all.length);
    for (const column of all) heading.text(column);
    hash.update(heading.finish());
    const rows = engine.prepare(
      `SELECT ${all.map(quoteName).join(", ")} FROM ${quoteName(name)} ORDER BY ${key.map(quoteName).join(", ")}`,
    );
    let count = 0;
    while (rows.step()) {
      const row = new ByteWriter().u8(1);
      for (let at = 0; at < all.length; at++) writeValue(row, rows.stored(at));
      hash.update(row.finish());
      count++;
    }
    hash.update(new ByteWriter().u8(0).varint(count).finish());
  }
  return toHex(hash.digest());
}
