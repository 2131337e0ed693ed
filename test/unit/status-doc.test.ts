/** docs/STATUS.md against the types: it names every field, and none that is not there. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const api = readFileSync("src/node/api.ts", "utf8");
const page = readFileSync("docs/STATUS.md", "utf8");

const bodyOf = (name: string): string =>
  new RegExp(`^export interface ${name} \\{\\n([\\s\\S]*?)^\\}`, "m").exec(api)?.[1] ?? "";
const fieldsIn = (source: string): string[] =>
  [...source.matchAll(/readonly (\w+):/g)].map(([, field]) => field ?? "");
/** The parts of each path in code quotes. */
const pathsIn = (text: string): string[] =>
  [...text.matchAll(/`([^`]+)`/g)].flatMap(([, path = ""]) => path.replaceAll("[]", "").split("."));
const named = new Set(pathsIn(page));

test.each(["MeshStatus", "StorageStatus", "PlatformStatus", "PeerStatus", "AuthorStatus"])(
  "every field of %s is explained",
  (name) => {
    const fields = fieldsIn(bodyOf(name));
    expect(fields.length).toBeGreaterThan(1);
    expect(fields.filter((field) => !named.has(field))).toEqual([]);
  },
);

test("no row explains a field that is gone", () => {
  const all = new Set(
    ["MeshStatus", "StorageStatus", "PlatformStatus", "PeerStatus", "AuthorStatus"].flatMap(
      (name) => fieldsIn(bodyOf(name)),
    ),
  );
  const features = [
    ...(/^export type PlatformFeature =([\s\S]*?);/m.exec(api)?.[1] ?? "").matchAll(/"([\w-]+)"/g),
  ].map(([, feature = ""]) => feature);
  const rows = [...page.matchAll(/^\| (`[^|]+`) \|/gm)].flatMap(([, cell = ""]) =>
    [...cell.matchAll(/`([^`]+)`/g)].flatMap(([, path = ""]) =>
      path.replaceAll("[]", "").split("."),
    ),
  );
  const parts = [...new Set(rows)];
  expect(parts.length).toBeGreaterThan(40);
  expect(parts.filter((part) => !all.has(part) && !features.includes(part))).toEqual([]);
  expect(features.filter((feature) => !parts.includes(feature))).toEqual([]);
});
