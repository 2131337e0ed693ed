/** What runs on the hosts of the LAN: a hub, and browsers with the lab's page. */
import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { type BrowserContext, type CDPSession, chromium, type Page } from "playwright-core";
import type { MeshStatus } from "../../src/node/api.ts";
import type { LanHost } from "./lan.ts";

const HUB_PORT = 4380;
const START_TIMEOUT_MS = 60_000;
/** What Chromium itself looks for, whatever page it shows: not the lab's matter. */
const CHROMIUM_CALLS_HOME = ["accounts.google.com", "update.googleapis.com"];
/** Killed processes may still be writing their last. */
const REMOVE = { recursive: true, force: true, maxRetries: 10, retryDelay: 100 };

export interface Hub {
  readonly host: LanHost;
  readonly peerId: () => string;
  readonly url: () => string;
  /** Under the same identity: its directory is kept. */
  readonly start: () => Promise<void>;
  readonly kill: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/** Not started yet. `site`: the folder to serve. */
export function createHub(host: LanHost, site: string): Hub {
  const data = openFolder("hub");
  let peerId = "";
  let ended: Promise<void> = Promise.resolve();
  const kill = async (): Promise<void> => {
    host.signal("SIGKILL");
    await ended;
  };
  return {
    host,
    peerId: () => peerId,
    url: () => `http://${host.address()}:${HUB_PORT}/`,
    start: async () => {
      const [command, ...args] = host.command(
        process.execPath,
        "dist/cli/main.js",
        "hub",
        "--json",
        `--name=LAN lab`,
        `--port=${HUB_PORT}`,
        `--data=${data.path}`,
        `--site=${site}`,
      );
      const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
      ended = new Promise((resolve) => {
        child.once("exit", () => resolve());
        child.once("error", () => resolve());
      });
      ({ peerId } = await firstLine(child.stdout, ended));
    },
    kill,
    close: async () => {
      await kill();
      data.remove();
    },
  };
}

interface Folder {
  readonly path: string;
  readonly remove: () => void;
}

const folders = new Set<Folder>();
process.once("exit", () => {
  for (const { remove } of folders) remove();
});

/** Ends at the latest with this process. */
function openFolder(purpose: string): Folder {
  const path = mkdtempSync(join(tmpdir(), `rowmesh-lan-lab-${purpose}-`));
  const folder: Folder = {
    path,
    remove: () => {
      folders.delete(folder);
      rmSync(path, REMOVE);
    },
  };
  folders.add(folder);
  return folder;
}

async function firstLine(
  stdout: NodeJS.ReadableStream,
  ended: Promise<void>,
): Promise<{ readonly peerId: string }> {
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: stdout }).once("line", resolve);
    void ended.then(() => reject(new Error("the hub ended before it was ready")));
  });
  return JSON.parse(line) as { readonly peerId: string };
}

export interface LabBrowser {
  readonly host: LanHost;
  readonly name: string;
  readonly peerId: () => string;
  readonly page: () => Page;
  /** Errors that nobody caught in the page. */
  readonly problems: readonly string[];
  /** Loads the page anew, in a new tab if the last one is gone. */
  readonly open: (url: string) => Promise<void>;
  /** The DevTools protocol of the page. */
  readonly devTools: () => Promise<CDPSession>;
  readonly write: (notes: number) => Promise<void>;
  readonly writeBulk: (notes: number, chars: number) => Promise<void>;
  readonly count: () => Promise<{ readonly single: number; readonly all: number }>;
  readonly status: () => Promise<MeshStatus>;
  readonly stateHash: () => Promise<string>;
  readonly close: () => Promise<void>;
}

/** A Chromium process of its own on this host, with no page yet. */
export async function startBrowser(
  host: LanHost,
  name: string,
  executable: string,
): Promise<LabBrowser> {
  const folder = openFolder("browser");
  const context = await launchOn(host, executable, folder.path);
  const problems: string[] = [];
  let page = context.pages()[0] ?? (await context.newPage());
  let peerId = "";

  async function open(url: string): Promise<void> {
    if (page.isClosed() || page.url() !== "about:blank") page = await renewed(context, page);
    page.on("pageerror", ({ message }) => problems.push(`${name}: ${message}`));
    page.setDefaultTimeout(START_TIMEOUT_MS);
    await page.goto(`${url}?name=${name}`);
    await page.waitForFunction(() => globalThis.lab !== undefined);
    peerId = await page.evaluate(() => globalThis.lab!.mesh.peerId);
  }

  return {
    host,
    name,
    peerId: () => peerId,
    page: () => page,
    problems,
    open,
    devTools: () => context.newCDPSession(page),
    write: (notes) => page.evaluate((given) => globalThis.lab!.write(given), notes),
    writeBulk: (notes, chars) =>
      page.evaluate(([n, length]) => globalThis.lab!.writeBulk(n, length), [notes, chars] as const),
    count: () => page.evaluate(() => globalThis.lab!.count()),
    status: () => page.evaluate(() => globalThis.lab!.mesh.status()),
    stateHash: () => page.evaluate(() => globalThis.lab!.mesh.stateHash()),
    close: async () => {
      host.signal("SIGCONT");
      host.signal("SIGKILL");
      await context.close().catch(() => undefined);
      folder.remove();
    },
  };
}

/** The new tab first: a browser without any tab ends. */
async function renewed(context: BrowserContext, old: Page): Promise<Page> {
  const page = await context.newPage();
  await old.close().catch(() => undefined);
  return page;
}

/** Playwright starts one executable: a script that goes to the host first. */
async function launchOn(
  host: LanHost,
  executable: string,
  folder: string,
): Promise<BrowserContext> {
  const script = join(folder, "chromium");
  writeFileSync(script, `#!/bin/sh\nexec ${host.command(executable).join(" ")} "$@"\n`);
  chmodSync(script, 0o755);
  return chromium.launchPersistentContext(join(folder, "profile"), {
    executablePath: script,
    headless: true,
    timeout: START_TIMEOUT_MS,
    chromiumSandbox: false,
    args: [
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      `--host-resolver-rules=${CHROMIUM_CALLS_HOME.map((name) => `MAP ${name} ~NOTFOUND`).join(",")}`,
    ],
  });
}
