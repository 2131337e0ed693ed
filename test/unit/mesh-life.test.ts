/** The promises of `Mesh` when calls come at once, late, or with what nobody should pass. */
import { afterEach, expect, test, vi } from "vitest";
import { openHubMesh, openMesh } from "../../src/node/open-mesh-node.ts";
import type { Mesh, OpenMeshOptions } from "../../src/node/api.ts";
import { openMeshOver } from "../../src/node/mesh.ts";
import { NODE_PLATFORM } from "../../src/node/platform.ts";
import { openReplica } from "../../src/node/replica.ts";
import { systemClock, systemRandom } from "../../src/node/system-seams.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import { createWebrtcCertificate } from "../../src/node/webrtc-certificate.ts";
import {
  decodeInvite,
  fromBase64Url,
  inviteLink,
  parseInviteLink,
} from "../../src/protocol/genesis.ts";
import { ed25519 } from "../fixtures/replicas.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

const schema = {
  version: 1,
  tables: ["CREATE TABLE note (id TEXT PRIMARY KEY NOT NULL, text TEXT) STRICT"],
};
const pause = (ms: number) => new Promise((resolve) => void setTimeout(resolve, ms));
const opened: Mesh[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((mesh) => mesh.close()));
});
async function open(options: Partial<OpenMeshOptions> = {}): Promise<Mesh> {
  const mesh = await openMesh({
    name: "life",
    schema,
    storage: "memory",
    network: "off",
    discovery: "off",
    ...options,
  });
  opened.push(mesh);
  return mesh;
}

test("invitations made at once are to one mesh", async () => {
  const mesh = await open();
  await mesh.db.exec("INSERT INTO note VALUES ('draft', 'kept')");
  const links = await Promise.all([mesh.invite(), mesh.invite(), mesh.invite()]);
  expect(new Set(links).size).toBe(1);
});

test("joining while inviting leaves one mesh, and says so to the other", async () => {
  const host = await open();
  const link = await host.invite();
  const mesh = await open();
  const [joined, invited] = await Promise.allSettled([mesh.join(link), mesh.invite()]);
  expect(joined.status).toBe("fulfilled");
  expect(invited).toMatchObject({ status: "fulfilled" });
  expect(mesh.status().meshId).toBe(host.status().meshId);
});

test("links that are none, and requests that a hub refused, are counted by code", async () => {
  const mesh = await open();
  for (const link of ["nonsense", "https://example.invalid/#join=AAAA", "\0"]) {
    await expect(mesh.join(link)).rejects.toMatchObject({ code: "ERR_INVITE_INVALID" });
  }
  expect(mesh.status().refusals).toMatchObject([{ code: "ERR_INVITE_INVALID", count: 3 }]);
  const certificate = await createWebrtcCertificate(new Uint8Array(8).fill(1), Date.now());
  const hub = await openHubMesh(
    { name: "hub", storage: "memory", network: "off" },
    {
      meshName: "hub",
      listen: [],
      certificate,
      refusals: () => new Map([["ERR_REQUEST_INVALID", 2]]),
    },
  );
  opened.push(hub);
  expect(hub.status().refusals).toMatchObject([{ code: "ERR_REQUEST_INVALID", count: 2 }]);
});

test("a closed mesh stays closed", async () => {
  const mesh = await open();
  const link = await mesh.invite();
  await mesh.close();
  await mesh.close();
  const closed = { code: "ERR_CLOSED" };
  await expect(mesh.online(true)).rejects.toMatchObject(closed);
  await expect(mesh.invite()).rejects.toMatchObject(closed);
  await expect(mesh.join(link)).rejects.toMatchObject(closed);
  await expect(mesh.rebuild()).rejects.toMatchObject(closed);
  await expect(mesh.stateHash()).rejects.toMatchObject(closed);
  await expect(mesh.db.exec("DELETE FROM note")).rejects.toMatchObject(closed);
  await expect(mesh.db.query("SELECT 1")).rejects.toMatchObject(closed);
  await expect(mesh.db.transaction(async () => undefined)).rejects.toMatchObject(closed);
  expect(mesh.status().online).toBe(false);
});

test("Node has no WebRTC to pair with, and says so; a closed mesh says that it is closed", async () => {
  const mesh = await open();
  await expect(mesh.pair()).rejects.toMatchObject({ code: "ERR_NOT_SUPPORTED" });
  const signal = AbortSignal.abort();
  await expect(mesh.pair({ signal })).rejects.toMatchObject({ code: "ERR_ABORTED" });
  await mesh.close();
  await expect(mesh.pair()).rejects.toMatchObject({ code: "ERR_CLOSED" });
});

test("closing while going online ends offline", async () => {
  const mesh = await open();
  await mesh.invite();
  const results = await Promise.allSettled([mesh.online(true), mesh.close(), mesh.online(true)]);
  expect(results.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "rejected"]);
  expect(mesh.status().online).toBe(false);
});

