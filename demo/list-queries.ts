/**
 * The queries of the lists. Long lists read one page at a time: `LIMIT ? OFFSET ?` last.
 *
 * @module
 */

import type { Animal, Sighting } from "./schema.ts";

export type ListedSighting = Sighting & {
  /** Null when the animal was deleted, here or elsewhere. */
  readonly animal_name: string | null;
  readonly genus: string | null;
  readonly species: string | null;
  readonly habitat: string | null;
  readonly observer_name: string | null;
  readonly editor_name: string | null;
};

export type ListedAnimal = Animal & {
  readonly sightings: number;
  readonly observer_name: string | null;
};

const ANIMAL_NAMES = `coalesce(a.name, '') || ' ' || coalesce(a.genus, '') || ' ' ||
  coalesce(a.species, '')`;

const ANIMAL_TEXT = `${ANIMAL_NAMES} || ' ' || coalesce(a.habitat, '') || ' ' ||
  coalesce(a.diet, '')`;

const SIGHTING_TEXT = `${ANIMAL_NAMES} || ' ' || coalesce(s.place, '') || ' ' ||
  coalesce(s.note, '')`;

/** Parameters: the pattern of {@link likePattern}. */
export const COUNT_FOUND_SIGHTINGS = `SELECT count(*) AS n FROM sighting s
  LEFT JOIN animal a ON a.id = s.animal_id WHERE ${SIGHTING_TEXT} LIKE ? ESCAPE '\\'`;

export const COUNT_SIGHTINGS = "SELECT count(*) AS n FROM sighting";

const sightingPage = (page: string): string => `SELECT s.*, a.name AS animal_name, a.genus,
    a.species, a.habitat, o.name AS observer_name, e.name AS editor_name
  FROM (${page} ORDER BY s.seen_at_ms DESC, s.id DESC LIMIT ? OFFSET ?) p
  JOIN sighting s ON s.id = p.id
  LEFT JOIN animal a ON a.id = s.animal_id
  LEFT JOIN observer o ON o.site_id = s.observer
  LEFT JOIN observer e ON e.site_id = s.edited_by
  ORDER BY s.seen_at_ms DESC, s.id DESC`;

/** The page is cut first and joined after, so that a far page costs no joins. */
export const SIGHTINGS_PAGE: string = sightingPage("SELECT s.id FROM sighting s");

export const FOUND_SIGHTINGS_PAGE: string = sightingPage(
  `SELECT s.id FROM sighting s LEFT JOIN animal a ON a.id = s.animal_id
   WHERE ${SIGHTING_TEXT} LIKE ? ESCAPE '\\'`,
);

export const COUNT_FOUND_ANIMALS = `SELECT count(*) AS n FROM animal a
  WHERE ${ANIMAL_TEXT} LIKE ? ESCAPE '\\'`;

export const FOUND_ANIMALS_PAGE = `SELECT a.*, o.name AS observer_name,
    (SELECT count(*) FROM sighting s WHERE s.animal_id = a.id) AS sightings
  FROM (SELECT a.id FROM animal a WHERE ${ANIMAL_TEXT} LIKE ? ESCAPE '\\'
    ORDER BY a.name, a.id LIMIT ? OFFSET ?) p
  JOIN animal a ON a.id = p.id
  LEFT JOIN observer o ON o.site_id = a.observer
  ORDER BY a.name, a.id`;

/** Names that begin with the pattern come first. Parameters: pattern, beginning, limit. */
export const SUGGEST_ANIMALS = `SELECT a.* FROM animal a WHERE ${ANIMAL_NAMES} LIKE ? ESCAPE '\\'
  ORDER BY a.name LIKE ? ESCAPE '\\' DESC, a.name, a.id LIMIT ?`;

export const WROTE_BY_OBSERVER = `SELECT s.observer AS site_id, o.name AS name,
    count(*) AS sightings, max(s.seen_at_ms) AS last_seen_at_ms
  FROM sighting s LEFT JOIN observer o ON o.site_id = s.observer
  GROUP BY s.observer ORDER BY sightings DESC, site_id LIMIT 200`;

/** Matches `text` anywhere; its own % and _ are plain characters. For `LIKE ? ESCAPE '\'`. */
export function likePattern(text: string): string {
  return `%${escapeLike(text.trim())}%`;
}

export function likeBeginning(text: string): string {
  return `${escapeLike(text.trim())}%`;
}

function escapeLike(text: string): string {
  return text.replace(/[\\%_]/g, (found) => `\\${found}`);
}
