/** Hubs alone on a LAN: they find each other by multicast, and the doctor sees what is wrong. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createHub, doctorOn, type Hub } from "./hosts.ts";
import { hubsLinked, linkWithDeadAddress } from "./hub-scenarios.ts";
import { type Lan, type LanHost, openLan, whyNoLan } from "./lan.ts";

const TIMEOUT_MS = 120_000;
const reason = whyNoLan();
if (reason !== null) process.stderr.write(`hubs on a LAN are skipped: ${reason}\n`);

/** What a Node program on this host is linked with, once it has two links. */
async function linksOfProgram(host: LanHost, link: string): Promise<readonly string[]> {
  const program = `
    await import("./dist/cli/node20-polyfills.js");
    const { openMesh } = await import("./dist/index.js");
    const mesh = await openMesh({ name: "program", storage: "memory", join: process.argv[1] });
    mesh.onStatus(({ peers }) => {
      const linked = peers.filter(({ link }) => link !== "none");
      if (linked.length < 2) return;
      process.stdout.write(JSON.stringify(linked.map(({ peerId, link }) => peerId + " " + link)));
      process.exit();
    });`;
  const [command, ...args] = host.command(
    process.execPath,
    "--input-type=module",
    "--eval",
    program,
    "--",
    link,
  );
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"], timeout: TIMEOUT_MS });
  let text = "";
  for await (const chunk of child.stdout) text += String(chunk);
  return (JSON.parse(text) as string[]).sort();
}

describe.skipIf(reason !== null)("two hubs on a LAN", () => {
  let lan: Lan;
  let site: string;
  const hubs: Hub[] = [];
  beforeAll(() => {
    lan = openLan();
    site = mkdtempSync(join(tmpdir(), "rowmesh-site-"));
    writeFileSync(join(site, "index.html"), "<!doctype html><title>site</title>");
  });
  afterAll(async () => {
    await Promise.all(hubs.map(({ close }) => close()));
    lan?.close();
    rmSync(site, { recursive: true, force: true });
  });

  test(
    "a dead address in the link, and they find each other; each names the other; the doctor agrees",
    async () => {
      const first = createHub(lan.addHost("hub"), site);
      hubs.push(first);
      await first.start();
      const link = linkWithDeadAddress(first.joinLink(), first.peerId());
      const second = createHub(lan.addHost("hub2"), site, link);
      hubs.push(second);
      await second.start();
      await hubsLinked(second, first);
      expect(await linksOfProgram(lan.addHost("program"), link)).toEqual(
        [first, second].map((hub) => `${hub.peerId()} tcp`).sort(),
      );
      const healthy = await doctorOn(second.host, first.url());
      const names =
        "node webrtc address multicast page clock mesh webrtc-direct websocket tcp name";
      expect(healthy).toEqual(Object.fromEntries(names.split(" ").map((name) => [name, "ok"])));
      lan.blockMulticast();
      const without = await doctorOn(second.host, first.url());
      expect([without["name"], without["multicast"], without["tcp"]]).toEqual(["warn", "ok", "ok"]);
      await first.kill();
      const gone = await doctorOn(second.host, first.url());
      expect(gone["page"]).toBe("fail");
      expect(lan.outside()).toEqual({ packets: 0, destinations: [] });
    },
    TIMEOUT_MS,
  );
});
