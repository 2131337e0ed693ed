/** `rowmesh hub` and `rowmesh status` as processes: what survives a restart, how they end. */
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Mesh, MeshStatus } from "../../src/node/api.ts";
import { openMesh } from "../../src/node/open-mesh-node.ts";
import { inviteLink, parseInviteLink } from "../../src/protocol/genesis.ts";
import { meshIdOf } from "../../src/signing/keys.ts";
import { type HubRuns, openHubRuns, type Ready, stop } from "./hub-runs.ts";
import { type Running, runCli } from "./run-cli.ts";

/** A start takes a second; some tests make several, beside other tests. */
vi.setConfig({ testTimeout: 60_000 });

let runs: HubRuns;
let folder: string;
beforeEach(() => {
  runs = openHubRuns();
  ({ folder } = runs);
});
afterEach(() => runs.close());

const start = (...args: string[]): Running => runs.start(...args);
const startJson = (...args: string[]): ReturnType<HubRuns["startJson"]> => runs.startJson(...args);
const meshOf = (url: string): string => meshIdOf(parseInviteLink(url).genesis.bodyBytes);
const certhashOf = ({ addresses }: Ready): string | undefined =>
  addresses.map((address) => /\/certhash\/([^/]+)/.exec(address)?.[1]).find(Boolean);

const modeOf = (path: string): number => statSync(join(folder, path)).mode & 0o777;

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });

/** Three in a row below the range from which the system gives ports to others. */
async function freePorts(): Promise<number> {
  for (let port = 20_000 + (process.pid % 1_000) * 10; ; port += 3) {
    const free = await Promise.all([port, port + 1, port + 2].map(isFree));
    if (free.every(Boolean)) return port;
  }
}

