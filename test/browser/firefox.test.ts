/**
 * Firefox, where there is one: what it does otherwise than Chromium, which runs all the rest. Skips
 * itself elsewhere; docs/LAN.md has what was tried by hand.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Mesh } from "../../src/node/api.ts";
import { openHubMesh } from "../../src/node/open-mesh-node.ts";
import { systemRandom } from "../../src/node/system-seams.ts";
import { createWebrtcCertificate } from "../../src/node/webrtc-certificate.ts";
import {
  type Chromium,
  LOOPBACK,
  openChromium,
  openSite,
  PLAIN_HTTP_HOST,
  type Site,
} from "../fixtures/chromium.ts";
import { findFirefox, type Firefox, type FirefoxPage, openFirefox } from "../fixtures/firefox.ts";

vi.setConfig({ testTimeout: 60_000 });

const WAIT = { timeout: 20_000 };

// What runs in pages.
const tags = (): Promise<readonly { readonly id: string }[]> =>
  globalThis.app.opened().db.query<{ id: string }>("SELECT id FROM tag");
const stateHash = (): Promise<string> => globalThis.app.opened().stateHash();
const linkToDevice = (): string | undefined => {
  const { peers } = globalThis.app.opened().status();
  return peers.find(({ role }) => role === "device")?.link;
};

const joinMesh = async (invite: string): Promise<void> => {
  await globalThis.app.open({ name: "linked", join: invite });
};
const writeSome = async (by: string): Promise<void> => {
  const { db } = globalThis.app.opened();
  for (let i = 0; i < 20; i++) await db.exec("INSERT INTO tag VALUES (?)", [`${by}-${i}`]);
};
/** Until the browser ends. */
const writeOn = async (storage: "opfs" | "indexeddb"): Promise<void> => {
  const { app } = globalThis;
  const { db } = await app.open({ name: storage, storage, network: "off" });
  const go = async (): Promise<never> => {
    for (;;) {
      await db.exec("INSERT INTO tag VALUES (?)", [String(app.acknowledged)]);
      app.acknowledged += 1;
    }
  };
  void go();
};
const acknowledged = (): number => globalThis.app.acknowledged;

interface Opened {
  readonly kind: string;
  readonly role: string;
  readonly lacks: readonly string[];
}

const open = (page: FirefoxPage): Promise<Opened> =>
  page.evaluate(async () => {
    const mesh = await globalThis.app.open({ name: "tabs", network: "off" });
    const { storage, tab, platform } = mesh.status();
    const lacks = platform.lacks.map(({ feature }) => feature);
    return { kind: storage.kind, role: tab.role, lacks };
  });

const path = findFirefox();
if (path === null) console.warn("Firefox was not found: its tests are skipped");

