/**
 * A device in a process of its own, until it is killed: joins, says "held bytes" whenever more of a
 * large changeset is here, and "done rows hash" when all of it is.
 */
// oxlint-disable-next-line import/no-unassigned-import -- patches globals, before anything reads them
import "../../src/cli/node20-polyfills.ts";
import { writeSync } from "node:fs";
import { openMesh } from "../../src/node/open-mesh-node.ts";
import { ANIMALS } from "../fixtures/replicas.ts";

const [, , directory, join, rows] = process.argv;
if (directory === undefined || join === undefined)
  throw new RangeError("usage: directory link rows");

const say = (line: string): void => void writeSync(1, `${line}\n`);
const mesh = await openMesh({ name: "reader", schema: ANIMALS, storage: { directory }, join });
let held = 0;
for (;;) {
  const bytes = mesh.status().incoming[0]?.bytes ?? held;
  if (bytes > held) say(`held ${bytes}`);
  held = bytes;
  const [row] = await mesh.db.query<{ n: number }>("SELECT count(*) AS n FROM animal");
  if (row?.n === Number(rows)) break;
  await new Promise((resolve) => void setTimeout(resolve, 10));
}
say(`done ${await mesh.stateHash()}`);
await mesh.close();
process.exit(0);
