/**
 * Many sightings in one transaction: all of them or none, and one signed changeset.
 *
 * @module
 */

import type { Mesh, SqlRunner, SqlValue } from "rowmesh";
import type { ImportedSighting } from "./csv.ts";
import { insertSql } from "./notebook.ts";
import { ANIMAL_COLUMNS, newId, SIGHTING_COLUMNS, type Animal, type Sighting } from "./schema.ts";

/** Rows handed over at once: small enough that progress is seen. */
const SLICE_ROWS = 250;
const TIMEOUT_MS = 300_000;

/** @param onProgress called with the rows written so far; they count only once this resolves. */
export async function importSightings(
  mesh: Mesh,
  imported: readonly ImportedSighting[],
  onProgress: (rows: number) => void,
  signal: AbortSignal,
): Promise<void> {
  await mesh.db.transaction(
    async (tx) => {
      const animalIdsByName = await knownAnimals(tx);
      const animals = newAnimals(mesh, imported, animalIdsByName);
      await tx.execMany(insertSql("animal", ANIMAL_COLUMNS), animals.map(animalParams));
      for (let start = 0; start < imported.length; start += SLICE_ROWS) {
        const slice = imported.slice(start, start + SLICE_ROWS);
        const rows = slice.map((item) => sightingOf(mesh, item, animalIdsByName));
        await tx.execMany(insertSql("sighting", SIGHTING_COLUMNS), rows.map(sightingParams));
        onProgress(start + slice.length);
      }
    },
    { timeoutMs: TIMEOUT_MS, signal },
  );
}

async function knownAnimals(tx: SqlRunner): Promise<Map<string, string>> {
  const rows = await tx.query<{ id: string; name: string }>(
    "SELECT id, name FROM animal WHERE name IS NOT NULL ORDER BY id DESC",
  );
  return new Map(rows.map(({ id, name }) => [keyOf(name), id]));
}

/** The animals to be written; their ids are added to `animalIdsByName`. */
function newAnimals(
  mesh: Mesh,
  imported: readonly ImportedSighting[],
  animalIdsByName: Map<string, string>,
): Animal[] {
  const animals: Animal[] = [];
  for (const { animal } of imported) {
    const key = keyOf(animal.name ?? "");
    if (animalIdsByName.has(key)) continue;
    const id = newId();
    animalIdsByName.set(key, id);
    animals.push({ ...animal, id, observer: mesh.siteId, edited_by: null });
  }
  return animals;
}

function sightingOf(
  mesh: Mesh,
  { animal, sighting }: ImportedSighting,
  animalIdsByName: ReadonlyMap<string, string>,
): Sighting {
  const animalId = animalIdsByName.get(keyOf(animal.name ?? "")) ?? null;
  return { ...sighting, id: newId(), animal_id: animalId, observer: mesh.siteId, edited_by: null };
}

function keyOf(name: string): string {
  return name.trim().toLowerCase();
}

function animalParams(animal: Animal): SqlValue[] {
  return ANIMAL_COLUMNS.map((column) => animal[column]);
}

function sightingParams(sighting: Sighting): SqlValue[] {
  return SIGHTING_COLUMNS.map((column) => sighting[column]);
}
