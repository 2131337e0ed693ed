/**
 * Up to five tabs of one database open, close, crash, freeze and go away, while all of them write:
 * each call that was answered is there once, each that was refused is not.
 */
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFailed, test } from "vitest";
import type { Mesh } from "../../src/node/api.ts";
import { openHubMesh } from "../../src/node/open-mesh-node.ts";
import { systemRandom } from "../../src/node/system-seams.ts";
import { createWebrtcCertificate } from "../../src/node/webrtc-certificate.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { LOOPBACK, openChromium, openSite, type Site } from "../fixtures/chromium.ts";
import { keepReport, KILLS, SEED } from "./ledger.ts";
import { openRoom, pause, reportOf, type Room, within } from "./tabs-room.ts";

let site: Site;
beforeAll(async () => {
  site = await openSite(join(import.meta.dirname, "tabs-page"));
}, 60_000);
afterAll(async () => {
  await site?.close();
});

const POLL = { timeout: 20_000 };
/** A tab that has just come reads all changes, one by one, of a leader that may answer late. */
const CATCH_UP = { timeout: 60_000 };
/** `CRASH_KILLS` of each, as of the other kill loops; the usual few are shared by both. */
const ROUNDS = process.env["CRASH_KILLS"] === undefined ? Math.ceil(KILLS / 2) : KILLS;

const openHub = async (): Promise<Mesh> =>
  openHubMesh(
    { name: "hub", storage: "memory" },
    {
      meshName: "test",
      listen: [`/ip4/${LOOPBACK}/udp/0/webrtc-direct`],
      certificate: await createWebrtcCertificate(systemRandom.bytes(8), Date.now()),
    },
  );

/** Until something was written, mostly: else nothing is at stake. */
async function someWrites({ done }: Room, count: number): Promise<void> {
  const untilMs = performance.now() + 5_000;
  const before = done();
  while (done() < before + count && performance.now() < untilMs) await pause(10);
}

test.each(["opfs", "indexeddb"] as const)(
  "tabs on %s that end in every way: no call is lost, done twice, refused and done, or unanswered",
  { timeout: 120_000 + ROUNDS * 15_000 },
  async (storage) => {
    const random = createSeededRandom(SEED);
    const hub = await openHub();
    const chromium = await openChromium();
    try {
      const room = await openRoom({
        chromium,
        url: site.url,
        join: await hub.invite(),
        storage,
        random,
      });
      onTestFailed(() => console.log(room.trace.join("\n")));
      for (let round = 0; round < ROUNDS; round++) {
        await room.fill(3);
        await someWrites(room, random.below(60));
        // Now and then the second happens while others still come to terms with the first.
        await Promise.all(Array.from({ length: random.below(3) === 0 ? 2 : 1 }, room.act));
      }
      await room.fill(2);
      await room.newest();
      for (const { tag, page } of room.tabs) {
        await within(
          `what ${tag} has called`,
          page.evaluate(() => globalThis.tabs.stop()),
        ).catch((error: unknown) => room.faults.push(String(error)));
      }
      const { page: reader } = await room.newest();
      await reader.evaluate(() => globalThis.tabs.stop());
      const legsById = new Map(await reader.evaluate(() => globalThis.tabs.legsById()));
      const verdict = room.judge(legsById);
      keepReport(reportOf(`tabs on ${storage}`, ROUNDS, verdict));
      expect(room.faults).toEqual([]);
      expect(verdict).toMatchObject({
        lost: [],
        twice: [],
        halves: [],
        ghosts: [],
        unanswered: [],
        misnamed: [],
      });
      // Else nothing was tested.
      expect(verdict.done).toBeGreaterThan(5 * ROUNDS);
      const all = { events: verdict.changesets, rows: legsById.size };
      for (const { page } of room.tabs) {
        await expect
          .poll(() => page.evaluate(() => globalThis.tabs.followed()), CATCH_UP)
          .toMatchObject(all);
      }
      const followed = await Promise.all(
        [...room.tabs].map(({ page }) => page.evaluate(() => globalThis.tabs.followed())),
      );
      expect(followed.filter(({ role }) => role === "leader")).toHaveLength(1);
      await reader.evaluate(() => globalThis.tabs.online(true));
      const linked = (): number => hub.status().peers.filter((peer) => peer.link !== "none").length;
      await expect.poll(linked, POLL).toBe(1);
      expect(room.faults).toEqual([]);
    } finally {
      await chromium.close();
      await hub.close();
    }
  },
);
