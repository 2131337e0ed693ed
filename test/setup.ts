/** Runs before every test file. */
import "../src/cli/node20-polyfills.ts";
