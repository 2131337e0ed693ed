/**
 * Checks a schema once per process: it takes an engine of its own, as long as opening the database.
 * Opening again finds it done, and so do hundreds of simulated devices.
 *
 * @module
 */

import { checkSchema } from "./check-schema.ts";
import type { AppSchema, Schema } from "./schema.ts";

const KNOWN_MAX = 16;
const known = new Map<string, AppSchema>();

/** As {@link checkSchema}. Told apart by content: the caller may change its object afterwards. */
export async function knownSchema(schema: Schema, wasm: WebAssembly.Module): Promise<AppSchema> {
  const content = JSON.stringify([schema.version, schema.tables, schema.migrations ?? []]);
  const before = known.get(content);
  if (before !== undefined) return before;
  const checked = await checkSchema(schema, wasm);
  if (known.size >= KNOWN_MAX) known.clear();
  known.set(content, checked);
  return checked;
}
