/** One process of `npm run sim`: runs the seeds it is sent, one after another. */
// oxlint-disable-next-line import/no-unassigned-import -- patches globals
import "../dist/cli/node20-polyfills.js";
import { simulate } from "../dist/testing/index.js";

process.on("message", async (seed) => {
  try {
    process.send({ type: "report", report: await simulate({ seed }) });
  } catch (error) {
    process.send({ type: "failure", seed, message: String(error?.message ?? error) });
  }
});
process.on("disconnect", () => process.exit());
