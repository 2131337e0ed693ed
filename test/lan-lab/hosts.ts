/** What runs on the hosts of the LAN: a hub, and browsers with the lab's page. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash, randomBytes, X509Certificate } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { type BrowserContext, type CDPSession, chromium, type Page } from "playwright-core";
import type { Check } from "../../src/cli/check.ts";
import { askHub } from "../../src/cli/control-socket.ts";
import type { HubStatus } from "../../src/cli/status-report.ts";
import type { MeshStatus } from "../../src/node/api.ts";
import type { LocalAuthority } from "../../src/cli/local-authority.ts";
import type { TlsCertificate } from "../../src/cli/site-server.ts";
import { createWebrtcCertificate } from "../../src/node/webrtc-certificate.ts";
import type { LanHost, SiteHost } from "./lan.ts";

const HUB_PORT = 4380;
const HUB_HTTPS_PORT = 4383;
const START_TIMEOUT_MS = 60_000;
/**
 * What Chromium itself looks for, whatever page it shows, the last one where a certificate is
 * refused: not the lab's matter.
 */
const CHROMIUM_CALLS_HOME = [
  "accounts.google.com",
  "update.googleapis.com",
  "connectivitycheck.gstatic.com",
];
/** Killed processes may still be writing their last. */
const REMOVE = { recursive: true, force: true, maxRetries: 10, retryDelay: 100 };

