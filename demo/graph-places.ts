/**
 * Where the nodes of the mesh's picture stand: this device in the middle, the others on rings
 * around it. Who has a place keeps it, so that the picture never jumps while one looks at it.
 *
 * @module
 */

interface Place {
  /** From the middle, in rings: the outermost ring in use is `rings` away. */
  readonly x: number;
  readonly y: number;
}

export interface Places {
  readonly placeById: ReadonlyMap<string, Place>;
  readonly rings: number;
}

const MIDDLE: Place = { x: 0, y: 0 };
/** The first ring holds so many, the second twice as many, and so on. */
const FIRST_RING = 6;

/** @param before what this function gave last; null at first. @param ids the middle one first */
export function placeNodes(before: Places | null, ids: readonly string[]): Places {
  const [middle, ...others] = ids;
  const placeById = new Map<string, Place>();
  for (const id of others) {
    const kept = before?.placeById.get(id);
    if (kept !== undefined && kept !== MIDDLE) placeById.set(id, kept);
  }
  for (const id of others)
    if (!placeById.has(id)) placeById.set(id, freePlace([...placeById.values()]));
  if (middle !== undefined) placeById.set(middle, MIDDLE);
  const radii = [...placeById.values()].map(({ x, y }) => Math.round(Math.hypot(x, y)));
  return { placeById, rings: Math.max(1, ...radii) };
}

/** On the innermost ring with room, as far from the others as there is. */
function freePlace(taken: readonly Place[]): Place {
  for (let ring = 1; ; ring++) {
    const free = ringPlaces(ring).filter((place) => nearest(place, taken) > 0.01);
    const [first, ...others] = free;
    if (first === undefined) continue;
    return others.reduce(
      (best, place) => (nearest(place, taken) > nearest(best, taken) + 0.01 ? place : best),
      first,
    );
  }
}

/** From the left on: two devices stand at this one's sides. */
function ringPlaces(ring: number): readonly Place[] {
  const count = FIRST_RING * ring;
  return Array.from({ length: count }, (_, index) => {
    const angle = Math.PI + (2 * Math.PI * index) / count;
    return { x: ring * Math.cos(angle), y: ring * Math.sin(angle) };
  });
}

function nearest(place: Place, taken: readonly Place[]): number {
  return Math.min(Infinity, ...taken.map(({ x, y }) => Math.hypot(place.x - x, place.y - y)));
}
