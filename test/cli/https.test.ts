/** The hub's own authority, what it may vouch for, and the hub's page over https. */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { once } from "node:events";
import { request } from "node:https";
import { type AddressInfo, connect as connectPlain, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { loadOrCreateAuthority } from "../../src/cli/authority-file.ts";
import { createRenewal } from "../../src/cli/https-site.ts";
import { parseHubOptions } from "../../src/cli/hub-options.ts";
import {
  certificateHosts,
  createAuthority,
  fingerprintOf,
  isOutdated,
  isWhole,
  issueCertificate,
  type LocalAuthority,
  rootName,
  type ServerCertificate,
} from "../../src/cli/local-authority.ts";
import { openSiteServer, type SiteServer } from "../../src/cli/site-server.ts";
import { createTrustPages } from "../../src/cli/trust-page.ts";
import { parseInviteLink } from "../../src/protocol/genesis.ts";
import { type Running, startCli } from "./run-cli.ts";

const HOST = "127.0.0.1";
const DAY_MS = 86_400_000;
const nowMs = Date.now();
const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;
if (!hasOpenssl) process.stderr.write("no openssl: its checks of certificates are skipped\n");

let folder: string;
let authority: LocalAuthority;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "rowmesh-https-"));
  authority = await createAuthority("field day", "hub.example.org", nowMs);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const issue = (...hosts: readonly string[]): Promise<ServerCertificate> =>
  issueCertificate(authority, hosts, nowMs);

const GOOD = ["192.168.1.5", "10.0.0.1", "fd00::5", "field.local", "pi.lan", "localhost"];
const PUBLIC = ["8.8.8.8", "2001:4860:4860::8888", "172.32.0.1", "bank.example", "local.example"];

/** As strictly as it can. @returns what is wrong; "" when it accepts the chain */
const verify = ({ cert }: ServerCertificate, trusted: readonly string[]): string => {
  for (const [name, text] of Object.entries({ ...authority, leaf: cert })) {
    writeFileSync(join(folder, `${name}.pem`), text ?? "");
  }
  const args = ["verify", "-x509_strict", "-purpose", "sslserver", ...trusted, "leaf.pem"];
  return spawnSync("openssl", args, { cwd: folder, encoding: "utf8" }).stderr;
};

describe.skipIf(!hasOpenssl)("openssl", () => {
  const ROOT = ["-CAfile", "root.pem", "-untrusted", "intermediate.pem"];
  /** For those who do not look at a root's constraints: the intermediate has them too. */
  const INTERMEDIATE = ["-partial_chain", "-trusted", "intermediate.pem"];

  test.each([...GOOD, "hub.example.org"])("accepts a certificate for %s", async (host) => {
    expect(verify(await issue(host), ROOT)).toBe("");
  });

  test.each([...PUBLIC, "example.org"])("refuses one for %s", async (host) => {
    const certificate = await issue(host);
    expect(verify(certificate, ROOT)).toMatch(/permitted subtree violation/);
    expect(verify(certificate, INTERMEDIATE)).toMatch(/permitted subtree violation/);
  });

  test("knows the authority as one for servers only, that can make no other authority", () => {
    writeFileSync(join(folder, "root.pem"), authority.root);
    writeFileSync(join(folder, "intermediate.pem"), authority.intermediate);
    const text = (name: string): string =>
      execFileSync("openssl", ["x509", "-in", name, "-noout", "-text"], {
        cwd: folder,
        encoding: "utf8",
      }).replace(/\s+/g, " ");
    expect(text("root.pem")).toContain("Subject: CN = field day (rowmesh hub) ");
    expect(text("root.pem")).toContain("Basic Constraints: critical CA:TRUE, pathlen:1");
    const intermediate = text("intermediate.pem");
    expect(intermediate).toContain("Basic Constraints: critical CA:TRUE, pathlen:0");
    expect(intermediate).toContain("Key Usage: critical Certificate Sign X509v3");
    expect(intermediate).toContain("Name Constraints: critical Permitted: DNS:local ");
    expect(intermediate).toContain("Extended Key Usage: TLS Web Server Authentication ");
  });
});

const days = (certificate: X509Certificate): number =>
  (Date.parse(certificate.validTo) - Date.parse(certificate.validFrom)) / DAY_MS;

