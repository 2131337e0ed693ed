/** Real Chromium pages, each with a network of its own that looks like a Network to the test. */
import type { BrowserContext, Page } from "playwright-core";
import type { Network, NetworkHandlers, NetworkPeer } from "../../../src/seams.ts";
import { openChromium, openSite } from "../../fixtures/chromium.ts";
import { networkOptions } from "../../interop/libp2p-nodes.ts";
import type { PageEvent, PageOptions } from "./page.ts";

export interface PageNetwork extends Network {
  readonly page: Page;
  /** Makes the network anew, with the same key; to be started again. After `stop`. */
  readonly renew: () => Promise<void>;
  readonly close: () => Promise<void>;
}

export interface Pages {
  readonly open: (hubs: readonly string[]) => Promise<PageNetwork>;
  readonly close: () => Promise<void>;
}

/** Bundles the page, serves it on loopback, starts one browser. `close` ends all three. */
export async function openPages(): Promise<Pages> {
  const site = await openSite(import.meta.dirname);
  const chromium = await openChromium();
  return {
    open: (hubs) => openPage(chromium.context, site.url, hubs),
    close: async () => {
      await chromium.close();
      await site.close();
    },
  };
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

async function openPage(
  context: BrowserContext,
  url: string,
  hubs: readonly string[],
): Promise<PageNetwork> {
  const page = await context.newPage();
  let handlers: NetworkHandlers | null = null;
  let links: readonly NetworkPeer[] = [];
  await page.exposeFunction("tellTest", async (event: PageEvent) => {
    switch (event.type) {
      case "up":
        ({ links } = event);
        handlers?.peerUp(event.peer);
        return null;
      case "down":
        ({ links } = event);
        handlers?.peerDown(event.peer);
        return null;
      case "frame":
        await handlers?.frame(event.from, Buffer.from(event.bytes, "base64"));
        return null;
      case "broadcast":
        return (await handlers?.broadcast(event.from, Buffer.from(event.bytes, "base64"))) ?? null;
    }
  });
  await page.goto(url);
  const { clock: _clock, random: _random, secretKey, ...rest } = networkOptions({ hubs });
  const options: PageOptions = { ...rest, secretKey: Buffer.from(secretKey).toString("base64") };
  const self = await page.evaluate((given) => globalThis.page.create(given), options);
  return {
    self,
    page,
    start: (given) => {
      if (handlers !== null) return page.evaluate(() => globalThis.page.start());
      handlers = given;
      return page.evaluate(() => globalThis.page.start());
    },
    send: (to, frame) =>
      page.evaluate(([peer, bytes]) => globalThis.page.send(peer, bytes), [
        to,
        base64(frame),
      ] as const),
    broadcast: (bytes) => page.evaluate((given) => globalThis.page.broadcast(given), base64(bytes)),
    penalise: (peer, code) =>
      void page.evaluate(([a, b]) => globalThis.page.penalise(a, b), [peer, code] as const),
    suggestPeers: (via, peers) =>
      void page.evaluate(([a, b]) => globalThis.page.suggestPeers(a, b), [
        via,
        [...peers],
      ] as const),
    links: () => links,
    renew: async () => {
      await page.evaluate((given) => globalThis.page.create(given), options);
    },
    stop: () => page.evaluate(() => globalThis.page.stop()),
    close: () => page.close(),
  };
}