test("an aborted opening throws, and leaves the storage free", async () => {
  const directory = temporaryDirectory();
  const storage = { directory };
  await expect(open({ storage, signal: AbortSignal.abort() })).rejects.toMatchObject({
    code: "ERR_ABORTED",
  });
  const controller = new AbortController();
  const opening = open({ storage, signal: controller.signal });
  controller.abort();
  await expect(opening).rejects.toMatchObject({ code: "ERR_ABORTED" });
  await open({ storage });
});

test("a listener that throws harms nobody but itself", async () => {
  const uncaught = vi.fn<(error: Error) => void>();
  const before = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException").on("uncaughtException", uncaught);
  try {
    const mesh = await open();
    let told = 0;
    let faulty = false;
    mesh.onStatus(() => {
      if (faulty) throw new Error("the app's own fault");
    });
    mesh.onStatus(() => told++);
    faulty = true;
    for (let i = 0; i < 3; i++) {
      await mesh.db.exec("INSERT INTO note VALUES (?, NULL)", [String(i)]);
      await pause(120);
    }
    expect(told).toBeGreaterThan(2);
    expect(uncaught.mock.calls.length).toBeGreaterThan(0);
  } finally {
    process.removeAllListeners("uncaughtException");
    for (const listener of before) process.on("uncaughtException", listener);
  }
});

test("no time limit is no time limit", async () => {
  const mesh = await open();
  for (const timeoutMs of [Number.POSITIVE_INFINITY, 2 ** 31, 1e300]) {
    expect(await mesh.db.transaction(async () => (await pause(20), 7), { timeoutMs })).toBe(7);
  }
});

test("a link with a damaged byte joins nothing, or the same mesh, and the database opens again", async () => {
  const certificate = await createWebrtcCertificate(new Uint8Array(8).fill(1), Date.now());
  const hub = { meshName: "hub", listen: ["/ip4/127.0.0.1/tcp/0"], certificate };
  const host = await openHubMesh({ name: "hub", storage: "memory" }, hub);
  opened.push(host);
  const link = await host.invite();
  const { meshId } = host.status();
  await host.close();
  const bytes = fromBase64Url(link.slice(link.indexOf("#join=") + 6));
  const alone = await open();
  let joined = 0;
  for (let at = 0; at < bytes.length; at++) {
    const damaged = bytes.slice();
    damaged[at] = (damaged[at] ?? 0) ^ (1 << (at % 8));
    let text: string;
    try {
      text = inviteLink(decodeInvite(damaged), "https://app.example/");
    } catch {
      continue;
    }
    const before = alone.status().meshId;
    const outcome = await alone.join(text).then(
      () => "joined",
      (error: { code: string }) => error.code,
    );
    expect([
      "joined",
      "ERR_INVITE_INVALID",
      "ERR_SIGNATURE_INVALID",
      "ERR_MESH_DIFFERENT",
    ]).toContain(outcome);
    if (outcome === "joined" && joined++ === 0) await alone.online(true);
    expect(alone.status().meshId).toBe(outcome === "joined" ? meshId : before);
    expect(alone.status().online).toBe(joined > 0);
  }
  expect(joined).toBeGreaterThan(0);
  expect(parseInviteLink(await alone.invite()).hubs.length).toBeGreaterThan(0);
});

test("[L13] a device whose new key finds no network at first tries again", async () => {
  const replica = await openReplica({
    storage: createMemoryStorage(),
    wasm: await compileSqliteInNode(),
    schema,
    ed25519,
    clock: systemClock,
    random: systemRandom,
  });
  let failures = 0;
  const listeners: (() => void)[] = [];
  const failing = new Proxy(replica, {
    get: (target, name) => {
      if (name === "keys" && failures > 0) {
        failures--;
        throw new Error("the port is taken");
      }
      if (name !== "onNewKey") return Reflect.get(target, name) as unknown;
      return (listener: () => void) => {
        listeners.push(listener);
        return () => undefined;
      };
    },
  });
  const parts = {
    ed25519,
    clock: systemClock,
    random: systemRandom,
    hub: null,
    platform: NODE_PLATFORM,
    tabRole: () => "alone" as const,
    openPairingChannel: null,
  };
  const options = { name: "life", schema, storage: "memory", discovery: "off" } as const;
  const mesh = await openMeshOver({ ...parts, replica: failing }, options);
  opened.push(mesh);
  await mesh.invite();
  expect(mesh.status().online).toBe(true);
  failures = 1;
  for (const tell of listeners) tell();
  await expect.poll(() => mesh.status().online).toBe(false);
  expect(failures).toBe(0);
  await expect.poll(() => mesh.status().online, { timeout: 10_000 }).toBe(true);
});
