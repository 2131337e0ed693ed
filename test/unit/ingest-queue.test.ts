/** The queue in front of the log: whatever arrives, and whenever, ends in an outcome. */
import { expect, test } from "vitest";
import { createIngestQueue } from "../../src/node/ingest-queue.ts";
import { ed25519, openReplica } from "../fixtures/replicas.ts";

const garbage = { type: "run", bytes: new Uint8Array(9) } as const;
const REFUSED = [[{ verdict: "refused", code: "ERR_NOT_CANONICAL" }]];

test("an item that arrives at any moment while the queue runs empty is taken", async () => {
  const database = await openReplica(1);
  const queue = createIngestQueue({ database, ed25519 });
  for (let microtasks = 0; microtasks < 40; microtasks++) {
    const first = queue.ingest([garbage]);
    for (let i = 0; i < microtasks; i++) await Promise.resolve();
    const second = queue.ingest([garbage]);
    const late = new Promise((resolve) => void setTimeout(resolve, 1_000, "never"));
    expect(await Promise.race([second, late]), `after ${microtasks}`).toEqual(REFUSED);
    expect(await first).toEqual(REFUSED);
  }
  await queue.close();
  expect(await queue.ingest([garbage])).toEqual([[{ verdict: "later", code: "ERR_CLOSED" }]]);
  await database.close();
});
