/** Every example of docs/STREAMS.md is a program that runs: what is written here arrives there. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../unit/temporary-directory.ts";

const dist = (file: string): string => pathToFileURL(join("dist", file)).href;

const EXAMPLES = [...readFileSync("docs/STREAMS.md", "utf8").matchAll(/```ts\n([\s\S]*?)```/g)].map(
  ([, code]) => code ?? "",
);

/** So that no example is carried by the one before it. */
const ENDINGS = [
  "await session.close(); server.close();",
  "web.close();",
  "await tab.close();",
  "",
  "",
];

const addressOf = (name: string): string => {
  if (name === "rowmesh/streams") return dist("streams/index.js");
  return name.startsWith("node:") ? name : import.meta.resolve(name);
};

test("[T13] each carrier of docs/STREAMS.md carries", () => {
  expect(EXAMPLES).toHaveLength(5);
  const imports = EXAMPLES.flatMap((code) => [
    ...code.matchAll(/^import (.*) from "(.*)";$/gm),
  ]).map(([, names, from]) => `import ${names} from "${addressOf(from ?? "")}";`);
  const blocks = EXAMPLES.map(
    (code, i) => `
await mesh.db.exec("INSERT INTO note VALUES (?)", ["${i}"]);
{ ${code.replaceAll(/^import .*$/gm, "")}
  while ((await other.db.query("SELECT id FROM note")).length <= ${i}) await new Promise(setImmediate);
  ${ENDINGS[i]}
  console.log("example ${i} carried");
}`,
  );
  const program = `import "${dist("cli/node20-polyfills.js")}";
import { openMesh } from "${dist("index.js")}";
${[...new Set(imports)].join("\n")}
const schema = { version: 1, tables: ["CREATE TABLE note (id TEXT PRIMARY KEY NOT NULL) STRICT"] };
const options = { name: "example", schema, storage: "memory", network: "off" };
const mesh = await openMesh(options);
const other = await openMesh({ ...options, join: await mesh.invite() });
${blocks.join("\n")}
await mesh.close();
await other.close();
process.exit();`;
  const directory = temporaryDirectory();
  writeFileSync(join(directory, "examples.mjs"), program);
  const printed = execFileSync(process.execPath, ["examples.mjs"], {
    cwd: directory,
    encoding: "utf8",
    timeout: 60_000,
  });
  expect(printed.trim().split("\n")).toEqual(EXAMPLES.map((_, i) => `example ${i} carried`));
}, 60_000);
