/** OPFS and IndexedDB in a real Chromium: the storage contract, two tabs, tabs that die, quotas. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { createServer, type ViteDevServer } from "vite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { STORAGE_RULES } from "../contracts/storage.ts";
import { type Chromium, LOOPBACK, openChromium, PLAIN_HTTP_HOST } from "../fixtures/chromium.ts";
import type { Backend, Call } from "./storage/worker.ts";

const ROOT = join(import.meta.dirname, "storage");

let server: ViteDevServer;
let chromium: Chromium;
let port = 0;
const cacheDir = mkdtempSync(join(tmpdir(), "rowmesh-vite-"));

beforeAll(async () => {
  server = await createServer({
    root: ROOT,
    configFile: false,
    logLevel: "error",
    cacheDir,
    // The module finds its WebAssembly beside itself; pre-bundling would move it away.
    optimizeDeps: { exclude: ["@vlcn.io/wa-sqlite"], include: ["idb"] },
    server: {
      host: LOOPBACK,
      port: 0,
      hmr: false,
      allowedHosts: [`.${PLAIN_HTTP_HOST}`],
      fs: { allow: [join(import.meta.dirname, "../..")] },
    },
  });
  await server.listen();
  port = Number(new URL(server.resolvedUrls?.local[0] ?? "").port);
  chromium = await openChromium();
}, 60_000);

afterAll(async () => {
  await chromium?.close();
  await server?.close();
  rmSync(cacheDir, { recursive: true, force: true });
}, 60_000);

const openPage = async (host = LOOPBACK): Promise<Page> => {
  const page = await chromium.context.newPage();
  await page.goto(`http://${host}:${port}/`);
  await page.waitForFunction("typeof inWorker === 'function'");
  return page;
};

const call = async (page: Page, how: "inWorker" | "hold" | "askHeld", what: Call) =>
  page.evaluate(`${how}(${JSON.stringify(what)})`);

const EVERY_RULE_OK = Object.fromEntries(STORAGE_RULES.map(({ name }) => [name, "ok"]));

const places: readonly [string, Backend, string][] = [
  ["OPFS", "opfs", LOOPBACK],
  ["IndexedDB", "indexeddb", LOOPBACK],
  ["IndexedDB on a plain http page", "indexeddb", PLAIN_HTTP_HOST],
];

describe.each(places)("%s", (name, backend, host) => {
  const database = `tabs-${name.length}`;

  test("keeps the storage contract", { timeout: 120_000 }, async () => {
    const page = await openPage(host);
    expect(await page.evaluate("isSecure()")).toBe(host === LOOPBACK);
    expect(await call(page, "inWorker", { type: "contract", backend })).toEqual(EVERY_RULE_OK);
    await page.close();
  });

  test("a tab that dies leaves what was committed, and no lock", { timeout: 60_000 }, async () => {
    let page = await openPage(host);
    expect(await call(page, "hold", { type: "open", backend, name: database })).toBe(0);
    for (let rows = 3; rows <= 15; rows += 3) {
      expect(await call(page, "askHeld", { type: "write", bytes: 5_000 })).toBe(rows);
    }
    await page.close();

    page = await openPage(host);
    expect(await call(page, "hold", { type: "open", backend, name: database })).toBe(15);
    // A reload, at once.
    await page.reload();
    await page.waitForFunction("typeof inWorker === 'function'");
    expect(await call(page, "hold", { type: "open", backend, name: database })).toBe(15);

    const second = await openPage(host);
    expect(await call(second, "hold", { type: "open", backend, name: database })).toMatchObject({
      error: expect.stringContaining("ERR_STORAGE_LOCKED"),
    });
    expect(await call(page, "askHeld", { type: "write", bytes: 10 })).toBe(18);
    await second.close();
    await page.close();
  });

  test("a full disk stores nothing of the transaction", { timeout: 60_000 }, async () => {
    // An origin of its own, before its first write: Chromium remembers how much room it found.
    const ownHost = host === PLAIN_HTTP_HOST ? `full.${host}` : `full-${backend}.localhost`;
    const page = await openPage(ownHost);
    const session = await chromium.context.newCDPSession(page);
    const origin = `http://${ownHost}:${port}`;
    const name2 = `${database}-full`;
    await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 30_000_000 });
    await call(page, "hold", { type: "open", backend, name: name2 });
    expect(await call(page, "askHeld", { type: "write", bytes: 100 })).toBe(3);
    expect(await call(page, "askHeld", { type: "write", bytes: 15_000_000 })).toMatchObject({
      error: expect.stringContaining("ERR_STORAGE_FULL"),
    });
    expect(await call(page, "askHeld", { type: "recover" })).toBe(3);
    await session.send("Storage.overrideQuotaForOrigin", { origin });
    expect(await call(page, "askHeld", { type: "write", bytes: 100 })).toBe(6);
    await page.close();
    const again = await openPage(ownHost);
    expect(await call(again, "hold", { type: "open", backend, name: name2 })).toBe(6);
    await again.close();
  });
});

test("IndexedDB: a tab taken over stores nothing more", { timeout: 60_000 }, async () => {
  const page = await openPage(PLAIN_HTTP_HOST);
  const locked = { error: expect.stringContaining("ERR_STORAGE_LOCKED") };
  await call(page, "hold", { type: "open", backend: "indexeddb", name: "fence" });
  expect(await call(page, "askHeld", { type: "write", bytes: 100 })).toBe(3);
  await call(page, "inWorker", { type: "takeOver", name: "fence" });
  expect(await call(page, "askHeld", { type: "write", bytes: 100 })).toMatchObject(locked);
  expect(await call(page, "askHeld", { type: "recover" })).toMatchObject(locked);
  await page.close();
  const again = await openPage(PLAIN_HTTP_HOST);
  expect(await call(again, "hold", { type: "open", backend: "indexeddb", name: "fence" })).toBe(3);
  await again.close();
});

test("OPFS says so where there is none", { timeout: 60_000 }, async () => {
  const page = await openPage(PLAIN_HTTP_HOST);
  expect(await call(page, "inWorker", { type: "open", backend: "opfs", name: "x" })).toMatchObject({
    error: expect.stringContaining("ERR_STORAGE_UNAVAILABLE"),
  });
  await page.close();
});
