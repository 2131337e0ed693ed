/** When the browser is asked to keep the data, and what is said of its answer and of the page. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { directoryRoom } from "../../src/node/directory-room.ts";
import { openMesh } from "../../src/node/open-mesh-node.ts";
import { createPersistence, type Persistence } from "../../src/node/persistence.ts";
import { browserPlatform, NODE_PLATFORM, type WindowScope } from "../../src/node/platform.ts";

import { temporaryDirectory } from "./temporary-directory.ts";

type Answer = "granted" | "refused" | "throws";

/** A browser that answers so, on a page that has everything. */
function createBrowser(answer: Answer, navigator: Partial<WindowScope["navigator"]> = {}) {
  const calls = { persist: 0, estimate: 0 };
  let isPersisted = false;
  const storage = {
    getDirectory: () => undefined,
    persisted: async () => isPersisted,
    persist: async () => {
      calls.persist += 1;
      if (answer === "throws") throw new TypeError("no");
      return (isPersisted = answer === "granted");
    },
    estimate: async () => {
      calls.estimate += 1;
      return { usage: 10, quota: 1_000 };
    },
  };
  const scope: WindowScope = {
    isSecureContext: true,
    location: { protocol: "http:" },
    crypto: { subtle: {} },
    RTCPeerConnection: {},
    matchMedia: () => ({ matches: false }),
    navigator: {
      storage,
      serviceWorker: {},
      locks: {},
      mediaDevices: { getUserMedia: {} },
      ...navigator,
    },
  };
  return { calls, scope };
}

const settled = () => new Promise((resolve) => void setTimeout(resolve, 1));

function open(
  scope: WindowScope,
  kind: "opfs" | "memory" = "opfs",
): { persistence: Persistence; pass: (ms: number) => void; changes: () => number } {
  let nowMs = 0;
  let changes = 0;
  const persistence = createPersistence({
    platform: browserPlatform(scope),
    kind,
    clock: { nowMs: () => nowMs, wallClockMs: () => 0 },
    changed: () => {
      changes += 1;
    },
  });
  return { persistence, pass: (ms) => (nowMs += ms), changes: () => changes };
}

test("nobody is asked before something was written, and then once", async () => {
  const { calls, scope } = createBrowser("granted");
  const { persistence } = open(scope);
  persistence.read();
  persistence.joined();
  await settled();
  expect(calls.persist).toBe(0);
  expect(persistence.status()).toMatchObject({ persisted: false, usageBytes: 10 });
  expect(persistence.status().eviction).toMatch(/may delete it when the disk is short/);
  for (let i = 0; i < 3; i++) persistence.wrote();
  persistence.joined();
  await settled();
  expect(calls.persist).toBe(1);
  expect(persistence.status()).toMatchObject({ persisted: true, quotaBytes: 1_000 });
  expect(persistence.status().eviction).toMatch(/promised to keep it/);
  // Another opening finds it granted.
  const again = open(scope);
  again.persistence.wrote();
  await settled();
  expect(calls.persist).toBe(1);
  expect(again.persistence.status().persisted).toBe(true);
});

test.each(["refused", "throws"] as const)(
  "%s: asked again when a mesh is joined",
  async (answer) => {
    const { calls, scope } = createBrowser(answer);
    const { persistence } = open(scope);
    persistence.wrote();
    await settled();
    expect(persistence.status().persisted).toBe(false);
    for (let i = 0; i < 3; i++) persistence.joined();
    await settled();
    persistence.wrote();
    await settled();
    expect(calls.persist).toBe(2);
  },
);

test("the room is read once a minute however often the status is", async () => {
  const { calls, scope } = createBrowser("refused");
  const { persistence, pass, changes } = open(scope);
  for (let i = 0; i < 100; i++) persistence.read();
  await settled();
  expect([calls.estimate, changes()]).toEqual([1, 1]);
  pass(59_999);
  persistence.read();
  pass(1);
  persistence.read();
  persistence.read();
  await settled();
  // Nothing is new: nobody is told.
  expect([calls.estimate, changes()]).toEqual([2, 1]);
});

