/**
 * Everything the notebook writes. Each function is one transaction, so one signed changeset. An
 * update names only the columns that changed: two devices that change different columns of one row
 * both keep their change.
 *
 * @module
 */

import type { Mesh, SqlRunner, SqlValue } from "rowmesh";
import { ANIMAL_COLUMNS, newId, SIGHTING_COLUMNS, type Animal, type Sighting } from "./schema.ts";

export type AnimalFields = Pick<Animal, "name" | "genus" | "species" | "habitat" | "diet">;
export type SightingFields = Pick<Sighting, "head_count" | "place" | "seen_at_ms" | "note">;

/** An animal already in the notebook, or a new one to be written with the sighting. */
export type AnimalChoice =
  | { readonly type: "known"; readonly id: string }
  | { readonly type: "new"; readonly fields: AnimalFields };

/** "gone": another device deleted the row meanwhile, and nothing was written. */
export type UpdateOutcome = "saved" | "unchanged" | "gone";

export async function addSighting(
  mesh: Mesh,
  choice: AnimalChoice,
  fields: SightingFields,
): Promise<string> {
  const id = newId();
  await mesh.db.transaction(async (tx) => {
    const animalId = await animalOf(tx, mesh, choice);
    await insertSighting(tx, { ...fields, id, animal_id: animalId, ...byline(mesh) });
  });
  return id;
}

export async function updateSighting(
  mesh: Mesh,
  before: Sighting,
  choice: AnimalChoice,
  fields: SightingFields,
): Promise<UpdateOutcome> {
  return mesh.db.transaction(async (tx) => {
    if (!(await rowExists(tx, "sighting", before.id))) return "gone";
    const animalId = await animalOf(tx, mesh, choice);
    return updateRow(tx, mesh, "sighting", before, { ...fields, animal_id: animalId });
  });
}

/** Writes a deleted sighting again, under the same id. */
export async function restoreSighting(mesh: Mesh, sighting: Sighting): Promise<void> {
  await mesh.db.transaction(async (tx) => {
    if (!(await rowExists(tx, "sighting", sighting.id))) await insertSighting(tx, sighting);
  });
}

export async function deleteSighting(mesh: Mesh, id: string): Promise<void> {
  await mesh.db.exec("DELETE FROM sighting WHERE id = ?", [id]);
}

export async function addAnimal(mesh: Mesh, fields: AnimalFields): Promise<string> {
  return mesh.db.transaction(async (tx) => animalOf(tx, mesh, { type: "new", fields }));
}

export async function updateAnimal(
  mesh: Mesh,
  before: Animal,
  fields: AnimalFields,
): Promise<UpdateOutcome> {
  return mesh.db.transaction(async (tx) => {
    if (!(await rowExists(tx, "animal", before.id))) return "gone";
    return updateRow(tx, mesh, "animal", before, fields);
  });
}

/** Its sightings stay, and show as sightings of a removed animal. */
export async function deleteAnimal(mesh: Mesh, id: string): Promise<void> {
  await mesh.db.exec("DELETE FROM animal WHERE id = ?", [id]);
}

export async function restoreAnimal(mesh: Mesh, animal: Animal): Promise<void> {
  await mesh.db.transaction(async (tx) => {
    if (!(await rowExists(tx, "animal", animal.id))) await insertAnimal(tx, animal);
  });
}

function byline(mesh: Mesh): { readonly observer: string; readonly edited_by: null } {
  return { observer: mesh.siteId, edited_by: null };
}

async function animalOf(tx: SqlRunner, mesh: Mesh, choice: AnimalChoice): Promise<string> {
  if (choice.type === "known") return choice.id;
  const id = newId();
  await insertAnimal(tx, { id, ...choice.fields, ...byline(mesh) });
  return id;
}

async function insertAnimal(tx: SqlRunner, animal: Animal): Promise<void> {
  await tx.exec(
    insertSql("animal", ANIMAL_COLUMNS),
    ANIMAL_COLUMNS.map((column) => animal[column]),
  );
}

async function insertSighting(tx: SqlRunner, sighting: Sighting): Promise<void> {
  await tx.exec(
    insertSql("sighting", SIGHTING_COLUMNS),
    SIGHTING_COLUMNS.map((column) => sighting[column]),
  );
}

export function insertSql(table: string, columns: readonly string[]): string {
  return `INSERT INTO ${table} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})`;
}

async function rowExists(
  tx: SqlRunner,
  table: "sighting" | "animal",
  id: string,
): Promise<boolean> {
  const rows = await tx.query(`SELECT 1 FROM ${table} WHERE id = ?`, [id]);
  return rows.length > 0;
}

async function updateRow(
  tx: SqlRunner,
  mesh: Mesh,
  table: "sighting" | "animal",
  before: Animal | Sighting,
  after: Readonly<Record<string, SqlValue>>,
): Promise<UpdateOutcome> {
  const old: Readonly<Record<string, SqlValue>> = before;
  const changed = Object.entries(after).filter(([column, value]) => old[column] !== value);
  if (changed.length === 0) return "unchanged";
  const set = [...changed, ["edited_by", mesh.siteId] as const];
  await tx.exec(
    `UPDATE ${table} SET ${set.map(([column]) => `${column} = ?`).join(", ")} WHERE id = ?`,
    [...set.map(([, value]) => value), before.id],
  );
  return "saved";
}