test("no browser finds a certificate too long-lived, and all are valid by a slow clock", async () => {
  const server = new X509Certificate((await issue("localhost")).cert);
  expect(days(server)).toBe(397);
  expect(days(new X509Certificate(authority.root))).toBe(3_650);
  for (const pem of [authority.root, authority.intermediate, server.toString()]) {
    expect(Date.parse(new X509Certificate(pem).validFrom)).toBeLessThan(nowMs - DAY_MS + 1);
  }
});

test.each(["#1 hub", "#cafe", 'say "hi" now', "a\\b", "a\\\\b", "x, y+z=1;<q>", "é"])(
  "a hub called %s gets an authority of that name, whole",
  async (name) => {
    const named = await createAuthority(name, "hub", nowMs);
    expect(isWhole(named)).toBe(true);
    expect(rootName(named)).toBe(`${name} (rowmesh hub)`);
    const { cert } = await issueCertificate(named, ["localhost"], nowMs);
    expect(new X509Certificate(cert).checkIssued(new X509Certificate(named.intermediate))).toBe(
      true,
    );
  },
);

test("nothing is made while the clock is wrong", async () => {
  await expect(createAuthority("hub", "hub", 0)).rejects.toThrow(/clock says 1970-01-01.*Set the/);
  await expect(issueCertificate(authority, ["localhost"], 0)).rejects.toThrow(/1970-01-01/);
});

test("it vouches for what the LAN calls the hub, and for no name of the web", async () => {
  const addresses = ["192.168.1.5", "[fd00::5]", "8.8.8.8", "[2001:db8::1]"];
  const loopback = ["127.0.0.1", "::1", "localhost"];
  const own = ["127.0.0.1", "192.168.1.5", "::1", "fd00::5", "localhost"];
  const named = ["pi.home.arpa", "pi.internal", "pi.lan", "pi.local"];
  expect(certificateHosts(authority, addresses, "Pi")).toEqual([...own, ...named]);
  expect(certificateHosts(authority, [], "mac.local")).toEqual([...loopback, "mac.local"]);
  expect(certificateHosts(authority, [], "hub.example.org")).toContain("hub.example.org");
  expect(certificateHosts(authority, [], "another.example.org")).toEqual(loopback);
  expect(certificateHosts(authority, [], "no_name")).toEqual(loopback);
  // `.dev` is a domain of the web: a machine of that name may not sign for all of it.
  const { hostname } = await createAuthority("hub", "dev", nowMs);
  expect(hostname).toBe(null);
});

test("another certificate is due with other addresses, near its end, and when time was set back", async () => {
  const certificate = await issue("10.0.0.1", "localhost");
  const isDue = (afterDays: number, ...hosts: readonly string[]): boolean =>
    isOutdated(certificate, hosts, nowMs + afterDays * DAY_MS);
  expect(isDue(0, "10.0.0.1", "localhost")).toBe(false);
  expect(isDue(0, "10.0.0.2", "localhost")).toBe(true);
  expect(isDue(365, "10.0.0.1", "localhost")).toBe(false);
  expect(isDue(366, "10.0.0.1", "localhost")).toBe(true);
  expect(isDue(-2, "10.0.0.1", "localhost")).toBe(true);
});

test("an authority that ends takes its certificates with it, and says what to do", async () => {
  const old = await createAuthority("hub", "hub", nowMs);
  const late = await issueCertificate(old, ["localhost"], nowMs + 3_600 * DAY_MS);
  expect(new X509Certificate(late.cert).validTo).toBe(new X509Certificate(old.root).validTo);
  expect(isOutdated(late, ["localhost"], nowMs + 3_640 * DAY_MS)).toBe(false);
  const tooLate = issueCertificate(old, ["localhost"], nowMs + 3_650 * DAY_MS);
  await expect(tooLate).rejects.toThrow(/ended on .* Delete authority\.json/);
});

