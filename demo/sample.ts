/**
 * A season of made-up sightings, for trying the notebook with many rows.
 *
 * @module
 */

import type { ImportedSighting } from "./csv.ts";

const ANIMALS = [
  ["Grey heron", "Ardea", "cinerea", "wetland", "piscivore"],
  ["White stork", "Ciconia", "ciconia", "meadow", "carnivore"],
  ["Common kingfisher", "Alcedo", "atthis", "river", "piscivore"],
  ["Red kite", "Milvus", "milvus", "farmland", "carnivore"],
  ["Barn owl", "Tyto", "alba", "farmland", "carnivore"],
  ["Tawny owl", "Strix", "aluco", "forest", "carnivore"],
  ["Black woodpecker", "Dryocopus", "martius", "forest", "insectivore"],
  ["Skylark", "Alauda", "arvensis", "meadow", "insectivore"],
  ["Common swift", "Apus", "apus", "town", "insectivore"],
  ["Goldfinch", "Carduelis", "carduelis", "farmland", "granivore"],
  ["Oystercatcher", "Haematopus", "ostralegus", "coast", "carnivore"],
  ["Golden eagle", "Aquila", "chrysaetos", "mountain", "carnivore"],
  ["Red fox", "Vulpes", "vulpes", "forest", "omnivore"],
  ["European badger", "Meles", "meles", "forest", "omnivore"],
  ["Pine marten", "Martes", "martes", "forest", "omnivore"],
  ["Eurasian otter", "Lutra", "lutra", "river", "piscivore"],
  ["Eurasian beaver", "Castor", "fiber", "river", "herbivore"],
  ["Roe deer", "Capreolus", "capreolus", "meadow", "herbivore"],
  ["Chamois", "Rupicapra", "rupicapra", "mountain", "herbivore"],
  ["Alpine marmot", "Marmota", "marmota", "mountain", "herbivore"],
  ["European hedgehog", "Erinaceus", "europaeus", "town", "insectivore"],
  ["Grey seal", "Halichoerus", "grypus", "coast", "piscivore"],
  ["Fire salamander", "Salamandra", "salamandra", "forest", "insectivore"],
  ["European tree frog", "Hyla", "arborea", "wetland", "insectivore"],
] as const;

const PLACES = [
  "Mill pond",
  "North gate",
  "Old quarry",
  "Upper meadow",
  "Ferry landing",
  "Beech hollow",
  "Reed bank",
  "Station road",
  "Chapel hill",
  "Weir",
  "Salt marsh",
  "Ridge path",
] as const;

const NOTES = [
  null,
  null,
  null,
  "calling",
  "with young",
  "resting",
  "feeding",
  "tracks only",
  "in flight",
];
const DAY_MS = 86_400_000;
const SEASON_DAYS = 90;

/** `length` sightings within the 90 days before `nowMs`. */
export function sampleSightings(length: number, nowMs: number): ImportedSighting[] {
  return Array.from({ length }, () => {
    const [name, genus, species, habitat, diet] = oneOf(ANIMALS);
    return {
      animal: { name, genus, species, habitat, diet },
      sighting: {
        head_count: 1 + Math.floor(Math.random() ** 3 * 12),
        place: oneOf(PLACES),
        seen_at_ms: Math.floor(nowMs - Math.random() * SEASON_DAYS * DAY_MS),
        note: oneOf(NOTES),
      },
    };
  });
}

function oneOf<T>(items: readonly T[]): T {
  const item = items[Math.floor(Math.random() * items.length)];
  if (item === undefined) throw new RangeError("nothing to choose from");
  return item;
}
