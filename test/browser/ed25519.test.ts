/** The Ed25519 contract in real Chromium: with WebCrypto on a secure page, without on a plain one. */
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fromHex, toHex } from "../../src/protocol/ids.ts";
import type { Ed25519 } from "../../src/signing/ed25519.ts";
import { ed25519Contract } from "../contracts/ed25519.ts";
import {
  type Chromium,
  openChromium,
  openSite,
  PLAIN_HTTP_HOST,
  type Site,
} from "../fixtures/chromium.ts";
import type { BackendName } from "./signing/page.ts";

let site: Site;
let chromium: Chromium;
let secure: Page;
let plain: Page;

beforeAll(async () => {
  site = await openSite(join(import.meta.dirname, "signing"));
  chromium = await openChromium();
  const open = async (url: string): Promise<Page> => {
    const page = await chromium.context.newPage();
    await page.goto(url);
    await page.waitForFunction(() => "signingPage" in globalThis);
    return page;
  };
  secure = await open(site.url);
  plain = await open(`http://${PLAIN_HTTP_HOST}:${site.port}/`);
}, 60_000);

afterAll(async () => {
  await chromium?.close();
  await site?.close();
}, 60_000);

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