test("an estimate from before the question, that takes longer than it, is not believed", async () => {
  const { scope } = createBrowser("granted");
  const { storage } = scope.navigator;
  if (storage === undefined) throw new RangeError("a storage");
  const { estimate } = storage;
  const slow: (() => void)[] = [];
  storage.estimate = async () => {
    if (slow.length === 0) await new Promise<void>((resolve) => slow.push(resolve));
    return estimate();
  };
  const { persistence } = open(scope);
  persistence.read();
  persistence.wrote();
  await settled();
  expect(persistence.status().persisted).toBe(true);
  slow[0]?.();
  await settled();
  expect(persistence.status().persisted).toBe(true);
});

test("what is in memory is nothing to keep", async () => {
  const { calls, scope } = createBrowser("granted");
  const { persistence } = open(scope, "memory");
  persistence.read();
  persistence.wrote();
  await settled();
  expect(calls).toEqual({ persist: 0, estimate: 0 });
  expect(persistence.status()).toMatchObject({ persisted: null, usageBytes: null });
});

const eviction = (
  navigator: Partial<WindowScope["navigator"]>,
  page: Partial<WindowScope> = {},
): string => {
  const { scope } = createBrowser("refused", navigator);
  return open({ ...scope, ...page }).persistence.status().eviction;
};

test("each browser has its rules of deletion", () => {
  expect(eviction({})).toMatch(/when the disk is short, all of this site/);
  expect(eviction({ vendor: "Apple Computer, Inc." })).toMatch(/7 days/);
  expect(eviction({ vendor: "Apple Computer, Inc.", standalone: true })).not.toMatch(/7 days/);
  expect(eviction({}, { isSecureContext: false })).toMatch(/over HTTPS the app could ask/);
});

test("what a page lacks has an effect and a remedy: HTTPS where that is all", () => {
  const full = createBrowser("granted").scope;
  expect(browserPlatform(full)).toMatchObject({ secureContext: true, lacks: [] });
  expect(NODE_PLATFORM).toMatchObject({ secureContext: null, lacks: [] });
  const plainHttp: WindowScope = {
    isSecureContext: false,
    location: { protocol: "http:" },
    crypto: {},
    RTCPeerConnection: {},
    navigator: {},
  };
  const { lacks, keeper, room } = browserPlatform(plainHttp);
  expect([keeper, room]).toEqual([null, null]);
  expect(lacks.map(({ feature }) => feature)).toEqual([
    "opfs",
    "service-worker",
    "web-locks",
    "webcrypto",
    "camera",
  ]);
  for (const { effect, remedy } of lacks) {
    expect(effect).toMatch(/\.$/);
    expect(remedy).toMatch(/HTTPS/);
  }
  // A private window may have it, and not open it.
  expect(browserPlatform(full, "refused").lacks).toMatchObject([{ feature: "opfs" }]);
  expect(browserPlatform(full, "refused").lacks[0]?.remedy).toMatch(/private window/);
  const { RTCPeerConnection: _, ...old } = full;
  expect(browserPlatform(old).lacks).toMatchObject([{ feature: "webrtc" }]);
  expect(browserPlatform(old).lacks[0]?.remedy).not.toMatch(/HTTPS/);
  expect(browserPlatform(old).lacks[0]?.effect).toMatch(/only to a hub\.$/);
  // There `ws://` is mixed content.
  const overHttps = { ...old, location: { protocol: "https:" } };
  expect(browserPlatform(overHttps).lacks[0]?.effect).toMatch(/hub that runs with --https/);
});

test("in Node the room of a directory is what it holds and what the disk has left", async () => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "folder"));
  writeFileSync(join(directory, "folder", "other"), new Uint8Array(5_000));
  writeFileSync(join(directory, "a"), new Uint8Array(1_000));
  writeFileSync(join(directory, "b"), new Uint8Array(234));
  const { usage, quota } = await directoryRoom(directory);
  expect(usage).toBe(1_234);
  expect(quota).toBeGreaterThan(usage);
  const mesh = await openMesh({ name: "room", storage: { directory }, network: "off" });
  try {
    await expect.poll(() => mesh.status().storage.quotaBytes).toBeGreaterThan(0);
    expect(mesh.status().storage).toMatchObject({ kind: "directory", persisted: null });
    expect(mesh.status().storage.usageBytes).toBeGreaterThan(10_000);
  } finally {
    await mesh.close();
  }
});
