/** The Ed25519 contract in real Chromium: with WebCrypto on a secure page, without on a plain one. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import sirv from "sirv";
import { build } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { findChromium } from "../../scripts/find-chromium.mjs";
import { fromHex, toHex } from "../../src/protocol/ids.ts";
import type { Ed25519 } from "../../src/signing/ed25519.ts";
import { ed25519Contract } from "../contracts/ed25519.ts";
import type { BackendName } from "./signing/page.ts";

/** Loopback by another name: not a secure context, like a page of the LAN. */
const PLAIN_HOST = "rowmesh.test";

let folder: string;
let browser: BrowserContext;
let secure: Page;
let plain: Page;
const server = createServer((request, response) => sirv(join(folder, "site"))(request, response));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rowmesh-signing-"));
  await build({
    root: join(import.meta.dirname, "signing"),
    logLevel: "error",
    configFile: false,
    build: { outDir: join(folder, "site"), emptyOutDir: true },
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  browser = await chromium.launchPersistentContext(join(folder, "profile"), {
    executablePath: findChromium(),
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      `--host-resolver-rules=MAP ${PLAIN_HOST} 127.0.0.1`,
    ],
  });
  const open = async (url: string): Promise<Page> => {
    const page = await browser.newPage();
    await page.goto(url);
    await page.waitForFunction(() => "signingPage" in globalThis);
    return page;
  };
  secure = await open(`http://127.0.0.1:${port}/`);
  plain = await open(`http://${PLAIN_HOST}:${port}/`);
}, 60_000);

afterAll(async () => {
  await browser?.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

const inPage = (page: () => Page, name: BackendName): Ed25519 => ({
  publicKeyOf: async (secretKey) =>
    fromHex(
      await page().evaluate(([backend, key]) => globalThis.signingPage.publicKeyOf(backend, key), [
        name,
        toHex(secretKey),
      ] as const),
    ),
  sign: async (message, secretKey) =>
    fromHex(
      await page().evaluate(
        ([backend, text, key]) => globalThis.signingPage.sign(backend, text, key),
        [name, toHex(message), toHex(secretKey)] as const,
      ),
    ),
  verify: (signature, message, publicKey) =>
    page().evaluate(
      ([backend, signed, text, key]) => globalThis.signingPage.verify(backend, signed, text, key),
      [name, toHex(signature), toHex(message), toHex(publicKey)] as const,
    ),
});

ed25519Contract("Chromium's WebCrypto, alone", () =>
  Promise.resolve(inPage(() => secure, "webcrypto")),
);
ed25519Contract("chosen on a secure page", () => Promise.resolve(inPage(() => secure, "chosen")));
ed25519Contract("chosen on a plain-http page", () =>
  Promise.resolve(inPage(() => plain, "chosen")),
);

test("the plain page is one without crypto.subtle", async () => {
  expect(await secure.evaluate(() => globalThis.signingPage.hasSubtle())).toBe(true);
  expect(await plain.evaluate(() => globalThis.signingPage.hasSubtle())).toBe(false);
});