describe("the file", () => {
  test("keeps the authority, readable by its owner only", async () => {
    const load = () => loadOrCreateAuthority(folder, "hub", "pi", Date.now());
    const first = await load();
    expect(await load()).toEqual(first);
    expect(statSync(join(folder, "authority.json")).mode & 0o777).toBe(0o600);
  });

  test("that is damaged, cut or mixed with another's is refused, and stays as it is", async () => {
    const other = await createAuthority("other", "pi", nowMs);
    const path = join(folder, "authority.json");
    const { root, intermediate, privateKey } = authority;
    const damaged = [
      "",
      "{}",
      JSON.stringify(authority).slice(0, -10),
      JSON.stringify({ ...authority, root: root.replace("MII", "MIJ") }),
      JSON.stringify({ ...authority, root: other.root }),
      JSON.stringify({ ...authority, intermediate: other.intermediate }),
      JSON.stringify({ ...authority, privateKey: other.privateKey }),
      JSON.stringify({ ...authority, hostname: 1 }),
      JSON.stringify({ root, intermediate, privateKey }),
    ];
    for (const text of damaged) {
      writeFileSync(path, text);
      const load = loadOrCreateAuthority(folder, "hub", "pi", nowMs);
      await expect(load).rejects.toThrow(/authority\.json is damaged\. Restore it, or delete/);
      expect(readFileSync(path, "utf8")).toBe(text);
    }
    writeFileSync(path, JSON.stringify(authority));
    expect(await loadOrCreateAuthority(folder, "hub", "pi", nowMs)).toEqual(authority);
    rmSync(path);
  });
});

interface Answer {
  readonly status: number;
  readonly type: string | undefined;
  readonly body: Buffer;
}

/** Trusting the authority and nobody else. Rejects with what Node says of the certificate. */
const ask = (port: number, path: string, root: string, servername?: string): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const named = servername === undefined ? {} : { servername };
    const sent = request({ host: HOST, port, path, ca: root, agent: false, ...named });
    sent.on("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => {
        const { statusCode: status = 0, headers } = response;
        resolve({ status, type: headers["content-type"], body: Buffer.concat(chunks) });
      });
    });
    sent.on("error", reject);
    sent.end();
  });

describe("a server", () => {
  let server: SiteServer;
  beforeAll(async () => {
    server = await openSiteServer({
      port: 0,
      host: HOST,
      site: null,
      describe: async (origin) => ({ origin }),
      tls: await issue(HOST),
      trust: null,
    });
  });
  afterAll(() => server.close());

  test("is known to be the hub by those who trust the authority, and by nobody else", async () => {
    const { status, body } = await ask(server.port, "/rowmesh.json", authority.root);
    expect([status, JSON.parse(body.toString())]).toEqual([
      200,
      { origin: `https://${HOST}:${server.port}` },
    ]);
    const other = await createAuthority("field day", "pi", nowMs);
    await expect(ask(server.port, "/", other.root)).rejects.toThrow(/certificate/);
    expect(server.refusedRequests()).toBe(0);
  });

  test("is refused under a name that the authority may not vouch for", async () => {
    server.replaceCertificate(await issue(HOST, "bank.example"));
    await expect(ask(server.port, "/", authority.root)).rejects.toThrow(/permitted subtree/);
    await expect(ask(server.port, "/", authority.root, "bank.example")).rejects.toThrow(
      /permitted subtree/,
    );
  });

  test("has another certificate, for the next connection, once the machine has another address", async () => {
    const named = (): Promise<string | undefined> =>
      new Promise((resolve, reject) => {
        const socket = connect({ host: HOST, port: server.port, ca: authority.root }, () => {
          resolve(socket.getPeerCertificate().subjectaltname);
          socket.destroy();
        });
        socket.on("error", reject);
      });
    const first = await issue(HOST);
    server.replaceCertificate(first);
    let replaced = 0;
    const renew = createRenewal(authority, first, (certificate) => {
      replaced++;
      server.replaceCertificate(certificate);
    });
    await renew([HOST], nowMs);
    expect([replaced, await named()]).toEqual([0, `IP Address:${HOST}`]);
    await renew(["10.0.0.1", HOST], nowMs);
    await renew(["10.0.0.1", HOST], nowMs);
    expect([replaced, await named()]).toEqual([1, `IP Address:10.0.0.1, IP Address:${HOST}`]);
    await expect(renew([HOST], 0)).rejects.toThrow(/clock says 1970/);
    expect([replaced, await named()]).toEqual([1, `IP Address:10.0.0.1, IP Address:${HOST}`]);
  });

  test("survives what is not TLS", async () => {
    await expect(fetch(`http://${HOST}:${server.port}/`)).rejects.toThrow(/fetch failed/);
    expect((await ask(server.port, "/", authority.root)).status).toBe(200);
    expect(server.refusedRequests()).toBe(0);
  });
});

