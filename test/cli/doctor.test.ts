/**
 * `rowmesh doctor`: what it finds, and that it says what to do. As a process it is run against hubs
 * on loopback only, where it asks nothing of the network; the LAN lab runs it on a LAN.
 */
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { type NetworkInterfaceInfo, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Check, checkLine } from "../../src/cli/check.ts";
import { askHub } from "../../src/cli/control-socket.ts";
import { checkDataDirectory, checkNode } from "../../src/cli/machine-checks.ts";
import { checkAddresses, checkPorts } from "../../src/cli/network-checks.ts";
import { openSiteServer } from "../../src/cli/site-server.ts";
import type { HubStatus } from "../../src/cli/status-report.ts";
import { createWebrtcCertificate } from "../../src/node/webrtc-certificate.ts";
import { inviteLink, parseInviteLink } from "../../src/protocol/genesis.ts";
import { type HubRuns, openHubRuns, stop } from "./hub-runs.ts";
import { runCli } from "./run-cli.ts";

vi.setConfig({ testTimeout: 120_000 });

interface Diagnosis {
  readonly healthy: boolean;
  readonly checks: readonly Check[];
}

async function diagnose(...args: string[]): Promise<Diagnosis> {
  const { code, stdout, stderr } = await runCli(["doctor", "--json", ...args]);
  expect(stderr).toBe("");
  const diagnosis = JSON.parse(stdout) as Diagnosis;
  expect(code).toBe(diagnosis.healthy ? 0 : 1);
  return diagnosis;
}

const verdicts = ({ checks }: Pick<Diagnosis, "checks">): readonly string[] =>
  checks.map(({ name, verdict }) => `${name} ${verdict}`);

const DIALS = ["webrtc-direct ok", "websocket ok", "tcp ok"];

