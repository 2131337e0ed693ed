/** The demo in real Chromium, served by something that is no hub: its devices pair by codes alone. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { encode } from "uqr";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import {
  type Chromium,
  LOOPBACK,
  openChromium,
  PLAIN_HTTP_HOST,
  serveSite,
  type Site,
} from "../fixtures/chromium.ts";
import { writeQrVideo } from "../fixtures/qr-video.ts";

vi.setConfig({ testTimeout: 90_000 });

const FOLDER = join(import.meta.dirname, "../../dist-demo");
const POLL = { timeout: 60_000 };

const folder = mkdtempSync(join(tmpdir(), "rowmesh-demo-"));
const camera = join(folder, "camera.y4m");
let site: Site;
let chromium: Chromium;
let closing: (() => Promise<void>)[] = [];
const problems: string[] = [];

beforeAll(async () => {
  if (!existsSync(join(FOLDER, "index.html"))) throw new Error("npm run build:demo comes first");
  site = await serveSite(FOLDER);
  chromium = await openChromium({ camera });
});
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()));
  // Nothing that a page says it cannot do, the content security policy's refusals among it.
  const told = problems.splice(0);
  if (told.length > 0) throw new Error(told.join("\n"));
});
afterAll(async () => {
  await chromium?.close();
  await site?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A device with storage of its own whose notebook is just opened, by that button. */
async function openDevice(
  name: string,
  button: "begin" | "begin-pairing" = "begin",
  host: string = LOOPBACK,
): Promise<Page> {
  const context = await chromium.context.browser()?.newContext();
  if (context === undefined) throw new RangeError("no browser");
  closing.push(() => context.close());
  const page = await context.newPage();
  page.on("pageerror", ({ message }) => void problems.push(`${name}: ${message}`));
  page.on("console", (said) => {
    // Only the page's own: what a server refuses, its users handle.
    if (said.type() === "error" && !said.text().startsWith("Failed to load resource"))
      problems.push(`${name}: ${said.text()}`);
  });
  await page.goto(`http://${host}:${site.port}/`);
  await page.getByTestId("your-name").fill(name);
  await page.getByTestId(button).click();
  await page.waitForFunction(() => "rowmesh" in globalThis);
  return page;
}

async function openPairing(page: Page): Promise<void> {
  await page.getByTestId("tab-mesh").click();
  await page.getByTestId("pair").click();
}

const codeOf = (page: Page): Promise<string> => page.getByTestId("pair-code").inputValue();
const textOf = (page: Page, testId: string): Promise<string> =>
  page.getByTestId(testId).innerText();

async function readText(page: Page, code: string): Promise<void> {
  await page.getByTestId("pair-their-code").fill(code);
  await page.getByTestId("pair-read").click();
}

/** A browser's own detector whose service is missing, as on some systems: the library looks instead. */
const BROKEN_DETECTOR = `{
  globalThis.timesAsked = 0;
  globalThis.BarcodeDetector = class {
    static getSupportedFormats = async () => ["qr_code"];
    detect = async () => {
      globalThis.timesAsked++;
      throw new DOMException("no service", "NotSupportedError");
    };
  };
}`;

/** A code that is of something else is told of, and the camera looks on. */
async function lookAtAnInvite(page: Page): Promise<void> {
  const { data, size } = encode("https://example.test/#join=nothing", { border: 4 });
  writeQrVideo(camera, size, (x, y) => data[y]?.[x] === true);
  await page.getByTestId("pair-camera").click();
  await page.getByText("another kind of code").waitFor();
  await page.getByTestId("pair-camera").click();
}

/** Holds the camera of one before the screen of the other. */
async function readByCamera(page: Page, shownBy: Page): Promise<void> {
  const qr = shownBy.getByTestId("pair-qr");
  const size = Number((await qr.getAttribute("viewBox"))?.split(" ")[2]);
  const path = (await qr.locator("path").getAttribute("d")) ?? "";
  const dark = new Set([...path.matchAll(/M(\d+) (\d+)h1/g)].map(([, x, y]) => `${x} ${y}`));
  writeQrVideo(camera, size, (x, y) => dark.has(`${x} ${y}`));
  await page.getByTestId("pair-camera").click();
  await page.getByTestId("pair-question").waitFor();
}

/** The one is asked about the device that the other says it is, and agrees. */
async function trust(page: Page, other: Page): Promise<void> {
  expect(await textOf(page, "their-fingerprint")).toBe(await textOf(other, "own-fingerprint"));
  expect(await textOf(page, "own-fingerprint")).not.toBe(await textOf(page, "their-fingerprint"));
  await page.getByTestId("pair-trust").click();
}

async function linked(...pages: readonly Page[]): Promise<void> {
  for (const page of pages) {
    await page.getByTestId("pair-linked").waitFor({ timeout: 60_000 });
    await page.getByTestId("sheet-close").click();
  }
}