test("--json prints one line when ready, and nothing else", async () => {
  const { hub, ready } = await startJson("--port", "0", "--name", "field day");
  expect(ready).toMatchObject({ ready: true, pid: hub.child.pid });
  expect(ready.urls).toEqual([ready.url]);
  const invite = parseInviteLink(ready.url);
  expect(invite.hubs).toEqual(ready.addresses);
  expect(ready.addresses.map((address) => address.replace(/\/\d+\//, "/0/"))).toEqual([
    expect.stringMatching(/^\/ip4\/127.0.0.1\/udp\/0\/webrtc-direct\/certhash\/uEi.*\/p2p\/12D3/),
    `/ip4/127.0.0.1/tcp/0/ws/p2p/${ready.peerId}`,
    `/ip4/127.0.0.1/tcp/0/p2p/${ready.peerId}`,
  ]);
  const { code, stdout, stderr } = await stop(hub, "SIGTERM");
  expect([code, stdout.trimEnd().split("\n").length, stderr]).toEqual([0, 1, ""]);
});

test("the page gives the same join link as the terminal", async () => {
  const { ready } = await startJson("--port", "0", "--name", "field day");
  const answer = (await (await fetch(new URL("/rowmesh.json", ready.url))).json()) as object;
  expect(answer).toEqual({ meshName: "field day", joinUrl: ready.url });
});

test("a restart, clean or killed, is the same hub: peer, certificate, addresses, mesh", async () => {
  const port = String(await freePorts());
  const first = await startJson("--port", port, "--name", "one");
  expect((await stop(first.hub, "SIGINT")).code).toBe(0);
  const second = await startJson("--port", port, "--name", "two");
  expect((await stop(second.hub, "SIGKILL")).code).toBe(null);
  const third = await startJson("--port", port);
  for (const { ready } of [second, third]) {
    expect({ ...ready, pid: 0 }).toEqual({ ...first.ready, pid: 0 });
  }
  expect(certhashOf(first.ready)).toMatch(/^uEi/);
  expect((await stop(third.hub, "SIGTERM")).code).toBe(0);
});

test("two data directories are two hubs and two meshes", async () => {
  const [one, two] = await Promise.all([
    startJson("--port", "0", "--data", "one"),
    startJson("--port", "0", "--data", "two"),
  ]);
  expect(one.ready.peerId).not.toBe(two.ready.peerId);
  expect(certhashOf(one.ready)).not.toBe(certhashOf(two.ready));
  expect(meshOf(one.ready.url)).not.toBe(meshOf(two.ready.url));
});

test("only the owner can read what the hub keeps", async () => {
  await startJson("--port", "0");
  expect(modeOf("rowmesh-hub")).toBe(0o700);
  expect(modeOf("rowmesh-hub/replica")).toBe(0o700);
  expect(modeOf("rowmesh-hub/certificate.json")).toBe(0o600);
  expect(modeOf("rowmesh-hub/replica/rowmesh-0.db")).toBe(0o600);
});

test("without --json it tells people how to join, with a QR code", async () => {
  const hub = start("--port", "0", "--name", "field day");
  await hub.line(/Ctrl-C/);
  const page = (await hub.line(/^ {2}http:.*\/$/)).trim();
  expect((await fetch(page, { method: "POST" })).status).toBe(405);
  const { code, stdout } = await stop(hub, "SIGTERM");
  expect(code).toBe(0);
  expect(stdout).toContain('Hub of the mesh "field day"');
  expect(stdout).toMatch(/[█▀▄]{20}/);
  expect(stdout).toContain("1 × ERR_REQUEST_INVALID");
  expect(stdout).toMatch(/http:\/\/127\.0\.0\.1:\d+\/#join=/);
});

/** The one line that a hub says that could not start. */
const refusalOf = async (hub: Running): Promise<string> => {
  const { code, stdout, stderr } = await hub.ended;
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  return stderr;
};

describe("what is in the way is said in one line, with the remedy, and 1", () => {
  test("a second hub on the same data", async () => {
    await startJson("--port", "0");
    expect(await refusalOf(start("--json", "--port", "0"))).toMatch(
      /another hub has .* Stop it, or choose/,
    );
  });

  test.each([
    ["the web page's port", 0],
    ["the WebSocket's port", 1],
    ["the TCP port", 2],
  ])("%s is in use, and the data directory is free again", async (_, offset) => {
    const port = await freePorts();
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(port + offset, "127.0.0.1", resolve));
    const hub = start("--json", "--port", String(port));
    expect(await refusalOf(hub)).toMatch(/a port is in use .* choose another with --port/);
    await new Promise((resolve) => blocker.close(resolve));
    const { ready } = await startJson("--port", String(port));
    expect(ready.url).toContain(`:${port}/`);
  });

  test("an address that is not this machine's", async () => {
    const hub = start("--json", "--host", "192.0.2.1", "--port", "0");
    expect(await refusalOf(hub)).toMatch(/no address 192\.0\.2\.1\. Choose another with --host/);
  });

  test("a damaged certificate", async () => {
    mkdirSync(join(folder, "rowmesh-hub"));
    writeFileSync(join(folder, "rowmesh-hub/certificate.json"), '{"pem":1}');
    const hub = start("--json", "--port", "0");
    expect(await refusalOf(hub)).toMatch(/certificate\.json is damaged\. Restore it/);
  });

  test("a data directory that is a file, or that cannot be made", async () => {
    writeFileSync(join(folder, "taken"), "");
    const hub = start("--json", "--port", "0", "--data", "taken");
    expect(await refusalOf(hub)).toMatch(/cannot make the data directory .* \(E\w+\)/);
    const inside = start("--json", "--port", "0", "--data", "taken/inside");
    expect(await refusalOf(inside)).toMatch(/cannot make the data directory .* \(ENOTDIR\)/);
  });
});

const until = (mesh: Mesh, isSo: (status: MeshStatus) => boolean): Promise<void> =>
  new Promise((resolve) => {
    mesh.onStatus((status) => {
      if (isSo(status)) resolve();
    });
  });

const schema = {
  version: 1,
  tables: ["CREATE TABLE animal (id TEXT PRIMARY KEY NOT NULL, name TEXT) STRICT"],
};

/** Over TCP only, to this hub alone: Node's native WebRTC stays out of the test's own process. */
const openDevice = ({ url, addresses }: Ready): Promise<Mesh> => {
  const hubs = addresses.filter((address) => /tcp\/\d+\/p2p/.test(address));
  return openMesh({
    name: "device",
    storage: "memory",
    schema,
    join: inviteLink({ ...parseInviteLink(url), hubs }, "http://test/"),
  });
};

describe("a hub keeps what one device wrote for another that comes later", () => {
  test.each(["SIGTERM", "SIGKILL"] as const)("after %s", async (signal) => {
    const port = String(await freePorts());
    const first = await startJson("--port", port);
    const writer = await openDevice(first.ready);
    const { digest: nothing } = writer.status();
    await writer.db.exec("INSERT INTO animal VALUES ('a', 'heron')");
    // A digest counts what was released, so an equal one that moved is on the hub's disk.
    await until(
      writer,
      ({ digest, peers }) =>
        digest !== nothing && peers.some(({ role, sameDigest }) => role === "hub" && sameDigest),
    );
    const stateHash = await writer.stateHash();
    await writer.close();
    await stop(first.hub, signal);

    const second = await startJson("--port", port);
    const reader = await openDevice(second.ready);
    await until(reader, ({ authors }) =>
      authors.some(({ local, version }) => !local && version > 0),
    );
    expect(await reader.db.query("SELECT * FROM animal")).toEqual([{ id: "a", name: "heron" }]);
    expect(await reader.stateHash()).toBe(stateHash);
    await reader.close();
  });
});

describe("--join", () => {
  test("by link or by page, again and again, it is one mesh", async () => {
    const first = await startJson("--port", "0", "--data", "one", "--name", "field day");
    const page = first.ready.url.replace(/#.*/, "");
    const second = await startJson("--port", "0", "--data", "two", "--join", page);
    expect(meshOf(second.ready.url)).toBe(meshOf(first.ready.url));
    expect(second.ready.peerId).not.toBe(first.ready.peerId);
    expect(second.ready.addresses.every((each) => each.endsWith(second.ready.peerId))).toBe(true);
    // Whoever joins at the second learns of the first.
    expect(parseInviteLink(second.ready.url).hubs).toEqual(
      expect.arrayContaining([...first.ready.addresses]),
    );
    await stop(second.hub, "SIGTERM");
    const again = await startJson("--port", "0", "--data", "two", "--join", first.ready.url);
    expect(again.ready.peerId).toBe(second.ready.peerId);
    await stop(again.hub, "SIGTERM");
    // After a power cut nobody may be there yet.
    await stop(first.hub, "SIGKILL");
    const alone = await startJson("--port", "0", "--data", "two", "--join", page);
    expect(meshOf(alone.ready.url)).toBe(meshOf(second.ready.url));
    expect((await stop(alone.hub, "SIGTERM")).stderr).toContain(
      "in the mesh that this hub belongs",
    );
  });

  test("of another mesh is refused with the remedy, and of nobody makes nothing", async () => {
    const first = await startJson("--port", "0", "--data", "one");
    const other = await startJson("--port", "0", "--data", "two");
    await stop(other.hub, "SIGTERM");
    const args = ["--json", "--port", "0", "--data", "two", "--join", first.ready.url];
    expect(await refusalOf(start(...args))).toMatch(
      /ERR_MESH_DIFFERENT: the hub in .*two belongs to another mesh\. Choose another directory/,
    );
    const nobody = start("--port", "0", "--data", "three", "--join", "http://127.0.0.1:9/");
    expect(await refusalOf(nobody)).toMatch(/no hub answers at http:\/\/127.0.0.1:9\/rowmesh.json/);
    const outside = start("--port", "0", "--data", "three", "--join", "http://hub.example/");
    expect((await outside.ended).stderr).toContain("hub.example is no address or name of the LAN");
    const bad = start("--port", "0", "--data", "three", "--join", "#join=?");
    expect(await refusalOf(bad)).toContain("ERR_INVITE_INVALID");
    expect(statSync(join(folder, "three"), { throwIfNoEntry: false })).toBeUndefined();
  });

  test("two hubs link over TCP, and a row of the one's device reaches the other's", async () => {
    const first = await startJson("--port", "0", "--data", "one");
    const second = await startJson("--port", "0", "--data", "two", "--join", first.ready.url);
    const [writer, reader] = await Promise.all(
      [first, second].map(({ ready }) => openDevice(ready)),
    );
    await writer!.db.exec("INSERT INTO animal VALUES ('a', 'heron')");
    await until(reader!, ({ authors }) =>
      authors.some(({ local, version }) => !local && version > 0),
    );
    expect(await reader!.db.query("SELECT * FROM animal")).toEqual([{ id: "a", name: "heron" }]);
    const { stdout } = await runCli(["status", "--json", "--data", join(folder, "one")]);
    const hubs = (JSON.parse(stdout) as MeshStatus).peers.filter(({ role }) => role === "hub");
    expect(hubs).toMatchObject([{ peerId: second.ready.peerId, link: "tcp", name: hostname() }]);
    await Promise.all([writer!.close(), reader!.close()]);
  });
});

test("status makes nothing where there is no hub", async () => {
  const data = join(folder, "nothing");
  const { code, stderr } = await runCli(["status", "--data", data]);
  expect(code).toBe(1);
  expect(stderr).toContain("there is no hub in");
  expect(statSync(data, { throwIfNoEntry: false })).toBeUndefined();
});
