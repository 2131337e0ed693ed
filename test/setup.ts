/** Runs before every test file. */
// oxlint-disable-next-line import/no-unassigned-import -- patches globals
import "../src/cli/node20-polyfills.ts";
