/** The status is read anew after commits; a reading costs the number of authors. */
import { expect, test } from "vitest";
import type { MeshLink } from "../../src/node/mesh-link.ts";
import { createMeshReport, type MeshReport } from "../../src/node/mesh-report.ts";
import { NODE_PLATFORM } from "../../src/node/platform.ts";
import type { Replica } from "../../src/node/replica.ts";
import { siteId } from "../../src/protocol/ids.ts";
import { authorStream, type VectorEntry } from "../../src/protocol/version-vector.ts";
import type { Clock } from "../../src/seams.ts";
import { NO_COUNTS } from "./log-counts.ts";

const openReport = (replica: Replica, link: MeshLink, clock: Clock): Promise<MeshReport> =>
  createMeshReport({
    replica,
    link,
    clock,
    hub: null,
    platform: NODE_PLATFORM,
    tabRole: () => "alone",
  });

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
  const report = await openReport(replica, link, clock);
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

test("without a network, what was offered and not claimed counts as unsent, and so do drafts", async () => {
  const own: VectorEntry = {
    site: siteId("aa".repeat(16)),
    stream: "data",
    floor: 0,
    head: 5,
    headHash: "11".repeat(16),
    beyond: [],
  };
  const counts = { ...NO_COUNTS, unreleased: 1 };
  const replica = {
    report: async () => ({ counts, authors: [], incoming: [] }),
    vector: async () => [own, { ...own, site: siteId("bb".repeat(16)) }],
    ownSites: () => [own.site],
    mesh: () => null,
    storage: { kind: "memory", durable: false },
    onChange: () => () => undefined,
  } as unknown as Replica;
  const link = {
    replication: () => null,
    refusedBefore: () => new Map(),
    peers: () => [],
    heldElsewhere: () => new Map([[authorStream(own), 3]]),
  } as unknown as MeshLink;
  const clock: Clock = { nowMs: () => 0, wallClockMs: () => 0 };
  const report = await openReport(replica, link, clock);
  expect(report.now().unsent).toBe(3);
  report.stop();
});
