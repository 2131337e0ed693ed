/**
 * The cr-sqlite WebAssembly in a browser or a worker: fetched and compiled once per realm.
 *
 * @module
 */

let compiled: Promise<WebAssembly.Module> | null = null;

/**
 * @param source where the file is served. Bundlers that understand `new URL(…, import.meta.url)`
 * with a package's name (Vite) find it by themselves; without one, pass the URL at which
 * `@vlcn.io/wa-sqlite/dist/crsqlite-sync.wasm` is served.
 */
export const compileSqliteInBrowser = (
  source: string | URL = new URL("@vlcn.io/wa-sqlite/dist/crsqlite-sync.wasm", import.meta.url),
): Promise<WebAssembly.Module> => {
  compiled ??= fetchAndCompile(source).catch((error: unknown) => {
    // Offline at the first try must not mean offline for ever.
    compiled = null;
    throw error;
  });
  return compiled;
};

/** Not `compileStreaming`: it refuses servers that do not know the type `application/wasm`. */
const fetchAndCompile = async (source: string | URL): Promise<WebAssembly.Module> => {
  const response = await fetch(source);
  if (!response.ok) throw new TypeError(`${String(source)}: HTTP ${response.status}`);
  return WebAssembly.compile(await response.arrayBuffer());
};
