/** The README's example is a program that runs, and its commands are scripts that exist. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, onTestFinished, test } from "vitest";

const README = readFileSync("README.md", "utf8");
const dist = (file: string): string => pathToFileURL(join("dist", file)).href;

test("the first example runs as it stands, but for the storage that Node has to be told", () => {
  const [, example] = /```ts\n([\s\S]*?)```/.exec(README) ?? [];
  expect(example).toBeDefined();
  const program = `import "${dist("cli/node20-polyfills.js")}";
${(example ?? "").replace('"rowmesh"', `"${dist("index.js")}"`).replace('name: "animals",', 'name: "animals", storage: "memory", discovery: "off",')}
await mesh.close();`;
  const directory = mkdtempSync(join(tmpdir(), "rowmesh-readme-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const file = join(directory, "example.mjs");
  writeFileSync(file, program);
  const printed = execFileSync(process.execPath, [file], { encoding: "utf8", timeout: 60_000 });
  expect(printed).toContain("name: 'heron'");
  expect(printed).toMatch(/#join=[\w-]{80,}/);
}, 60_000);

test("every npm command it names is a script, and it stays short", () => {
  const { scripts } = JSON.parse(readFileSync("package.json", "utf8")) as {
    scripts: Record<string, string>;
  };
  const named = [...README.matchAll(/npm run ([\w:-]+)/g)].map(([, name]) => name ?? "");
  expect(named.filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
  expect(README.split("\n").length).toBeLessThanOrEqual(150);
});

test("every file and page it points to exists", () => {
  const links = [...README.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, path]) => path ?? "");
  expect(links.length).toBeGreaterThan(5);
  expect(links.filter((path) => !existsSync(path))).toEqual([]);
});