export interface Hub {
  readonly host: LanHost;
  readonly peerId: () => string;
  readonly url: () => string;
  readonly secureUrl: () => string;
  /** For a browser on its own host. */
  readonly localUrl: string;
  readonly webSocketUrl: () => string;
  readonly secureWebSocketUrl: () => string;
  /** For apps that were loaded elsewhere. */
  readonly joinLink: () => string;
  /** The root of its authority, DER, as its page hands it out. */
  readonly authority: () => Buffer;
  /** As somebody would have it who took the hub's disk. */
  readonly stolenAuthority: () => LocalAuthority;
  /** Whether its https page answers, to somebody on its own host who trusts the authority. */
  readonly answersSecurely: () => boolean;
  /** As its control socket says. */
  readonly status: () => Promise<HubStatus>;
  /** Under the same identity: its directory is kept. */
  readonly start: () => Promise<void>;
  readonly kill: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/** Not started yet. `site`: the folder to serve; `joins`: a join link, or the page of another hub. */
export function createHub(host: LanHost, site: string, joins: string | null = null): Hub {
  const data = openFolder("hub");
  let ready: HubReady = { peerId: "", url: "", trust: { sha256: "" } };
  let ended: Promise<void> = Promise.resolve();
  const kill = async (): Promise<void> => {
    host.signal("SIGKILL");
    await ended;
  };
  return {
    host,
    peerId: () => ready.peerId,
    url: () => `http://${host.address()}:${HUB_PORT}/`,
    secureUrl: () => `https://${host.address()}:${HUB_HTTPS_PORT}/`,
    localUrl: `http://localhost:${HUB_PORT}/`,
    webSocketUrl: () => `ws://${host.address()}:${HUB_PORT + 1}/`,
    secureWebSocketUrl: () => `wss://${host.address()}:${HUB_HTTPS_PORT}/`,
    joinLink: () => ready.url,
    authority: () => downloadAuthority(host, ready),
    stolenAuthority: () =>
      JSON.parse(readFileSync(join(data.path, "authority.json"), "utf8")) as LocalAuthority,
    answersSecurely: () => {
      const url = `https://${host.address()}:${HUB_HTTPS_PORT}/rowmesh.json`;
      const root = join(data.path, "lab-root.pem");
      writeFileSync(root, new X509Certificate(downloadAuthority(host, ready)).toString());
      const code = "fetch(process.argv[1]).then((r) => process.exit(r.ok ? 0 : 1))";
      const [command, ...args] = host.command(process.execPath, "-e", code, url);
      const env = { ...process.env, NODE_EXTRA_CA_CERTS: root };
      return spawnSync(command, args, { env, stdio: "ignore" }).status === 0;
    },
    status: async () => (await askHub(data.path)) as HubStatus,
    start: async () => {
      const [command, ...args] = host.command(
        process.execPath,
        "dist/cli/main.js",
        "hub",
        "--json",
        "--https",
        `--name=LAN lab`,
        `--port=${HUB_PORT}`,
        `--data=${data.path}`,
        `--site=${site}`,
        ...(joins === null ? [] : [`--join=${joins}`]),
      );
      const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
      ended = new Promise((resolve) => {
        child.once("exit", () => resolve());
        child.once("error", () => resolve());
      });
      ready = JSON.parse(await firstLine(child.stdout, ended, "the hub")) as HubReady;
    },
    kill,
    close: async () => {
      await kill();
      data.remove();
    },
  };
}

/** What `rowmesh doctor` finds on this host, by name; a name that is there twice has its worst. */
export async function doctorOn(
  host: LanHost,
  ...args: readonly string[]
): Promise<Readonly<Record<string, Check["verdict"]>>> {
  const [command, ...rest] = host.command(
    process.execPath,
    "dist/cli/main.js",
    "doctor",
    "--json",
    ...args,
  );
  const child = spawn(command, rest, { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  for await (const chunk of child.stdout) text += String(chunk);
  const { checks } = JSON.parse(text) as { readonly checks: readonly Check[] };
  const worstFirst = ["fail", "warn", "ok"] as const;
  return Object.fromEntries(
    checks.map(({ name }) => {
      const verdicts = new Set(checks.filter((each) => each.name === name).map((c) => c.verdict));
      return [name, worstFirst.find((verdict) => verdicts.has(verdict)) ?? "ok"];
    }),
  );
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

/** The line that `--json` prints. */
interface HubReady {
  readonly peerId: string;
  readonly url: string;
  readonly trust: { readonly sha256: string };
}

function downloadAuthority(host: LanHost, { trust }: HubReady): Buffer {
  const url = `http://${host.address()}:${HUB_PORT}/rowmesh-authority.crt`;
  const code = `fetch(${JSON.stringify(url)}).then((r) => r.arrayBuffer()).then((b) => process.stdout.write(Buffer.from(b)))`;
  const [command, ...args] = host.command(process.execPath, "-e", code);
  const bytes = execFileSync(command, args);
  if (new X509Certificate(bytes).fingerprint256 !== trust.sha256) {
    throw new Error("the page hands out another certificate than the hub printed");
  }
  return bytes;
}

async function firstLine(
  stdout: NodeJS.ReadableStream,
  ended: Promise<void>,
  who: string,
): Promise<string> {
  return new Promise((resolve, reject) => {
    createInterface({ input: stdout }).once("line", resolve);
    void ended.then(() => reject(new Error(`${who} ended before it was ready`)));
  });
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

export interface BrowserOptions {
  /** The path of Chromium. */
  readonly executable: string;
  /** The root of an authority that it trusts, DER; null: none besides its own. */
  readonly trusts: Buffer | null;
  readonly args: readonly string[];
}

/** A Chromium process of its own on this host, with no page yet. */
export async function startBrowser(
  host: LanHost,
  name: string,
  options: BrowserOptions,
): Promise<LabBrowser> {
  const folder = openFolder("browser");
  const context = await launchOn(host, options, folder.path);
  const problems: string[] = [];
  let page = context.pages()[0] ?? (await context.newPage());
  let peerId = "";

  async function open(url: string): Promise<void> {
    if (page.isClosed() || page.url() !== "about:blank") page = await renewed(context, page);
    page.on("pageerror", ({ message }) => problems.push(`${name}: ${message}`));
    page.setDefaultTimeout(START_TIMEOUT_MS);
    const address = new URL(url);
    address.searchParams.set("name", name);
    await page.goto(address.href);
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
  { executable, trusts, args }: BrowserOptions,
  folder: string,
): Promise<BrowserContext> {
  const script = join(folder, "chromium");
  const home = trusts === null ? "" : `export HOME=${trustingHome(folder, trusts)}\n`;
  writeFileSync(script, `#!/bin/sh\n${home}exec ${host.command(executable).join(" ")} "$@"\n`);
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
      ...args,
      `--host-resolver-rules=${CHROMIUM_CALLS_HOME.map((name) => `MAP ${name} ~NOTFOUND`).join(",")}`,
    ],
  });
}

/** Why no browser can be made to trust an authority here; null: it can. */
export const whyNoTrust = (): string | null =>
  spawnSync("certutil", ["-H"]).error === undefined
    ? null
    : "certutil is missing (apt-get install libnss3-tools)";

/** A home folder whose NSS database, which Chromium reads, has this root. @returns its path */
function trustingHome(folder: string, root: Buffer): string {
  const home = join(folder, "home");
  const database = join(home, ".pki/nssdb");
  mkdirSync(database, { recursive: true });
  const file = join(folder, "root.crt");
  writeFileSync(file, root);
  const certutil = (...args: readonly string[]): void => {
    execFileSync("certutil", ["-d", `sql:${database}`, ...args]);
  };
  certutil("-N", "--empty-password");
  certutil("-A", "-t", "C,,", "-n", "rowmesh", "-i", file);
  return home;
}

export interface PublicSite {
  /** Ends with a slash. */
  readonly origin: string;
  /** Nobody answers there any more. */
  readonly close: () => void;
}

/** Serves the folder over https from this host, which is none of the LAN. */
export async function servePublicSite(
  host: SiteHost,
  site: string,
  { key, cert }: TlsCertificate,
): Promise<PublicSite> {
  const folder = openFolder("site");
  const paths = [join(folder.path, "key.pem"), join(folder.path, "cert.pem")] as const;
  writeFileSync(paths[0], key);
  writeFileSync(paths[1], cert);
  const script = ["test/lan-lab/public-site.mjs", site, ...paths, "443"];
  const [command, ...args] = host.command(process.execPath, ...script);
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  await firstLine(child.stdout, ended, "the site");
  return { origin: `https://${host.address()}/`, close: () => child.kill("SIGKILL") };
}

export interface AcceptedCertificate {
  readonly tls: TlsCertificate;
  /** Makes a browser accept it, as it would one of a public authority. */
  readonly browserArgs: readonly string[];
}

export async function createAcceptedCertificate(): Promise<AcceptedCertificate> {
  const { privateKey, pem } = await createWebrtcCertificate(randomBytes(8), Date.now());
  const spki = new X509Certificate(pem).publicKey.export({ type: "spki", format: "der" });
  const hash = createHash("sha256").update(spki).digest("base64");
  return {
    tls: { key: privateKey, cert: pem },
    browserArgs: [`--ignore-certificate-errors-spki-list=${hash}`],
  };
}
