/** kill -9 of Chromium, and of its tabs alone, while two replicas in it write and merge. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Random } from "../../src/seams.ts";
import { type Chromium, openChromium, openSite, type Site } from "../fixtures/chromium.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import {
  type CrashReport,
  createLedger,
  createReleases,
  keepReport,
  KILLS,
  NOTHING_LOST,
  type Releases,
  SEED,
} from "./ledger.ts";
import type { Life } from "./page/page.ts";
import { openWitness, type Victim, type Witness } from "./witness.ts";

let site: Site;
const profile = mkdtempSync(join(tmpdir(), "rowmesh-crash-"));
beforeAll(async () => {
  site = await openSite(join(import.meta.dirname, "page"));
}, 60_000);
afterAll(async () => {
  await site?.close();
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
});

const pause = (delayMs: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, delayMs));

/** Opens a victim's page, looks at what its last end left, and lets it live. */
async function begin(
  chromium: Chromium,
  victim: Victim,
  witness: Witness,
  life: Pick<Life, "name" | "writes">,
): Promise<Page> {
  const page = await chromium.context.newPage();
  await page.goto(site.url);
  await page.waitForFunction(() => "crash" in globalThis);
  const { storage, checkpoint: since } = victim;
  victim.ledger.check(
    await page.evaluate((given) => globalThis.crash.inspect(given), storage),
    victim.site,
  );
  const options = {
    storage,
    since,
    join: witness.join,
    url: `${witness.url}/${storage}`,
    name: `${storage}-${life.name}`,
    writes: life.writes,
  };
  // Ends with the page.
  void page.evaluate((given) => globalThis.crash.live(given), options).catch(() => undefined);
  return page;
}

const headAt = ({ mesh }: Witness, { site: of }: Victim): number =>
  mesh.status().authors.find(({ siteId }) => siteId === of)?.version ?? 0;

const WAIT = { timeout: 30_000, interval: 5 };

/** A random moment: while it opens, or once it has written and the witness has got some of it. */
async function untilKill(random: Random, victims: readonly Victim[], witness: Witness) {
  if (random.below(4) === 0) return pause(random.below(300));
  await Promise.all(
    victims.map(async (victim) => {
      const head = headAt(witness, victim);
      const isSyncing = (): boolean => victim.said > 3 && headAt(witness, victim) > head;
      await vi
        .waitUntil(() => isSyncing() || victim.failures.length > 0, WAIT)
        .catch(victim.ledger.stall);
    }),
  );
  return pause(random.below(300));
}

async function killTabs({ context }: Chromium, pages: readonly Page[]): Promise<void> {
  const crashed = Promise.all(pages.map((page) => page.waitForEvent("crash")));
  const session = await context.browser()?.newBrowserCDPSession();
  const { processInfo = [] } = (await session?.send("SystemInfo.getProcessInfo")) ?? {};
  for (const { id, type } of processInfo) if (type === "renderer") process.kill(id, "SIGKILL");
  await crashed;
  // The spare process for the next tab has died too, which Chromium has to notice.
  await pause(100);
}

const killBrowser = ({ close }: Chromium): Promise<void> => close();

const createVictim = (storage: Victim["storage"], releases: Releases): Victim => ({
  storage,
  ledger: createLedger(storage, releases),
  site: null,
  checkpoint: 0,
  said: 0,
  failures: [],
});

/** One browser, all of which is killed; now and then its tabs before. */
async function liveAndDie(
  random: Random,
  victims: readonly Victim[],
  witness: Witness,
  round: number,
): Promise<void> {
  const chromium = await openChromium({ profile });
  try {
    // A tab's death costs as much time and risks less: what it wrote is with the browser.
    for (const kill of round % 3 === 0 ? [killTabs, killBrowser] : [killBrowser]) {
      const writes = random.below(4) === 0 ? "entries and a rebuild" : "entries";
      const life = { name: `${round}-${kill.name}`, writes } as const;
      const pages = await Promise.all(
        victims.map((victim) => begin(chromium, victim, witness, life)),
      );
      await untilKill(random, victims, witness);
      await kill(chromium, pages);
    }
    for (const { ledger } of victims) ledger.kill();
  } finally {
    await chromium.close();
  }
}

/** Nobody writes any more: all hold the same. */
async function expectConvergence(victims: readonly Victim[], witness: Witness): Promise<void> {
  const chromium = await openChromium({ profile });
  try {
    const life = { name: "last", writes: "nothing" } as const;
    const pages = await Promise.all(
      victims.map((victim) => begin(chromium, victim, witness, life)),
    );
    await vi.waitFor(
      async () => {
        const hash = await witness.mesh.stateHash();
        for (const page of pages) {
          expect(await page.evaluate(() => globalThis.crash.stateHash())).toBe(hash);
        }
      },
      { timeout: 30_000, interval: 100 },
    );
  } finally {
    await chromium.close();
  }
}

test(
  "[L1] [L2] replicas on OPFS and IndexedDB keep what they said when the browser is killed",
  { timeout: 60_000 + KILLS * 60_000 },
  async () => {
    const random = createSeededRandom(SEED);
    const releases = createReleases();
    const victims = [createVictim("opfs", releases), createVictim("indexeddb", releases)];
    const witness = await openWitness(victims, releases);
    let reports: readonly CrashReport[];
    try {
      for (let round = 0; round < KILLS; round++) {
        await liveAndDie(random, victims, witness, round);
      }
      await expectConvergence(victims, witness);
    } finally {
      reports = victims.map(({ ledger, site: author }) => keepReport(ledger.report(author ?? "")));
      await witness.close();
    }
    expect(victims.flatMap(({ failures }) => failures)).toEqual([]);
    expect(witness.mesh.status().forks).toEqual([]);
    expect(witness.refused()).toBe(0);
    for (const report of reports) {
      expect(report).toMatchObject({ ...NOTHING_LOST, kills: KILLS });
      // Else nothing was tested.
      expect(report.rowsAcknowledged).toBeGreaterThan(3 * KILLS);
      expect(report.versionsReleased).toBeGreaterThan(3 * KILLS);
    }
  },
);
