/** `rowmesh status`: what it says for people, and how a running hub is asked. */
import { existsSync, mkdirSync, statSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { askHub, socketPath } from "../../src/cli/control-socket.ts";
import { type HubStatus, sizeOf, statusReport } from "../../src/cli/status-report.ts";
import { openMesh } from "../../src/node/open-mesh-node.ts";
import { inviteLink, parseInviteLink } from "../../src/protocol/genesis.ts";
import { meshId, siteId } from "../../src/protocol/ids.ts";
import { type HubRuns, openHubRuns, stop } from "./hub-runs.ts";
import { runCli, startCli } from "./run-cli.ts";

/** Starts of processes take seconds beside other tests. */
vi.setConfig({ testTimeout: 120_000 });

let runs: HubRuns;
beforeEach(() => {
  runs = openHubRuns();
});
afterEach(() => runs.close());

/** As the command does, without a process for each question. */
const askRunning = async (data: string): Promise<HubStatus> => {
  const answer = await askHub(data);
  expect(answer).toMatchObject({ running: true });
  return answer as HubStatus;
};
const ask = async (data: string): Promise<HubStatus> => {
  const { code, stdout, stderr } = await runCli(["status", "--json", "--data", data]);
  expect([code, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout) as HubStatus;
};

test("a running hub tells of its devices; stopped and killed ones are read; nothing secret is told", async () => {
  const data = join(runs.folder, "rowmesh-hub");
  const path = socketPath(data)!;
  const first = await runs.startJson("--port", "0", "--name", "field day");
  expect([statSync(path).isSocket(), statSync(path).mode & 0o777]).toEqual([true, 0o600]);
  const alone = await askRunning(data);
  expect(alone).toMatchObject({ running: true, meshName: "field day", peers: [] });
  expect(alone.peerId).toBe(first.ready.peerId);

  const hubs = first.ready.addresses.filter((address) => /tcp\/\d+\/p2p/.test(address));
  const device = await openMesh({
    name: "device",
    storage: "memory",
    deviceName: "heron\u001b[2J",
    schema: { version: 1, tables: ["CREATE TABLE a (id TEXT PRIMARY KEY NOT NULL) STRICT"] },
    join: inviteLink({ ...parseInviteLink(first.ready.url), hubs }, "http://test/"),
  });
  await device.db.exec("INSERT INTO a VALUES ('a')");
  const isInStep = async (): Promise<boolean> => {
    const { peers, authors } = await askRunning(data);
    const wrote = authors.find(({ siteId: site }) => site === device.siteId)?.version;
    return wrote === 1 && peers[0]?.sameDigest === true;
  };
  await expect.poll(isInStep, { timeout: 60_000 }).toBe(true);
  const { stdout } = await runCli(["status", "--data", data]);
  expect(stdout).toContain('mesh     "field day" ');
  expect(stdout).toContain(`peer     ${first.ready.peerId}, running`);
  expect(stdout).toMatch(/Devices \(1\)\n {2}heron\[2J \(…\w{8}\) {2}device, tcp, good, heard \d/);
  expect(stdout).toContain("in step");
  expect(stdout).toContain(`${device.siteId}  heron[2J, up to version 1`);
  expect(stdout).not.toContain("\u001b");
  const code = /#join=(.*)/.exec(first.ready.url)?.[1] ?? "";
  expect(code.length).toBeGreaterThan(100);
  expect(JSON.stringify(await askRunning(data))).not.toContain(code.slice(0, 60));
  await device.close();

  await stop(first.hub, "SIGTERM");
  expect(existsSync(path)).toBe(false);
  const stopped = await ask(data);
  expect(stopped).toMatchObject({ running: false, meshName: "field day", peers: [] });
  expect(stopped.authors.map(({ version }) => version)).toEqual(expect.arrayContaining([0, 1]));

  const second = await runs.startJson("--port", "0");
  await stop(second.hub, "SIGKILL");
  expect(existsSync(path)).toBe(true);
  expect(await askHub(data)).toBeNull();
  await runs.startJson("--port", "0");
  await askRunning(data);
});

test("--watch prints again when something changed, and says when the hub went", async () => {
  const data = join(runs.folder, "rowmesh-hub");
  const { hub } = await runs.startJson("--port", "0");
  const watch = startCli(["status", "--watch", "--json", "--data", data]);
  expect(JSON.parse(await watch.line(/"running":true/))).toMatchObject({ peers: [] });
  await stop(hub, "SIGTERM");
  await watch.line(/"running":false/);
  watch.child.kill("SIGKILL");
  const { stdout } = await watch.ended;
  expect(stdout.trimEnd().split("\n")).toHaveLength(2);
});

test("who only connects, or sends, or goes at once, keeps nobody from asking", async () => {
  const data = join(runs.folder, "rowmesh-hub");
  await runs.startJson("--port", "0");
  const path = socketPath(data)!;
  const sockets = Array.from({ length: 7 }, () => connect(path));
  for (const socket of sockets) {
    socket.on("error", () => undefined);
    socket.write("GET / HTTP/1.1\r\n\r\n".repeat(1_000));
    socket.pause();
  }
  connect(path).destroy();
  expect((await askRunning(data)).peers).toEqual([]);
  for (const socket of sockets) socket.destroy();
});

test("a path too long for a socket is said at the start, and status says why it has nothing", async () => {
  const data = join(runs.folder, "long".repeat(30));
  mkdirSync(data);
  expect(socketPath(data)).toBeNull();
  const { hub } = await runs.startJson("--port", "0", "--data", data);
  const running = await runCli(["status", "--data", data]);
  expect([running.code, running.stdout]).toEqual([1, ""]);
  expect(running.stderr).toContain("is running and has no control socket");
  expect((await stop(hub, "SIGTERM")).stderr).toMatch(
    /no control socket in .*longer than 103 bytes/,
  );
});

const HERON = siteId("01".repeat(16));
const OWL = siteId("02".repeat(16));
const PEER = "12D3KooWNwyM8XGRL4Qa8s1WbNqPrKB3gNVeTXbHNPKzPgCgkBhV";

const STATUS: HubStatus = {
  running: true,
  peerId: "self",
  meshName: "field",
  pages: [],
  addresses: [],
  meshId: meshId("ab".repeat(32)),
  online: true,
  storage: {
    kind: "directory",
    durable: true,
    persisted: null,
    usageBytes: null,
    quotaBytes: null,
    eviction: "Kept until somebody deletes it.",
  },
  tab: { role: "alone" },
  platform: { secureContext: null, lacks: [] },
  queues: { intakeBytes: 0, unsentBytes: 2_500, unhandledBytes: 0 },
  digest: "d",
  peers: [
    {
      peerId: PEER,
      name: "heron",
      role: "device",
      link: "webrtc-direct",
      lastHeardMs: 1_900,
      roundTripMs: 2.4,
      quality: "slow",
      weLack: 0,
      itLacks: 5,
      lacks: [
        { siteId: OWL, name: "owl", weLack: 0, itLacks: 4 },
        { siteId: HERON, name: null, weLack: 0, itLacks: 1 },
      ],
      sameDigest: false,
      linkedTo: [PEER, "unknown-peer"],
      queue: { unsentBytes: 2_500, unhandledBytes: 0 },
    },
  ],
  authors: [
    { siteId: HERON, name: null, local: true, version: 0, lastWroteMs: null },
    { siteId: OWL, name: "owl", local: false, version: 7, lastWroteMs: 0 },
  ],
  waiting: { held: 2, parked: 1, reason: "Upgrade the app.", newerSchemas: [] },
  incoming: [{ siteId: OWL, version: 8, bytes: 1_000_000, totalBytes: 64_000_000 }],
  missing: 3,
  unsent: 0,
  converged: false,
  refusals: [{ code: "ERR_LIMIT", count: 4, remedy: "Split it." }],
  forks: [{ siteId: OWL, version: 3, headers: [] }],
  newKeys: [],
  notices: ["3 changes of others are still on the way."],
};

test("the report for people", () => {
  expect(statusReport(STATUS)).toEqual([
    `mesh     "field" ${"ab".repeat(32)}`,
    "peer     self, running",
    "digest   d",
    "storage  directory. Kept until somebody deletes it.",
    "waiting  3: Upgrade the app.",
    "missing  3",
    "queues   0 B to store, 2.5 kB to send, 0 B to read",
    "",
    "Devices (1)",
    `  heron (…PgCgkBhV)  device, webrtc-direct, slow, heard 2 s ago, round trip 2 ms, 2.5 kB unsent
      it lacks 5: 4 by owl, 1 by 010101010101…
      linked to heron, …own-peer`,
    "",
    "Authors (1)",
    `  ${OWL}  owl, up to version 7, wrote 1970-01-01 00:00`,
    "",
    "Large changes on their way (1)",
    "  owl: 1.0 MB of 64.0 MB",
    "",
    "Forks (1)",
    "  owl at version 3: claimed by a peer",
    "",
    "Refused (1)",
    "  4 × ERR_LIMIT: Split it.",
    "",
    "To know, and to do (1)",
    "  3 changes of others are still on the way.",
  ]);
});

test("a long list is cut, and sizes are read at a glance", () => {
  const authors = Array.from({ length: 100 }, () => STATUS.authors[1]!);
  const lines = statusReport({ ...STATUS, authors });
  expect(lines.filter((line) => line.includes("up to version 7"))).toHaveLength(40);
  expect(lines).toContain("  and 60 more");
  expect([0, 999, 1_000, 2_500_000].map(sizeOf)).toEqual(["0 B", "999 B", "1.0 kB", "2.5 MB"]);
});
