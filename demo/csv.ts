/**
 * Sightings from comma-separated text (RFC 4180): a header line, then one sighting a line. Lines
 * that cannot be read are named, never dropped in silence.
 *
 * @module
 */

import type { AnimalFields, SightingFields } from "./notebook.ts";

export interface ImportedSighting {
  readonly animal: AnimalFields;
  readonly sighting: SightingFields;
}

export interface ParsedCsv {
  readonly sightings: readonly ImportedSighting[];
  /** One sentence for each line that was left out. */
  readonly problems: readonly string[];
}

export const CSV_COLUMNS: readonly string[] = [
  "animal",
  "count",
  "place",
  "seen_at",
  "note",
  "genus",
  "species",
  "habitat",
  "diet",
];

export const CSV_EXAMPLE = `animal,count,place,seen_at,note
Grey heron,2,Mill pond,2026-05-04T06:40,"fishing, undisturbed"
Red fox,1,North gate,2026-05-04T21:15,`;

/** @param nowMs the time of sightings that name none. */
export function parseSightings(text: string, nowMs: number): ParsedCsv {
  const [header, ...lines] = parseRecords(text.replace(/^\uFEFF/, ""));
  const names = header?.map((name) => name.trim().toLowerCase()) ?? [];
  if (!names.includes("animal")) {
    return {
      sightings: [],
      problems: ['The first line must name the columns, "animal" among them.'],
    };
  }
  const sightings: ImportedSighting[] = [];
  const problems: string[] = [];
  for (const [index, line] of lines.entries()) {
    const cell = (name: string): string | null => line[names.indexOf(name)]?.trim() || null;
    const read = readSighting(cell, nowMs);
    if (typeof read === "string") problems.push(`Row ${index + 2}: ${read}`);
    else sightings.push(read);
  }
  return { sightings, problems };
}

function readSighting(
  cell: (name: string) => string | null,
  nowMs: number,
): ImportedSighting | string {
  const name = cell("animal");
  if (name === null) return "names no animal.";
  const heads = Number(cell("count") ?? 1);
  if (!Number.isSafeInteger(heads) || heads < 1) return `"${cell("count")}" is not a count.`;
  const seenAt = cell("seen_at");
  const seenAtMs = seenAt === null ? nowMs : new Date(seenAt).getTime();
  if (Number.isNaN(seenAtMs)) return `"${seenAt}" is not a time, as 2026-05-04T06:40 is.`;
  return {
    animal: {
      name,
      genus: cell("genus"),
      species: cell("species"),
      habitat: cell("habitat"),
      diet: cell("diet"),
    },
    sighting: { head_count: heads, place: cell("place"), seen_at_ms: seenAtMs, note: cell("note") },
  };
}

/** Blank lines are skipped; a quotation mark inside a bare field is a character like any other. */
function parseRecords(text: string): string[][] {
  const records: string[][] = [];
  const field = /(?:"([^"]*(?:""[^"]*)*)"(?=[,\r\n]|$)|([^,\r\n]*))(,|\r?\n|\r|$)/gy;
  let record: string[] = [];
  while (field.lastIndex < text.length) {
    // Both halves of the pattern may be empty, so it matches everywhere.
    const [, quoted, plain = "", end] = field.exec(text) ?? [];
    record.push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end === ",") continue;
    if (record.some((value) => value.trim() !== "")) records.push(record);
    record = [];
  }
  if (record.length > 0) records.push(record);
  return records;
}
