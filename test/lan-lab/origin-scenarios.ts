/**
 * Where the app's page comes from, and what browsers give it there: the hub over https, and a web
 * site that is not the hub's.
 */
import { strict as assert } from "node:assert";
import { issueCertificate } from "../../src/cli/local-authority.ts";
import { createAcceptedCertificate, type LabBrowser, whyNoTrust } from "./hosts.ts";
import { type Lab, until } from "./lab.ts";
import { SITE_ADDRESS } from "./lan.ts";
import type { Scenario } from "./scenarios.ts";

/** It shows a test picture. */
const FAKE_CAMERA = ["--use-fake-device-for-media-stream"];

const EVERYTHING = {
  secureContext: true,
  opfs: true,
  serviceWorker: true,
  webLocks: true,
  webCrypto: true,
  camera: true,
  persist: true,
};

/**
 * `rowmesh hub --https`, and devices that trust its authority: pages are secure contexts and open
 * without the hub; a new address gets a certificate.
 */
export const https: Scenario = {
  name: "https",
  browsers: 0,
  bounds: {
    joinMs: 15_000,
    arrivalMs: 2_000,
    offlineMs: 10_000,
    backMs: 15_000,
    renewedMs: 75_000,
  },
  skip: whyNoTrust,
  run: async (lab) => {
    const trusting = { trusts: lab.hub.authority() };
    const [one, other] = [await lab.addBrowser(trusting), await lab.addBrowser(trusting)];
    const startMs = performance.now();
    await Promise.all([one, other].map(({ open }) => open(lab.hub.secureUrl())));
    await lab.write(3);
    await lab.synced();
    const joinMs = Math.round(performance.now() - startMs);
    await hasEverything([one, other]);
    const hubLink = await linkTo(one, lab);
    await lab.linked();
    // Loaded once more, through the service worker: all of it is in its cache.
    await other.open(lab.hub.secureUrl());
    await lab.linked();

    await lab.hub.kill();
    await lab.write(2);
    const arrivalMs = await lab.synced();
    const { single } = await one.count();
    const offlineStartMs = performance.now();
    await other.open(lab.hub.secureUrl());
    const offlineMs = Math.round(performance.now() - offlineStartMs);
    assert.equal((await other.count()).single, single, "the page opens without its server");
    await lab.write(2);

    await lab.hub.start();
    const backMs = await lab.synced();
    await lab.agreed();

    const stranger = await lab.addBrowser();
    await assert.rejects(stranger.open(lab.hub.secureUrl()), /ERR_CERT_AUTHORITY_INVALID/);
    assert.deepEqual([await seesTrust(one, lab), await seesTrust(stranger, lab)], [true, false]);
    await refusesImpostor(one, lab);

    lab.hub.host.moveTo(98);
    assert.ok(!lab.hub.answersSecurely(), "the new address has no certificate yet");
    const renewedMs = await until("it has", async () => lab.hub.answersSecurely());
    await one.open(lab.hub.secureUrl());
    return { joinMs, hubLink, arrivalMs, offlineMs, backMs, renewedMs };
  },
};

/**
 * The app from any https site: it reaches the hub on the LAN by the join link alone, over
 * `webrtc-direct`, and goes on when the site is out of reach.
 */
export const publicOrigin: Scenario = {
  name: "public-origin",
  browsers: 0,
  bounds: { joinMs: 15_000, arrivalMs: 2_000, offlineMs: 15_000 },
  run: async (lab) => {
    const certificate = await createAcceptedCertificate();
    const site = await lab.addPublicSite(certificate.tls);
    const url = `${site.origin}${new URL(lab.hub.joinLink()).hash}`;
    const args = [...certificate.browserArgs, ...FAKE_CAMERA];
    const [one, other] = [await lab.addBrowser({ args }), await lab.addBrowser({ args })];
    const startMs = performance.now();
    await Promise.all([one, other].map(({ open }) => open(url)));
    await lab.write(3);
    await lab.synced();
    const joinMs = Math.round(performance.now() - startMs);
    await hasEverything([one, other]);
    const hubLink = await linkTo(one, lab);
    assert.equal(hubLink, "webrtc-direct");
    await lab.linked();
    await other.open(url);
    await lab.linked();
    const webSocketUrl = lab.hub.webSocketUrl();
    const opensWebSocket = await one
      .page()
      .evaluate((given) => globalThis.lab!.origin.opensWebSocket(given), webSocketUrl);
    const cameraPixels = await seesThroughCamera(one);

    site.close();
    await lab.write(2);
    const arrivalMs = await lab.synced();
    const offlineStartMs = performance.now();
    await other.open(url);
    await lab.synced();
    await lab.linked();
    const offlineMs = Math.round(performance.now() - offlineStartMs);
    await lab.agreed();
    return {
      joinMs,
      hubLink,
      opensWebSocket: `${opensWebSocket}`,
      cameraPixels,
      arrivalMs,
      offlineMs,
    };
  },
};