describe.skipIf(path === null)("Firefox", () => {
  const profile = mkdtempSync(joinPath(tmpdir(), "rowmesh-firefox-"));
  let site: Site;
  let firefox: Firefox;
  let hub: Mesh;
  let invite = "";

  beforeAll(async () => {
    site = await openSite(joinPath(import.meta.dirname, "mesh"));
    firefox = await openFirefox(path ?? "", { profile });
    // Firefox offers WebRTC no loopback address, so the hub is reached by WebSocket.
    const listen = [`/ip4/${LOOPBACK}/tcp/0/ws`];
    hub = await openHubMesh(
      { name: "hub", storage: "memory" },
      {
        meshName: "test",
        listen,
        certificate: await createWebrtcCertificate(systemRandom.bytes(8), Date.now()),
      },
    );
    invite = await hub.invite();
  });
  afterAll(async () => {
    await firefox?.close();
    await hub?.close();
    await site?.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  });

  async function openPage(host = LOOPBACK): Promise<FirefoxPage> {
    const page = await firefox.newPage();
    await page.goto(`http://${host}:${site.port}/`);
    return page;
  }

  test("the database is in OPFS, or in IndexedDB on a plain-http page; a second tab shares it", async () => {
    const [one, other] = [await openPage(), await openPage()];
    expect(await open(one)).toEqual({ kind: "opfs", role: "leader", lacks: [] });
    expect(await open(other)).toMatchObject({ kind: "opfs", role: "follower" });
    await other.evaluate(() => globalThis.app.opened().db.exec("INSERT INTO tag VALUES ('a')"));
    expect(await one.evaluate(tags)).toEqual([{ id: "a" }]);
    expect(await open(await openPage(PLAIN_HTTP_HOST))).toEqual({
      kind: "indexeddb",
      role: "alone",
      lacks: ["opfs", "service-worker", "web-locks", "webcrypto", "camera"],
    });
  });

  test("candidates with the address that a hub sees reach on… handlers", async () => {
    const page = await openPage();
    const seen = await page.evaluate(async (invited: string) => {
      const { app } = globalThis;
      const mesh = await app.open({ name: "candidates", storage: "memory", join: invited });
      const isLinked = (): boolean => mesh.status().peers.some(({ link }) => link === "websocket");
      for (let i = 0; i < 200 && !isLinked(); i++) await app.pause(50);
      const connection = new RTCPeerConnection();
      const hosts = new Set<string>();
      connection.onicecandidate = ({ candidate }) => {
        const host = candidate?.candidate.split(" ")[4];
        if (host !== undefined) hosts.add(host.replace(/^.*\.local$/, "a name"));
      };
      connection.createDataChannel("x");
      await connection.setLocalDescription();
      for (let i = 0; i < 100 && hosts.size < 2; i++) await app.pause(50);
      connection.close();
      await mesh.close();
      return [...hosts].sort();
    }, invite);
    expect(seen).toEqual(["127.0.0.1", "a name"]);
  });

  test("links with Chromium over WebRTC; rows go both ways, also when the hub is gone", async () => {
    const chromium: Chromium = await openChromium();
    try {
      const theirs: Page = await chromium.context.newPage();
      await theirs.goto(site.url);
      await theirs.waitForFunction(() => "app" in globalThis);
      const ours = await openPage();
      await Promise.all([ours.evaluate(joinMesh, invite), theirs.evaluate(joinMesh, invite)]);
      await expect.poll(() => ours.evaluate(linkToDevice), WAIT).toBe("webrtc");
      await expect.poll(() => theirs.evaluate(linkToDevice), WAIT).toBe("webrtc");
      await hub.close();
      await Promise.all([
        ours.evaluate(writeSome, "Firefox"),
        theirs.evaluate(writeSome, "Chromium"),
      ]);
      await expect.poll(async () => (await ours.evaluate(tags)).length, WAIT).toBe(40);
      await expect.poll(async () => (await theirs.evaluate(tags)).length, WAIT).toBe(40);
      expect(await ours.evaluate(stateHash)).toBe(await theirs.evaluate(stateHash));
    } finally {
      await chromium.close();
    }
  });

  test("after kill -9 every row is there whose write was acknowledged", async () => {
    const inOpfs = await openPage();
    const inIndexedDb = await openPage();
    await Promise.all([
      inOpfs.evaluate(writeOn, "opfs"),
      inIndexedDb.evaluate(writeOn, "indexeddb"),
    ]);
    await expect.poll(() => inOpfs.evaluate(acknowledged), WAIT).toBeGreaterThan(20);
    await expect.poll(() => inIndexedDb.evaluate(acknowledged), WAIT).toBeGreaterThan(20);
    const least = {
      opfs: await inOpfs.evaluate(acknowledged),
      indexeddb: await inIndexedDb.evaluate(acknowledged),
    };
    await firefox.close();
    firefox = await openFirefox(path ?? "", { profile });
    for (const storage of ["opfs", "indexeddb"] as const) {
      const page = await openPage();
      await page.evaluate(async (kind: typeof storage) => {
        await globalThis.app.open({ name: kind, storage: kind, network: "off" });
      }, storage);
      const kept = (await page.evaluate(tags)).map(({ id }) => Number(id));
      expect(kept.length).toBeGreaterThanOrEqual(least[storage]);
      expect(kept.sort((a, b) => a - b)).toEqual(kept.map((_, i) => i));
    }
  });
});
