/**
 * `npm run lan-lab`: bundles test/lan-lab/main.ts (Node 20 runs no TypeScript) and runs it.
 * `npm run lan-lab -- --help` says how.
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));
const outDir = `${root}.tsbuild/lan-lab`;
await build({
  root,
  configFile: false,
  logLevel: "warn",
  build: {
    ssr: "test/lan-lab/main.ts",
    outDir,
    emptyOutDir: true,
    target: "node20",
    minify: false,
    sourcemap: true,
    // Each of these is also a program, which knows itself by its path.
    rollupOptions: { external: [/find-chromium/, /launch-chromium/] },
  },
});
const lab = spawn(
  process.execPath,
  ["--enable-source-maps", `${outDir}/main.js`, ...process.argv.slice(2)],
  { cwd: root, stdio: "inherit" },
);
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => lab.kill(signal));
lab.on("exit", (code) => {
  process.exitCode = code ?? 1;
});
