/** The status is read anew after commits; a reading costs the number of authors. */
import { expect, test } from "vitest";
import type { MeshLink } from "../../src/node/mesh-link.ts";
import { createMeshReport } from "../../src/node/mesh-report.ts";
import { NODE_PLATFORM } from "../../src/node/platform.ts";
import type { Replica } from "../../src/node/replica.ts";
import type { Clock } from "../../src/seams.ts";

test("[AE15] reading the status takes a tenth of the time at most, and the last commit is read", async () => {
  let readings = 0;
  let writtenAt = 0;
  let readAt = 0;
  let workMs = 0;
  const listeners: (() => void)[] = [];
  // Every reading takes 20 ms of this clock.
  const clock: Clock = { nowMs: () => performance.now() + workMs, wallClockMs: () => 0 };
  const replica = {
    report: async () => {
      readings += 1;
      readAt = writtenAt;
      workMs += 20;
      return { authors: [] };
    },
    vector: async () => [],
    ownSites: () => [],
    storage: { kind: "memory", durable: false },
    onChange: (listener: () => void) => {
      listeners.push(listener);
      return () => undefined;
    },
  } as unknown as Replica;
  const link = { replication: () => ({}) } as unknown as MeshLink;
  const report = await createMeshReport({
    replica,
    link,
    clock,
    hub: null,
    platform: NODE_PLATFORM,
    tabRole: () => "alone",
  });
  const beginMs = clock.nowMs();
  for (let i = 1; i <= 200; i++) {
    writtenAt = i;
    for (const commit of listeners) commit();
    await new Promise((resolve) => void setTimeout(resolve, 1));
  }
  const tenths = (clock.nowMs() - beginMs) / 200;
  expect(readings).toBeLessThanOrEqual(3 + tenths);
  await expect.poll(() => readAt).toBe(200);
  report.stop();
});
