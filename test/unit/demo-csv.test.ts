/** The demo's reader of comma-separated sightings. */
import { expect, test } from "vitest";
import { CSV_EXAMPLE, parseSightings } from "../../demo/csv.ts";

const NOW_MS = 1_750_000_000_000;

const names = (text: string): (string | null)[] =>
  parseSightings(text, NOW_MS).sightings.map(({ animal }) => animal.name);

test("the example that the sheet shows is read whole", () => {
  const { sightings, problems } = parseSightings(CSV_EXAMPLE, NOW_MS);
  expect(problems).toEqual([]);
  expect(sightings).toHaveLength(2);
  expect(sightings[0]?.sighting).toEqual({
    head_count: 2,
    place: "Mill pond",
    seen_at_ms: new Date("2026-05-04T06:40").getTime(),
    note: "fishing, undisturbed",
  });
});

test("quotes, doubled quotes, line breaks in quotes, CRLF, a byte order mark, blank lines", () => {
  const text = '\uFEFFanimal,note\r\n"Owl, ""barn""","two\r\nlines"\r\n\r\n  \r\nFox,\r\n';
  const { sightings, problems } = parseSightings(text, NOW_MS);
  expect(problems).toEqual([]);
  expect(names(text)).toEqual(['Owl, "barn"', "Fox"]);
  expect(sightings.map(({ sighting }) => sighting.note)).toEqual(["two\r\nlines", null]);
});

test("columns in any order and case; what is not named is empty, one, or now", () => {
  const { sightings } = parseSightings("Place, ANIMAL\nWeir,Otter", NOW_MS);
  expect(sightings).toEqual([
    {
      animal: { name: "Otter", genus: null, species: null, habitat: null, diet: null },
      sighting: { head_count: 1, place: "Weir", seen_at_ms: NOW_MS, note: null },
    },
  ]);
});

test.each([
  ["animal,count\nFox,many", 'Row 2: "many" is not a count.'],
  ["animal,count\nFox,0", 'Row 2: "0" is not a count.'],
  ["animal,count\nFox,1.5", 'Row 2: "1.5" is not a count.'],
  ["animal,seen_at\nFox,yesterday", 'Row 2: "yesterday" is not a time, as 2026-05-04T06:40 is.'],
  ["animal,place\n,Weir", "Row 2: names no animal."],
  ["name,place\nFox,Weir", 'The first line must name the columns, "animal" among them.'],
  ["", 'The first line must name the columns, "animal" among them.'],
])("a row that cannot be read is named: %j", (text, problem) => {
  const { sightings, problems } = parseSightings(text, NOW_MS);
  expect(sightings).toEqual([]);
  expect(problems).toEqual([problem]);
});

test.each([
  ['say "hi" now', 'say "hi" now'],
  ['"hi" now', '"hi" now'],
  ['"never closed', '"never closed'],
])("a stray quotation mark is a character, and costs no other row: %s", (cell, note) => {
  const text = `animal,note\nFox,${cell}\nOwl,fine`;
  const { sightings, problems } = parseSightings(text, NOW_MS);
  expect(problems).toEqual([]);
  expect(names(text)).toEqual(["Fox", "Owl"]);
  expect(sightings[0]?.sighting.note).toBe(note);
});

test("a last field that ends in a comma, and a last line without an end", () => {
  expect(names("animal,note\nFox,")).toEqual(["Fox"]);
  expect(names("note,animal\nred,Fox\n,Owl")).toEqual(["Fox", "Owl"]);
});
