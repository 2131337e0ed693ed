/**
 * Builds the field notebook into `dist-demo/`, the static site that `rowmesh hub --site` serves.
 * It imports the package by name, which is its own `dist/`: build that first.
 *
 * @module
 */

import { defineConfig } from "vite";
import { VitePWA } from "vite-plugin-pwa";

/** The engine's WebAssembly is 1.7 MB; it must open without a network like the rest. */
const PRECACHED_FILE_BYTES_MAX = 8 * 1024 * 1024;

export default defineConfig({
  root: import.meta.dirname,
  // The site may lie under any path.
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  worker: { format: "es" },
  // Pre-bundling would move `new URL("./replica-worker.js", import.meta.url)` away from its worker.
  optimizeDeps: { exclude: ["rowmesh"] },
  build: {
    outDir: "../dist-demo",
    emptyOutDir: true,
    target: "es2022",
    chunkSizeWarningLimit: 1_500,
  },
  plugins: [
    VitePWA({
      registerType: "prompt",
      injectRegister: false,
      workbox: {
        globPatterns: ["**/*.{html,js,css,wasm,svg,png}"],
        // The package's transports for Node: bundled, since they are imported, but never loaded.
        globIgnores: ["**/transports-node-*"],
        maximumFileSizeToCacheInBytes: PRECACHED_FILE_BYTES_MAX,
        // The hub's own pages on the app's origin.
        navigateFallbackDenylist: [/\/trust$/, /\/rowmesh[.-]/],
      },
      manifest: {
        id: "./",
        name: "Field notebook",
        short_name: "Notebook",
        description: "Animal sightings, kept on your devices and nowhere else",
        start_url: "./",
        scope: "./",
        display: "standalone",
        background_color: "#f6f2e8",
        theme_color: "#2f6b3f",
        icons: [
          { src: "icon-192.png", sizes: "192x192", type: "image/png" },
          { src: "icon-512.png", sizes: "512x512", type: "image/png" },
          { src: "icon-512.png", sizes: "512x512", type: "image/png", purpose: "maskable" },
          { src: "icon.svg", sizes: "any", type: "image/svg+xml" },
        ],
      },
    }),
  ],
});