/**
 * One browser for each kind of origin, all in one mesh: what each is given, and that all are linked
 * with one another. `docs/LAN.md` has the table.
 */
export const origins: Scenario = {
  name: "origins",
  browsers: 0,
  bounds: { joinMs: 30_000, arrivalMs: 2_000 },
  skip: whyNoTrust,
  run: async (lab) => {
    const { tls, browserArgs } = await createAcceptedCertificate();
    const { origin } = await lab.addPublicSite(tls);
    const { hub } = lab;
    const args = FAKE_CAMERA;
    const pages = {
      httpLan: [await lab.addBrowser({ args }), hub.url()],
      httpsLan: [await lab.addBrowser({ args, trusts: hub.authority() }), hub.secureUrl()],
      httpsElsewhere: [
        await lab.addBrowser({ args: [...args, ...browserArgs] }),
        `${origin}${new URL(hub.joinLink()).hash}`,
      ],
      localhost: [await lab.addBrowser({ args, host: hub.host }), hub.localUrl],
    } as const;
    const startMs = performance.now();
    await Promise.all(Object.values(pages).map(([browser, url]) => browser.open(url)));
    await lab.linked();
    const joinMs = Math.round(performance.now() - startMs);
    await lab.write(2);
    const arrivalMs = await lab.synced();
    await lab.agreed();
    const given: Record<string, string> = {};
    for (const [kind, [browser, url]] of Object.entries(pages)) {
      given[kind] = (await probe(browser, url, lab)).join(", ");
    }
    return { joinMs, arrivalMs, ...given };
  },
};

/** What this page is given. Asks for the camera last: browsers then show their addresses. */
async function probe(browser: LabBrowser, url: string, lab: Lab): Promise<readonly string[]> {
  const page = browser.page();
  const has = await page.evaluate(() => globalThis.lab!.origin.has());
  const found = Object.keys(has).filter((name) => has[name]);
  const { storage } = await browser.status();
  found.push(`storage ${storage.kind}`, `hub ${await linkTo(browser, lab)}`);
  const candidates = await page.evaluate(() => globalThis.lab!.origin.candidateAddresses());
  if (candidates.some((address) => address.endsWith(".local"))) found.push("multicast names");
  for (const webSocket of [lab.hub.webSocketUrl(), lab.hub.secureWebSocketUrl()]) {
    if (await page.evaluate((to) => globalThis.lab!.origin.opensWebSocket(to), webSocket)) {
      found.push(new URL(webSocket).protocol.replace(":", ""));
    }
  }
  if (has["persist"]) {
    found.push(`persist() ${await page.evaluate(() => globalThis.lab!.origin.persist())}`);
  }
  const tab = await page.context().newPage();
  await tab.goto(url);
  const opens = tab.waitForFunction(() => globalThis.lab !== undefined, null, { timeout: TAB_MS });
  found.push(
    await opens.then(
      () => tab.evaluate(() => `second tab ${globalThis.lab!.mesh.status().tab.role}`),
      () => "no second tab",
    ),
  );
  await tab.close();
  if (has["camera"]) {
    found.push(`camera ${await seesThroughCamera(browser)} px`);
  }
  return found;
}

const TAB_MS = 15_000;

async function seesThroughCamera({ page }: LabBrowser): Promise<number> {
  await page().context().grantPermissions(["camera"]);
  return page().evaluate(() => globalThis.lab!.origin.seesThroughCamera());
}

/** What the trust page shows a device of itself. */
async function seesTrust({ page }: LabBrowser, { hub }: Lab): Promise<boolean> {
  const tab = await page().context().newPage();
  await tab.goto(`${hub.url()}trust`);
  const width = await tab.evaluate(() => document.images[0]?.naturalWidth ?? -1);
  await tab.close();
  assert.ok(width >= 0, "the page has its image");
  return width > 0;
}

/** A web site with a certificate of the stolen authority gets nowhere. */
async function refusesImpostor({ page }: LabBrowser, lab: Lab): Promise<void> {
  const tls = await issueCertificate(lab.hub.stolenAuthority(), [SITE_ADDRESS], Date.now());
  const impostor = await lab.addPublicSite(tls);
  const tab = await page().context().newPage();
  await assert.rejects(tab.goto(impostor.origin), /ERR_CERT/);
  await tab.close();
  impostor.close();
}

async function hasEverything(browsers: readonly LabBrowser[]): Promise<void> {
  for (const { page, status } of browsers) {
    const has = (): Promise<Readonly<Record<string, boolean>>> =>
      page().evaluate(() => globalThis.lab!.origin.has());
    await until(
      "the service worker controls the page",
      async () => (await has())["serviceWorker"]!,
    );
    assert.deepEqual(await has(), EVERYTHING);
    assert.equal((await status()).storage.kind, "opfs");
  }
}

async function linkTo({ status }: LabBrowser, { hub }: Lab): Promise<string> {
  const { peers } = await status();
  return peers.find(({ peerId }) => peerId === hub.peerId())?.link ?? "none";
}