test("a server closes although somebody has begun no handshake", async () => {
  const tls = await issue(HOST);
  const server = await openSiteServer({
    port: 0,
    host: HOST,
    site: null,
    describe: async () => ({}),
    tls,
    trust: null,
  });
  const silent = connectPlain(server.port, HOST);
  silent.on("error", () => undefined);
  await once(silent, "connect");
  const closed = once(silent, "close");
  // An answer on another connection: the silent one was accepted before it.
  expect((await ask(server.port, "/", authority.root)).status).toBe(200);
  await server.close();
  await closed;
}, 5_000);

test("a WebSocket that leads nowhere ends, and nothing else does", async () => {
  const server = await openSiteServer({
    port: 0,
    host: HOST,
    site: null,
    describe: async () => ({}),
    tls: await issue(HOST),
    trust: null,
  });
  const targets = [
    () => Promise.reject(new Error("the mesh is not open yet")),
    // Nobody listens there.
    async () => ({ host: HOST, port: 1 }),
  ];
  server.forwardWebSockets(async () => {
    const target = targets.shift();
    if (target === undefined) throw new Error("asked too often");
    return target();
  });
  while (targets.length > 0) {
    const socket = new WebSocket(`wss://${HOST}:${server.port}/`, { ca: authority.root });
    socket.on("error", () => undefined);
    expect(await new Promise((resolve) => socket.once("close", resolve))).toBe(1_006);
  }
  expect((await ask(server.port, "/", authority.root)).status).toBe(200);
  await server.close();
});

