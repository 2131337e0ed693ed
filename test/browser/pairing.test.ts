/** Two or three Chromium pages that nobody introduces: codes are handed from one to the other. */
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { type Chromium, openChromium, openSite, type Site } from "../fixtures/chromium.ts";

vi.setConfig({ testTimeout: 60_000 });

let site: Site;
let chromium: Chromium;
let closing: (() => Promise<void>)[] = [];

beforeAll(async () => {
  site = await openSite(join(import.meta.dirname, "mesh"));
  chromium = await openChromium();
}, 60_000);
afterEach(async () => {
  await Promise.all(closing.map((close) => close()));
  closing = [];
});
afterAll(async () => {
  await chromium?.close();
  await site?.close();
}, 60_000);

/** A page with storage of its own and an open mesh, as a device that was just unpacked. */
async function openDevice(network: "on" | "off" = "on"): Promise<Page> {
  const context = await chromium.context.browser()?.newContext();
  if (context === undefined) throw new RangeError("no browser");
  closing.push(() => context.close());
  const page = await context.newPage();
  await page.goto(site.url);
  await page.waitForFunction(() => "app" in globalThis);
  await page.evaluate(
    (given) =>
      globalThis.app.open({ name: "pair", storage: "memory", network: given }).then(() => 0),
    network,
  );
  return page;
}

interface Shown {
  readonly code: string;
  readonly fingerprint: string;
}

const show = (page: Page): Promise<Shown> =>
  page.evaluate(async () => {
    const { app } = globalThis;
    app.pairing = await app.opened().pair();
    return { code: app.pairing.code, fingerprint: app.pairing.fingerprint };
  });

/** What `connect` ends in. */
const connect = (page: Page, code: string): Promise<unknown> =>
  page.evaluate((given) => {
    const { app } = globalThis;
    return app.outcome(app.shown().connect(given));
  }, code);

async function pair(a: Page, b: Page): Promise<readonly [unknown, unknown]> {
  const [ofA, ofB] = await Promise.all([show(a), show(b)]);
  return Promise.all([connect(a, ofB.code), connect(b, ofA.code)]);
}

const insert = (page: Page, id: string): Promise<void> =>
  page.evaluate(
    (given) =>
      globalThis.app
        .opened()
        .db.exec("INSERT INTO tag VALUES (?)", [given])
        .then(() => undefined),
    id,
  );
const tags = (page: Page): Promise<unknown> =>
  page.evaluate(async () => {
    const rows = await globalThis.app.opened().db.query<{ id: string }>("SELECT id FROM tag");
    return rows.map(({ id }) => id).sort();
  });
const meshId = (page: Page): Promise<unknown> =>
  page.evaluate(() => globalThis.app.opened().status().meshId);
const peerId = (page: Page): Promise<string> => page.evaluate(() => globalThis.app.opened().peerId);
const links = (page: Page): Promise<Record<string, string>> =>
  page.evaluate(() =>
    Object.fromEntries(
      globalThis.app
        .opened()
        .status()
        .peers.map((each) => [each.peerId, each.link]),
    ),
  );

const LONG = { timeout: 30_000, interval: 100 };

test("two devices of no mesh found one; drafts of both reach the other", async () => {
  const [a, b] = [await openDevice(), await openDevice()];
  await insert(a, "of a");
  await insert(b, "of b");
  const [ofA, ofB] = await Promise.all([show(a), show(b)]);
  expect(ofA.code.length).toBeLessThanOrEqual(210);
  const readByB = await b.evaluate((code) => globalThis.app.shown().read(code), ofA.code);
  const seenOfA = { peerId: await peerId(a), fingerprint: ofA.fingerprint, name: null };
  expect(readByB).toEqual(seenOfA);
  const [byA, byB] = await Promise.all([connect(a, ofB.code), connect(b, ofA.code)]);
  expect(byA).toMatchObject({ peerId: await peerId(b), fingerprint: ofB.fingerprint });
  expect(byB).toMatchObject({ peerId: await peerId(a) });
  expect(await links(a)).toEqual({ [await peerId(b)]: "webrtc" });
  for (const page of [a, b]) await expect.poll(() => tags(page), LONG).toEqual(["of a", "of b"]);
  expect(await meshId(a)).not.toBeNull();
  expect(await meshId(b)).toBe(await meshId(a));
  await insert(b, "later");
  await expect.poll(() => tags(a), LONG).toContain("later");
});

test("the paired device introduces the next one, which then links with all", async () => {
  const [a, b, c] = [await openDevice(), await openDevice(), await openDevice()];
  const ids = [await peerId(a), await peerId(b), await peerId(c)];
  expect(await pair(a, b)).toMatchObject([{ peerId: ids[1] }, { peerId: ids[0] }]);
  expect(await pair(c, b)).toMatchObject([{ peerId: ids[1] }, { peerId: ids[2] }]);
  for (const [i, page] of [a, b, c].entries()) {
    const others = ids.filter((_, at) => at !== i);
    await expect
      .poll(() => links(page), LONG)
      .toEqual(Object.fromEntries(others.map((id) => [id, "webrtc"])));
  }
  await insert(a, "of a");
  await insert(c, "of c");
  for (const page of [a, b, c]) {
    await expect.poll(() => tags(page), LONG).toEqual(["of a", "of c"]);
  }
});
