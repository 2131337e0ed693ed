/**
 * Live latency: two Chromium processes on one machine, linked by WebRTC, the hub that introduced
 * them gone. From the call of `exec` in one to the row in the other's `watch`: commit, signature,
 * both workers, both links of RPC, the network, verification and merge.
 *
 * Both processes read the same system clock, in whole milliseconds.
 *
 * @module
 */

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { build } from "vite";
import { openSiteServer } from "../src/cli/site-server.ts";
import { openHubMesh } from "../src/node/open-mesh-node.ts";
import { createWebrtcCertificate } from "../src/node/webrtc-certificate.ts";
import { systemRandom } from "../src/node/system-seams.ts";
import { median, percentile } from "./rounds.ts";

export type LiveLatency =
  | { readonly type: "skipped"; readonly reason: string }
  | {
      readonly type: "measured";
      /** From the call of `exec`. */
      readonly p50Ms: number;
      readonly p95Ms: number;
      /** From the moment `exec` resolved: negative where the other was faster than the answer. */
      readonly sinceCommitP50Ms: number;
      readonly samples: number;
      readonly link: string;
      readonly storage: string;
    };

const HOST = "127.0.0.1";
const WARM_UP = 10;
/** Between two writes, so that each is a changeset alone on its way. */
const PAUSE_MS = 50;
const STEP_TIMEOUT_MS = 60_000;

const CHROMIUM_ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** `CHROMIUM` names another one. */
const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

export async function benchLiveLatency(samples: number): Promise<LiveLatency> {
  if (!existsSync(CHROMIUM)) return { type: "skipped", reason: `no Chromium at ${CHROMIUM}` };
  const folder = mkdtempSync(join(tmpdir(), "rowmesh-live-"));
  const browsers: BrowserContext[] = [];
  try {
    const hub = await openHub(await buildPage(folder));
    const devices: Page[] = [];
    for (const name of ["writer", "reader"]) {
      const browser = await launch(join(folder, name));
      browsers.push(browser);
      devices.push(await openDevice(browser, hub.pageUrl, hub.link));
    }
    const [writer, reader] = devices as [Page, Page];
    const links = await Promise.all(
      devices.map((page) => page.evaluate(() => window.device.linked())),
    );
    await hub.close();
    const storage = await writer.evaluate(() => window.device.storage());
    const { sinceCall, sinceCommit } = await measure(writer, reader, samples);
    await Promise.all(devices.map((page) => page.evaluate(() => window.device.close())));
    return {
      type: "measured",
      p50Ms: median(sinceCall),
      p95Ms: percentile(sinceCall, 0.95),
      sinceCommitP50Ms: median(sinceCommit),
      samples,
      link: links.join(" and "),
      storage,
    };
  } finally {
    await Promise.all(browsers.map((browser) => browser.close()));
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function measure(
  writer: Page,
  reader: Page,
  samples: number,
): Promise<{ readonly sinceCall: number[]; readonly sinceCommit: number[] }> {
  const sinceCall: number[] = [];
  const sinceCommit: number[] = [];
  for (let id = 1; id <= WARM_UP + samples; id++) {
    const written = await writer.evaluate((row) => window.device.write(row), id);
    const seenMs = await reader.evaluate((row) => window.device.seen(row), id);
    if (id > WARM_UP) {
      sinceCall.push(seenMs - written.calledMs);
      sinceCommit.push(seenMs - written.committedMs);
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  return { sinceCall, sinceCommit };
}

async function buildPage(folder: string): Promise<string> {
  const site = join(folder, "site");
  await build({
    root: join(process.cwd(), "bench/live-page"),
    configFile: false,
    logLevel: "error",
    worker: { format: "es" },
    build: { outDir: site, emptyOutDir: true, target: "es2022", chunkSizeWarningLimit: 4_000 },
  });
  return site;
}

interface LiveHub {
  readonly pageUrl: string;
  readonly link: string;
  readonly close: () => Promise<void>;
}

async function openHub(site: string): Promise<LiveHub> {
  const mesh = await openHubMesh(
    { name: "hub", storage: "memory" },
    {
      meshName: "live",
      listen: [`/ip4/${HOST}/udp/0/webrtc-direct`, `/ip4/${HOST}/tcp/0/ws`],
      certificate: await createWebrtcCertificate(systemRandom.bytes(8), Date.now()),
    },
  );
  const server = await openSiteServer({
    port: 0,
    host: HOST,
    site,
    describe: async () => ({}),
    tls: null,
    trust: null,
  });
  const pageUrl = `http://${HOST}:${server.port}/`;
  return {
    pageUrl,
    link: await mesh.invite({ baseUrl: pageUrl }),
    close: async () => {
      await Promise.all([mesh.close(), server.close()]);
    },
  };
}

const launch = (profile: string): Promise<BrowserContext> =>
  chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    args: CHROMIUM_ARGS,
  });

async function openDevice(browser: BrowserContext, url: string, link: string): Promise<Page> {
  const page = await browser.newPage();
  page.setDefaultTimeout(STEP_TIMEOUT_MS);
  page.on("pageerror", (error) => console.error(`page: ${error.message}`));
  await page.goto(url);
  await page.waitForFunction(() => "device" in window);
  await page.evaluate((invite) => window.device.open(invite), link);
  return page;
}