const peerId = (page: Page): Promise<string> => page.evaluate<string>("rowmesh.mesh.peerId");

/** What the picture of the mesh has: the states of its nodes, and how many links. */
async function graphOf(page: Page): Promise<unknown> {
  const graph = page.getByTestId("graph");
  const nodes = await page.getByTestId("graph-node").all();
  return {
    states: await Promise.all(nodes.map((node) => node.getAttribute("data-state"))),
    edges: Number(await graph.getAttribute("data-edges")),
    drawn: await graph.getAttribute("data-drawn"),
  };
}

test("two devices pair by text, a third by camera; the picture shows all of them", async () => {
  const ana = await openDevice("Ana", "begin-pairing");
  const ben = await openDevice("Ben");
  await openPairing(ben);
  const [ofAna, ofBen] = await Promise.all([codeOf(ana), codeOf(ben)]);
  await readText(ana, "https://example.test/#join=nothing");
  expect(await textOf(ana, "problem")).toContain("ERR_PAIRING_INVALID");
  await readText(ana, ofBen);
  await readText(ben, ofAna);
  await trust(ana, ben);
  await trust(ben, ana);
  await linked(ana, ben);

  await ana.getByTestId("tab-mesh").click();
  const two = { states: ["self", "inStep"], edges: 1, drawn: "true" };
  await expect.poll(() => graphOf(ana), POLL).toEqual(two);
  const benId = await peerId(ben);
  await ana.locator(`[data-node="${benId}"]`).click();
  expect(await textOf(ana, "graph-details")).toMatch(/Ben[\s\S]*WebRTC, direct/);

  const cleo = await openDevice("Cleo", "begin-pairing");
  await openPairing(ben);
  await cleo.evaluate(BROKEN_DETECTOR);
  await lookAtAnInvite(cleo);
  expect(await cleo.evaluate("timesAsked")).toBeGreaterThan(0);
  await readByCamera(cleo, ben);
  await cleo.getByTestId("pair-refuse").click();
  await readByCamera(cleo, ben);
  await trust(cleo, ben);
  await readByCamera(ben, cleo);
  await trust(ben, cleo);
  await linked(ben, cleo);

  // Ana and Cleo meet through Ben, who knows both.
  const three = { states: ["self", "inStep", "inStep"], edges: 3, drawn: "true" };
  for (const page of [ana, cleo, ben]) {
    await page.getByTestId("tab-mesh").click();
    await expect.poll(() => graphOf(page), POLL).toEqual(three);
  }
  await byKeyboard(ana);
});

/** One stop in the order of the tab key; arrows go around. */
async function byKeyboard(page: Page): Promise<void> {
  const stops = page.locator('[data-testid="graph-node"][tabindex="0"]');
  expect(await stops.count()).toBe(1);
  await stops.focus();
  const seen = new Set<string>();
  for (let step = 0; step < 3; step++) {
    await page.keyboard.press("ArrowRight");
    const focused = await page.evaluate(() => document.activeElement?.getAttribute("data-node"));
    expect(await stops.getAttribute("data-node")).toBe(focused);
    seen.add(focused ?? "");
  }
  expect(seen.size).toBe(3);
}

/** It has written and not committed when `goOn` appears, and goes on when that is called. */
const holdNextTransaction = (page: Page): Promise<void> =>
  page.evaluate(`{
    const { db } = rowmesh.mesh;
    const { transaction } = db;
    db.transaction = (run, options) => {
      db.transaction = transaction;
      return transaction(async (tx) => {
        const outcome = await run(tx);
        await new Promise((resolve) => { globalThis.goOn = resolve; });
        return outcome;
      }, options);
    };
  }`);

