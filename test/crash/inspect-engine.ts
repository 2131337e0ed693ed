/** Looks into a database with the engine alone, before rowmesh does. */
import type { Engine } from "../../src/db/engine.ts";
import type { Found } from "./ledger.ts";

export interface Entries {
  readonly table: string;
  /** The row's id, for those rows that belong to an entry; else null. */
  readonly id: string;
  /** Rows of one transaction have the same, */
  readonly entry: string;
  /** and tell how many they are. */
  readonly parts: string;
}

function texts(engine: Engine, sql: string): string[] {
  const statement = engine.prepare(sql);
  const all: string[] = [];
  while (statement.step()) all.push(statement.text(0));
  return all;
}

export function inspectEngine(engine: Engine, { table, id, entry, parts }: Entries): Found {
  const integrity = texts(engine, "PRAGMA integrity_check").join("\n");
  // Killed before the tables were made.
  const isEmpty =
    texts(engine, `SELECT name FROM sqlite_master WHERE name = '${table}'`).length === 0;
  if (isEmpty) return { integrity, rows: [], versions: [], halves: 0 };
  return {
    integrity,
    rows: texts(engine, `SELECT ${id} FROM ${table} WHERE ${id} IS NOT NULL`),
    versions: texts(
      engine,
      `SELECT lower(hex(site)) || ' ' || version || ' ' || lower(hex(header_hash))
       FROM rowmesh_log JOIN rowmesh_author ON rowmesh_author.id = author`,
    ),
    halves: texts(
      engine,
      `SELECT ${entry} FROM ${table} WHERE ${id} IS NOT NULL
       GROUP BY ${entry} HAVING count(*) <> max(${parts})`,
    ).length,
  };
}

/** When it does not even open. */
export const damaged = (error: unknown): Found => ({
  integrity: String(error),
  rows: [],
  versions: [],
  halves: 0,
});
