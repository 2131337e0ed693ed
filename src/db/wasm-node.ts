/**
 * The cr-sqlite WebAssembly in Node: read from the package, compiled once per process.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

let compiled: Promise<WebAssembly.Module> | null = null;

export const compileSqliteInNode = (): Promise<WebAssembly.Module> => {
  compiled ??= readFile(
    createRequire(import.meta.url).resolve("@vlcn.io/wa-sqlite/dist/crsqlite-sync.wasm"),
  ).then(async (bytes) => WebAssembly.compile(bytes));
  return compiled;
};
