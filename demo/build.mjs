/**
 * Builds the package and the demo. Both are quick when nothing changed, so nothing old is served.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

export const hubScript = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
export const siteDirectory = fileURLToPath(new URL("../dist-demo", import.meta.url));

/** @throws Error when a step fails; its output is on the standard error */
export function build() {
  // `tsc` is the package's compiler, whichever package of the tree brings it.
  run("the package", "npx", ["--no-install", "tsc", "-b", "src"]);
  run("the demo", "npx", ["--no-install", "vite", "build", "--config", "demo/vite.config.ts"]);
}

function run(what, command, args) {
  process.stderr.write(`building ${what} …\n`);
  // Standard output belongs to the caller.
  const { status } = spawnSync(command, args, {
    cwd: root,
    stdio: ["ignore", 2, 2],
    shell: process.platform === "win32",
  });
  if (status !== 0) throw new Error(`building ${what} failed: ${command} ${args.join(" ")}`);
}
