/** Real Chromium pages, each with a network of its own that looks like a Network to the test. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import sirv from "sirv";
import { build } from "vite";
import { findChromium } from "../../../scripts/find-chromium.mjs";
import type { Network, NetworkHandlers, NetworkPeer } from "../../../src/seams.ts";
import { networkOptions } from "../../interop/libp2p-nodes.ts";
import type { PageEvent, PageOptions } from "./page.ts";

const CHROMIUM_ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

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
  const folder = await mkdtemp(join(tmpdir(), "rowmesh-pages-"));
  await build({
    root: import.meta.dirname,
    logLevel: "error",
    configFile: false,
    build: { outDir: join(folder, "site"), emptyOutDir: true, minify: false },
  });
  const serve = sirv(join(folder, "site"));
  const server = createServer((request, response) => serve(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const browser = await chromium.launchPersistentContext(join(folder, "profile"), {
    executablePath: findChromium(),
    headless: true,
    args: CHROMIUM_ARGS,
  });
  return {
    open: (hubs) => openPage(browser, url, hubs),
    close: async () => {
      await browser.close();
      await closeServer(server);
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

async function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

async function openPage(
  browser: BrowserContext,
  url: string,
  hubs: readonly string[],
): Promise<PageNetwork> {
  const page = await browser.newPage();
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
