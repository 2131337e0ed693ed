/** Pages of `mesh/` in one Chromium for all tests of a file: opened by a test, closed after it. */
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll } from "vitest";
import {
  type Chromium,
  LOOPBACK,
  openChromium,
  openSite,
  type Site,
} from "../fixtures/chromium.ts";

export interface MeshPages {
  readonly chromium: () => Chromium;
  /** Not loaded yet. */
  readonly newPage: () => Promise<Page>;
  /** Until its script ran. */
  readonly load: (page: Page, host?: string) => Promise<Page>;
  readonly openPage: (host?: string) => Promise<Page>;
  /** It ended in the test: there is nothing left to close. */
  readonly gone: (page: Page) => void;
}

/** Called once by a test file. */
export function meshPages(): MeshPages {
  let site: Site | undefined;
  let opened: Chromium | undefined;
  let pages: Page[] = [];

  beforeAll(async () => {
    site = await openSite(join(import.meta.dirname, "mesh"));
    opened = await openChromium();
  }, 60_000);
  afterEach(async () => {
    await Promise.all(pages.map((page) => page.close()));
    pages = [];
  });
  afterAll(async () => {
    await opened?.close();
    await site?.close();
  }, 60_000);

  function chromium(): Chromium {
    if (opened === undefined) throw new RangeError("before the tests");
    return opened;
  }

  async function newPage(): Promise<Page> {
    const page = await chromium().context.newPage();
    pages.push(page);
    return page;
  }

  async function load(page: Page, host: string = LOOPBACK): Promise<Page> {
    await page.goto(`http://${host}:${site?.port}/`);
    await page.waitForFunction(() => "app" in globalThis);
    return page;
  }

  return {
    chromium,
    newPage,
    load,
    openPage: async (host) => load(await newPage(), host),
    gone: (page) => {
      pages = pages.filter((each) => each !== page);
    },
  };
}