describe("a hub", () => {
  let runs: HubRuns;
  beforeEach(() => {
    runs = openHubRuns();
  });
  afterEach(() => runs.close());

  test("that runs here, and by its URL; it notices nothing; and one that is gone", async () => {
    const { hub, ready } = await runs.startJson("--port", "0", "--name", "field day", "--https");
    const data = join(runs.folder, "rowmesh-hub");
    const before = (await askHub(data)) as HubStatus;
    const here = await diagnose("--data", data);
    expect(verdicts(here)).toEqual([
      "node ok",
      "webrtc ok",
      "data ok",
      "writing ok",
      "space ok",
      "certificate ok",
      "authority ok",
      "mesh ok",
      "clock ok",
      "reach warn",
      "page ok",
      "https ok",
      ...DIALS,
    ]);
    const page = ready.url.replace(/#.*/, "");
    const there = await diagnose(page);
    expect(verdicts(there)).toEqual([
      "node ok",
      "webrtc ok",
      "page ok",
      "clock ok",
      "mesh ok",
      ...DIALS,
    ]);
    expect(there.checks.find(({ name }) => name === "mesh")?.says).toBe('"field day"');
    const after = (await askHub(data)) as HubStatus;
    expect([after.peers, after.refusals, after.digest]).toEqual([[], [], before.digest]);

    await stop(hub, "SIGKILL");
    const gone = await diagnose(page);
    expect(gone).toMatchObject({ healthy: false });
    expect(gone.checks.at(-1)).toMatchObject({
      name: "page",
      verdict: "fail",
      says: expect.stringContaining("ECONNREFUSED"),
      remedy: "Look whether it runs, or pass its join link.",
    });
  });

  test("whose page answers and whose other doors do not", async () => {
    const { hub, ready } = await runs.startJson("--port", "0");
    await stop(hub, "SIGTERM");
    const joinUrl = inviteLink(parseInviteLink(ready.url), "http://127.0.0.1/");
    const server = await openSiteServer({
      port: 0,
      host: "127.0.0.1",
      site: null,
      tls: null,
      trust: null,
      describe: async () => ({ joinUrl }),
    });
    const { code, stdout } = await runCli(["doctor", `http://127.0.0.1:${server.port}/`]);
    await server.close();
    expect(code).toBe(1);
    for (const door of ["webrtc-direct", "websocket", "tcp"]) {
      expect(stdout).toMatch(
        new RegExp(
          `^fail +${door} +127.0.0.1, \\d+/(tc|ud)p does not answer \\(.+\\)\\. Allow \\d+`,
          "m",
        ),
      );
    }
  });
});

describe("the machine", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "rowmesh-doctor-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const NOW_MS = Date.UTC(2026, 0, 1);
  const inDirectory = async (nowMs: number = NOW_MS): Promise<Record<string, Check>> => {
    const checks = await checkDataDirectory(folder, nowMs);
    return Object.fromEntries(checks.map((check) => [check.name, check]));
  };

  test("Node's version", () => {
    const versions = ["20.18.9", "18.99.0", "20.19.0", "22.1.0"];
    expect(versions.map((version) => checkNode(version).verdict)).toEqual([
      "fail",
      "fail",
      "ok",
      "ok",
    ]);
  });

  test("a data directory: its owner's only, certificates that hold, nothing left behind", async () => {
    chmodSync(folder, 0o755);
    expect((await inDirectory())["data"]).toMatchObject({
      verdict: "warn",
      remedy: "chmod 700 it.",
    });
    chmodSync(folder, 0o700);
    const file = join(folder, "certificate.json");
    const keep = async (madeMs: number): Promise<void> =>
      writeFileSync(file, JSON.stringify(await createWebrtcCertificate(new Uint8Array(8), madeMs)));
    await keep(NOW_MS);
    const sound = await inDirectory();
    expect(Object.values(sound).map(({ verdict }) => verdict)).toEqual(["ok", "ok", "ok", "ok"]);
    await keep(Date.UTC(2000, 0, 1));
    expect((await inDirectory())["certificate"]).toMatchObject({ verdict: "fail" });
    await keep(Date.UTC(2026, 6, 1));
    expect((await inDirectory())["certificate"]).toMatchObject({
      says: "valid from 2026-06-30 on, and this machine says it is 2026-01-01",
      remedy: "Set the clock.",
    });
    writeFileSync(file, "{}");
    expect((await inDirectory())["certificate"]).toMatchObject({
      says: `${file} is damaged`,
      remedy: expect.stringContaining("Restore it, or delete it"),
    });
    expect(readdirSync(folder)).toEqual(["certificate.json"]);
  });

  test("a data directory that is not there, and one that nobody can write", async () => {
    const checks = await checkDataDirectory(join(folder, "a/b"), NOW_MS);
    expect(checks.map(({ name, verdict }) => `${name} ${verdict}`)).toEqual([
      "data ok",
      "writing ok",
      "space ok",
    ]);
    expect(readdirSync(folder)).toEqual([]);
    const file = join(folder, "file");
    writeFileSync(file, "");
    const broken = await checkDataDirectory(file, NOW_MS);
    expect(broken.find(({ name }) => name === "writing")).toMatchObject({ verdict: "fail" });
  });
});

const info = (address: string, internal = false): NetworkInterfaceInfo => ({
  address,
  internal,
  family: "IPv4",
  netmask: "",
  mac: "",
  cidr: null,
});

test("addresses: none, only its own, and a VPN", () => {
  const lo = [info("127.0.0.1", true)];
  expect(verdicts({ checks: checkAddresses({ lo }) })).toEqual(["address fail"]);
  expect(verdicts({ checks: checkAddresses({ lo, eth0: [info("169.254.1.2")] }) })).toEqual([
    "address warn",
  ]);
  const both = { lo, eth0: [info("192.168.1.5")], tun0: [info("10.8.0.2")] };
  expect(verdicts({ checks: checkAddresses(both) })).toEqual(["address ok", "vpn warn"]);
});

test("ports that are another's", async () => {
  const blocker = createServer();
  await new Promise<void>((resolve) => {
    blocker.listen(0, "127.0.0.1", resolve);
  });
  const address = blocker.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const free = { http: 0, webrtc: 0, websocket: 0, tcp: 0, https: null };
  expect(await checkPorts("127.0.0.1", free)).toMatchObject({ verdict: "ok" });
  expect(await checkPorts("127.0.0.1", { ...free, tcp: port })).toMatchObject({
    verdict: "fail",
    says: expect.stringContaining("EADDRINUSE"),
  });
  await new Promise((resolve) => blocker.close(resolve));
});

test("a check is one line", () => {
  const check: Check = { name: "space", verdict: "warn", says: "1 MB free", remedy: "Free some." };
  expect(checkLine(check)).toBe("warn  space           1 MB free. Free some.");
  expect(checkLine({ ...check, verdict: "ok", remedy: null })).toBe(
    "ok    space           1 MB free",
  );
});