test("a second tab works through the first; what that one cuts off by closing is tried again as typed", async () => {
  const first = await openDevice("Eva");
  const second = await first.context().newPage();
  await second.goto(site.url);
  await second.waitForFunction(() => "rowmesh" in globalThis);
  await second.getByTestId("tab-mesh").click();
  await second.getByTestId("tab-follower").waitFor();
  for (const page of [first, second]) await page.evaluate("rowmesh.isBefore = true");
  await second.getByTestId("rename").fill("Eva Maria");
  await second.getByTestId("rename").press("Enter");
  for (const page of [first, second]) {
    await page.getByTestId("tab-mesh").click();
    await expect.poll(() => textOf(page, "observers"), POLL).toContain("Eva Maria");
  }
  // Both open again, under the new name.
  const role = "globalThis.rowmesh?.isBefore ? null : globalThis.rowmesh?.mesh.status().tab.role";
  const roles = (): Promise<unknown[]> =>
    Promise.all([first, second].map((page) => page.evaluate(role)));
  await expect.poll(roles, POLL).toEqual(expect.arrayContaining(["leader", "follower"]));
  // Whichever of the two leads now is the one to be closed.
  const [leader, follower] = (await roles())[0] === "leader" ? [first, second] : [second, first];
  await follower.getByTestId("tab-sightings").click();
  await follower.getByTestId("add-sighting").click();
  await follower.getByTestId("field-animal").fill("Pine marten");
  await follower.getByTestId("field-place").fill("Ridge path");
  await holdNextTransaction(follower);
  await follower.getByTestId("save").click();
  await follower.waitForFunction(() => "goOn" in globalThis);
  await leader.close();
  // Before that the first one's worker may still be there to commit it.
  await expect.poll(() => follower.evaluate("rowmesh.mesh.status().tab.role"), POLL).toBe("leader");
  await follower.evaluate("goOn()");
  expect(await textOf(follower, "problem")).toContain("ERR_TAB_LOST");
  await follower.getByTestId("try-again").click();
  await follower.getByTestId("sighting-sheet").waitFor({ state: "detached" });
  await expect.poll(() => follower.getByTestId("sighting-row").count(), POLL).toBe(1);
  expect(await follower.getByTestId("sighting-row").innerText()).toMatch(
    /Pine marten[\s\S]*Ridge path/,
  );

  await follower.getByTestId("tab-mesh").click();
  await expect.poll(() => follower.getByTestId("tab-follower").count(), POLL).toBe(0);
});

test("devices of two meshes do not mix: one opens a new notebook, and they pair in that", async () => {
  const fay = await openDevice("Fay");
  const gus = await openDevice("Gus");
  for (const page of [fay, gus]) {
    await page.getByTestId("tab-mesh").click();
    await page.getByTestId("invite").click();
    await page.getByTestId("invite-link").waitFor();
    await page.getByTestId("pair").click();
  }
  await readText(gus, await codeOf(fay));
  await trust(gus, fay);
  await gus.getByTestId("pair-new-notebook").click();

  await gus.getByTestId("pair-exchange").waitFor();
  const [ofFay, ofGus] = await Promise.all([codeOf(fay), codeOf(gus)]);
  await readText(fay, ofGus);
  await readText(gus, ofFay);
  await trust(fay, gus);
  await trust(gus, fay);
  await linked(fay, gus);
  await gus.getByTestId("tab-mesh").click();
  expect(await gus.getByTestId("open-notebook").count()).toBe(1);
  const hashes = async (): Promise<number> =>
    new Set(await Promise.all([fay, gus].map((page) => page.evaluate("rowmesh.mesh.stateHash()"))))
      .size;
  await expect.poll(hashes, POLL).toBe(1);
});

test("the picture and the decoder are no part of what a first visit loads", () => {
  const loaded = new Set<string>();
  const load = (name: string): void => {
    if (loaded.has(name)) return;
    loaded.add(name);
    const text = readFileSync(join(FOLDER, "assets", name), "utf8");
    for (const [, next = ""] of text.matchAll(/(?:from|import)\s*["']\.\/([\w.-]+\.js)["']/g))
      load(next);
  };
  const page = readFileSync(join(FOLDER, "index.html"), "utf8");
  for (const [, name = ""] of page.matchAll(/assets\/([\w.-]+\.js)/g)) load(name);
  const bytes = [...loaded].reduce(
    (sum, name) => sum + statSync(join(FOLDER, "assets", name)).size,
    0,
  );
  expect([...loaded].filter((name) => /graph-drawing|decode/.test(name))).toEqual([]);
  expect(loaded.size).toBeGreaterThan(0);
  expect(bytes).toBeLessThan(850_000);
});

test("a page over plain http says what it lacks, and pairs by text alone", async () => {
  const page = await openDevice("Dora", "begin", PLAIN_HTTP_HOST);
  const https = { origin: "https://192.168.1.5:4383", trustUrl: "http://192.168.1.5:4381/trust" };
  await page.route("**/rowmesh.json", (route) => route.fulfill({ json: { https } }));
  await page.getByTestId("tab-mesh").click();
  const lacks = page.getByTestId("lack");
  const features = await lacks.evaluateAll((found) =>
    found.map((lack) => lack.getAttribute("data-feature")),
  );
  expect(new Set(features)).toEqual(
    new Set(["camera", "opfs", "service-worker", "web-locks", "webcrypto"]),
  );
  const way = ["https-page", "trust-page"].map((id) => page.getByTestId(id).getAttribute("href"));
  expect(await Promise.all(way)).toEqual([https.origin, https.trustUrl]);
  await page.getByTestId("pair").click();
  await page.getByTestId("no-camera").waitFor();
  expect(await page.getByTestId("pair-camera").count()).toBe(0);
  expect((await codeOf(page)).length).toBeGreaterThan(100);
});