test("the trust page repeats no markup of names, and needs no script", async () => {
  const named = await createAuthority(`<b>"&'`, "pi", nowMs);
  const pages = createTrustPages({ authority: named, secureOrigin: () => "https://10.0.0.1:4383" });
  const page = String(pages("/trust", undefined)?.body);
  expect(page).toContain("&#60;b&#62;&#34;&#38;&#39; (rowmesh hub)");
  expect(page).toContain(fingerprintOf(named));
  expect(page).toContain(`<img src="https://10.0.0.1:4383/rowmesh-trusted.svg"`);
  expect(page).not.toMatch(/<script|<b>"/);
  expect(String(pages("/rowmesh-authority.mobileconfig", undefined)?.body)).not.toContain("<b>");
  expect(pages("/", undefined)).toBe(null);
});

const portsOf = (...args: readonly string[]): unknown => parseHubOptions(args).ports;

describe("options", () => {
  test("https is off, or on the port after the others, or where it is told", () => {
    expect(portsOf()).toMatchObject({ tcp: 4382, https: null });
    expect(portsOf("--https")).toMatchObject({ tcp: 4382, https: 4383 });
    expect(portsOf("--https", "--port=0")).toMatchObject({ https: 0 });
    expect(portsOf("--https", "--https-port=443")).toMatchObject({ http: 4380, https: 443 });
    expect(portsOf("--https", "--port=65533", "--https-port=0")).toMatchObject({ https: 0 });
  });
  test.each([
    [["--https-port", "1"], /needs --https/],
    [["--https", "--https-port", "65536"], /must be 0 to 65535, not 65536/],
    [["--https", "--port", "65533"], /must be 0 to 65532, not 65533/],
  ])("%j is a mistake", (args, message) => {
    expect(() => parseHubOptions(args)).toThrow(message);
  });
});

/** The first words of whoever is behind the WebSocket (multistream-select, once greeted). */
async function libp2pGreeting(url: string, root: string): Promise<string> {
  const socket = new WebSocket(url, { ca: root });
  await once(socket, "open");
  socket.send(Buffer.from("\x13/multistream/1.0.0\n"));
  let said = "";
  socket.on("message", (bytes: Buffer) => (said += bytes.toString("latin1")));
  await expect.poll(() => said, { timeout: 10_000 }).toContain("\n");
  socket.terminate();
  return said;
}

describe("rowmesh hub --https", () => {
  const running: Running[] = [];
  afterAll(async () => {
    for (const { child, ended } of running) {
      child.kill("SIGKILL");
      await ended;
    }
  });
  const start = (...args: readonly string[]): Running => {
    const all = ["hub", "--json", "--host", HOST, "--port", "0", "--https", "--data", "hub"];
    const hub = startCli([...all, ...args], folder);
    running.push(hub);
    return hub;
  };

  test("hands out its authority over http, is known by it over https, and keeps it", async () => {
    const hub = start("--name", "field day");
    const ready = JSON.parse(await hub.line(/./)) as {
      readonly url: string;
      readonly httpsUrls: readonly string[];
      readonly trust: { readonly url: string; readonly sha256: string };
    };
    const [secure] = ready.httpsUrls.map((url) => new URL(url));
    const plain = new URL(ready.url);
    expect(ready.trust.url).toBe(`${plain.origin}/trust`);

    const told = (await (await fetch(`${plain.origin}/rowmesh.json`)).json()) as object;
    const https = { origin: secure?.origin, trustUrl: ready.trust.url };
    expect(told).toEqual({ meshName: "field day", joinUrl: ready.url, https });

    const page = await fetch(ready.trust.url);
    expect(page.headers.get("content-security-policy")).toMatch(/^default-src 'none'; style-src/);
    expect(await page.text()).toContain(ready.trust.sha256);
    const crt = await fetch(`${plain.origin}/rowmesh-authority.crt`);
    expect(crt.headers.get("content-type")).toBe("application/x-x509-ca-cert");
    const bytes = Buffer.from(await crt.arrayBuffer());
    expect(createHash("sha256").update(bytes).digest("hex").toUpperCase()).toBe(
      ready.trust.sha256.replaceAll(":", ""),
    );
    const profile = await fetch(`${plain.origin}/rowmesh-authority.mobileconfig`);
    expect(profile.headers.get("content-type")).toBe("application/x-apple-aspen-config");
    expect(await profile.text()).toContain(bytes.toString("base64"));

    const root = new X509Certificate(bytes).toString();
    const port = Number(secure?.port);
    const [wss, ...others] = parseInviteLink(ready.httpsUrls[0] ?? "").hubs.filter((address) =>
      address.includes("/ws/"),
    );
    expect([wss, others]).toEqual([expect.stringContaining(`/tcp/${port}/tls/ws/p2p/12D3`), []]);
    expect(await libp2pGreeting(`wss://${HOST}:${port}/`, root)).toBe("\x13/multistream/1.0.0\n");

    const over = await ask(port, "/rowmesh.json", root);
    expect(JSON.parse(over.body.toString())).toEqual({
      ...told,
      joinUrl: ready.httpsUrls[0],
    });
    expect((await ask(port, "/rowmesh-trusted.svg", root)).type).toBe("image/svg+xml");

    hub.child.kill("SIGTERM");
    expect((await hub.ended).code).toBe(0);
    const again = JSON.parse(await start().line(/./)) as typeof ready;
    expect(again.trust.sha256).toBe(ready.trust.sha256);
  }, 60_000);

  test("says it when its port is in use", async () => {
    const blocker = createServer();
    blocker.listen(0, HOST);
    await once(blocker, "listening");
    const { port } = blocker.address() as AddressInfo;
    const hub = start("--https-port", String(port), "--data", "blocked");
    const { code, stderr } = await hub.ended;
    expect([code, stderr]).toEqual([1, expect.stringMatching(/a port is in use.* choose another/)]);
    blocker.close();
    await once(blocker, "close");
  }, 60_000);

  test("of several hubs is known by one authority that was copied", async () => {
    const first = await loadOrCreateAuthority(join(folder, "hub"), "hub", "pi", nowMs);
    mkdirSync(join(folder, "second"));
    copyFileSync(join(folder, "hub/authority.json"), join(folder, "second/authority.json"));
    const second = await loadOrCreateAuthority(join(folder, "second"), "other", "pc", nowMs);
    const certificate = await issueCertificate(second, [HOST], nowMs);
    const server = await openSiteServer({
      port: 0,
      host: HOST,
      site: null,
      describe: async () => ({}),
      tls: certificate,
      trust: null,
    });
    expect((await ask(server.port, "/", first.root)).status).toBe(200);
    await server.close();
  });

  test("is not for public addresses", async () => {
    const hub = startCli(
      ["hub", "--https", "--host", "192.0.2.1", "--port", "0", "--data", "public"],
      folder,
    );
    running.push(hub);
    const { code, stderr } = await hub.ended;
    expect([code, stderr]).toEqual([1, expect.stringMatching(/192\.0\.2\.1 is none\. Choose/)]);
  }, 60_000);
});
