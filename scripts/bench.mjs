/**
 * `npm run bench`: bundles bench/main.ts (Node 20 runs no TypeScript) and runs it, so that what is
 * measured is plain JavaScript. Options go to bench/main.ts; `NODE_OPTIONS=--cpu-prof` profiles it.
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));
const outDir = `${root}.tsbuild/bench`;
await build({
  root,
  configFile: false,
  logLevel: "warn",
  build: {
    ssr: "bench/main.ts",
    outDir,
    emptyOutDir: true,
    target: "node20",
    minify: false,
    sourcemap: true,
    // The package says of `dist/` which files have side effects; this is `src/`.
    rollupOptions: { treeshake: false },
  },
});
const bench = spawn(
  process.execPath,
  ["--expose-gc", "--enable-source-maps", `${outDir}/main.js`, ...process.argv.slice(2)],
  { cwd: root, stdio: "inherit" },
);
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => bench.kill(signal));
bench.on("exit", (code) => {
  process.exitCode = code ?? 1;
});
