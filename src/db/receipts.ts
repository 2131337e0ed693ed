/**
 * Receipts: what an app in another tab learns from the file when the tab that wrote for it ended
 * before it answered. Kept in `rowmesh_meta`, in the same COMMIT as what they are for, one per slot;
 * whoever writes uses a slot again only when it knows what became of its last use. So there are never
 * more than the tabs that are open have slots.
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";
import { fromHex, toHex } from "../protocol/ids.ts";
import type { SqlRow, SqlValue } from "../protocol/values.ts";
import { readMeta, writeMeta } from "./database-file.ts";
import type { Engine } from "./engine.ts";
import type { MetaKey } from "./log-tables.ts";

/** Names one call that may write. */
export interface Receipt {
  /** Of the tab's mesh, unguessable: `[0-9a-f]{32}`. */
  readonly tab: string;
  readonly slot: number;
  /** How often the slot was used before. */
  readonly turn: number;
}

/** What a call answered: changed rows, rows, or nothing of its own (a transaction). */
export type KeptResult = number | readonly SqlRow[] | null;

const keyOf = ({ tab, slot }: Receipt): MetaKey => `receipt ${tab} ${slot}`;

/** Inside an open transaction. @throws ERR_SQL when SQLite has ended it by itself */
export function keepResult(engine: Engine, receipt: Receipt, result: KeptResult): void {
  // It would stand there alone, for a write that is not there.
  if (engine.autocommit()) {
    throw new MeshError("ERR_SQL", "SQLite rolled the transaction back by itself");
  }
  writeMeta(engine, keyOf(receipt), JSON.stringify([receipt.turn, toJson(result)]));
}

/** Undefined: nothing of that call was written, and never will be. */
export function readResult(engine: Engine, receipt: Receipt): KeptResult | undefined {
  const kept = readMeta(engine, keyOf(receipt));
  if (kept === null) return undefined;
  const [turn, result] = JSON.parse(kept as string) as [number, JsonResult];
  return turn === receipt.turn ? fromJson(result) : undefined;
}

/** Of tabs that are no more. Inside an open transaction. */
export function dropReceipts(engine: Engine, isOpen: (tab: string) => boolean): void {
  const remove = engine.prepare("DELETE FROM rowmesh_meta WHERE key = ?");
  for (const key of staleKeys(engine, isOpen)) {
    remove.bindText(1, key);
    remove.run();
  }
}

export const hasStaleReceipts = (engine: Engine, isOpen: (tab: string) => boolean): boolean =>
  staleKeys(engine, isOpen).length > 0;

function staleKeys(engine: Engine, isOpen: (tab: string) => boolean): string[] {
  const select = engine.prepare("SELECT key FROM rowmesh_meta WHERE key GLOB 'receipt *'");
  const stale: string[] = [];
  while (select.step()) {
    const key = select.text(0);
    if (!isOpen(key.split(" ")[1] ?? "")) stale.push(key);
  }
  return stale;
}

/** A result as JSON; what JSON cannot say, as a pair. */
type JsonValue = string | number | null | readonly ["integer" | "real" | "blob", string];
type JsonResult = number | null | readonly (readonly (readonly [string, JsonValue])[])[];

const toJson = (result: KeptResult): JsonResult =>
  typeof result === "object" && result !== null
    ? result.map((row) => Object.entries(row).map(([name, value]) => [name, jsonOf(value)]))
    : result;

const fromJson = (result: JsonResult): KeptResult =>
  typeof result === "object" && result !== null
    ? result.map((row) => Object.fromEntries(row.map(([name, value]) => [name, valueOf(value)])))
    : result;

function jsonOf(value: SqlValue): JsonValue {
  if (typeof value === "bigint") return ["integer", value.toString()];
  if (value instanceof Uint8Array) return ["blob", toHex(value)];
  if (typeof value !== "number" || (Number.isFinite(value) && !Object.is(value, -0))) return value;
  return ["real", Object.is(value, -0) ? "-0" : String(value)];
}

function valueOf(value: JsonValue): SqlValue {
  if (typeof value !== "object" || value === null) return value;
  const [type, text] = value;
  switch (type) {
    case "integer":
      return BigInt(text);
    case "real":
      return Number(text);
    case "blob":
      return fromHex(text);
  }
}
