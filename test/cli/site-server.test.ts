/** The hub's web server over real sockets: what it serves, what it refuses, what it survives. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { request, type IncomingHttpHeaders } from "node:http";
import { connect } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openSiteServer, type SiteServer } from "../../src/cli/site-server.ts";

const HOST = "127.0.0.1";
let folder: string;
let server: SiteServer;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "rowmesh-site-"));
  const site = join(folder, "site");
  mkdirSync(join(site, "assets"), { recursive: true });
  mkdirSync(join(site, ".git"));
  const files = {
    "index.html": "<!doctype html><title>app</title>",
    "sw.js": "self.skipWaiting()",
    "app.webmanifest": "{}",
    "assets/engine-B1x_9-Zq.wasm": "\0asm",
    "assets/index-DxY12abc.js": "export {}",
    "assets/plain.css": "a{}",
    ".git/config": "secret",
    ".env": "secret",
  };
  for (const [path, text] of Object.entries(files)) writeFileSync(join(site, path), text);
  writeFileSync(join(folder, "secret.txt"), "secret");
  server = await openSiteServer({
    port: 0,
    host: HOST,
    site,
    describe: async (origin) => ({ joinUrl: `${origin}/#join=x` }),
    tls: null,
    trust: null,
  });
});

afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Sends the path as it is: `fetch` would resolve `..` itself. */
const ask = (
  path: string,
  options: { readonly method?: string; readonly headers?: Record<string, string> } = {},
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const sent = request({ host: HOST, port: server.port, path, agent: false, ...options });
    sent.on("response", (response) => {
      let body = "";
      response.on("data", (chunk: Buffer) => (body += chunk.toString("latin1")));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
      );
    });
    sent.on("error", reject);
    sent.end();
  });

/** Sends raw bytes and reads until the server hangs up. */
const askRaw = (bytes: string): Promise<string> =>
  new Promise((resolve) => {
    const socket = connect(server.port, HOST, () => socket.write(bytes));
    let answer = "";
    socket.on("data", (chunk) => (answer += chunk.toString("latin1")));
    socket.on("error", () => resolve(answer));
    socket.on("close", () => resolve(answer));
  });

test.each([
  ["/", "text/html;charset=utf-8", "no-cache"],
  ["/index.html", "text/html;charset=utf-8", "no-cache"],
  ["/sw.js", "text/javascript", "no-cache"],
  ["/app.webmanifest", "application/manifest+json", "no-cache"],
  ["/assets/engine-B1x_9-Zq.wasm", "application/wasm", "public, max-age=31536000, immutable"],
  ["/assets/index-DxY12abc.js", "text/javascript", "public, max-age=31536000, immutable"],
  ["/assets/plain.css", "text/css", "no-cache"],
  ["/animals/heron", "text/html;charset=utf-8", "no-cache"],
])("%s is %s, cached as %s", async (path, type, caching) => {
  const { status, headers } = await ask(path);
  expect([status, headers["content-type"], headers["cache-control"]]).toEqual([200, type, caching]);
});

test("a HEAD has the headers of the GET and no body", async () => {
  const { status, headers, body } = await ask("/index.html", { method: "HEAD" });
  expect([status, headers["content-length"], body]).toEqual([200, "33", ""]);
});

test("an unchanged file is not sent again", async () => {
  const { headers } = await ask("/index.html");
  const again = await ask("/index.html", { headers: { "If-None-Match": headers.etag ?? "" } });
  expect([again.status, again.body]).toEqual([304, ""]);
});

test("every answer forbids framing, sniffing and foreign scripts, and allows WebAssembly", async () => {
  for (const path of ["/", "/nothing.png", "/rowmesh.json"]) {
    const { headers } = await ask(path);
    expect(headers["x-content-type-options"]).toBe("nosniff");
    expect(headers["content-security-policy"]).toContain("script-src 'self' 'wasm-unsafe-eval';");
    expect(headers["content-security-policy"]).toContain("frame-ancestors 'none'");
    expect(headers["access-control-allow-origin"]).toBeUndefined();
  }
});

test.each([
  "/../secret.txt",
  "/assets/../../secret.txt",
  "/%2e%2e/secret.txt",
  "/..%2fsecret.txt",
  "/%2e%2e%2fsecret.txt",
  "/assets/..%5c..%5csecret.txt",
  "//secret.txt",
  "/.env",
  "/%2eenv",
  "/.git/config",
  "/nothing.js",
])("%s is not found", async (path) => {
  const { status, body } = await ask(path);
  expect([status, body]).toEqual([404, "not found\n"]);
});

test.each(["/%00", "/index.html%00.png", "/%", "/%ff", "*", "http://elsewhere/"])(
  "%s is a bad request",
  async (path) => {
    expect((await ask(path)).status).toBe(400);
  },
);

test.each(["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])("%s is refused", async (method) => {
  const { status, headers } = await ask("/", { method });
  expect([status, headers.allow]).toEqual([405, "GET, HEAD"]);
});

test("a URL above the limit is refused, of any length", async () => {
  expect((await ask(`/${"a".repeat(2_047)}`)).status).toBe(200);
  expect((await ask(`/${"a".repeat(2_048)}`)).status).toBe(414);
  expect(await askRaw(`GET /${"a".repeat(1_000_000)}`)).toMatch(/^HTTP\/1.1 414 /);
});

test("headers above the limit and bytes that are not HTTP are refused", async () => {
  expect(await askRaw(`GET / HTTP/1.1\r\nHost: x\r\nA: ${"a".repeat(20_000)}`)).toMatch(
    /^HTTP\/1.1 431 /,
  );
  expect(await askRaw("\x16\x03\x01 hello\r\n\r\n")).toMatch(/^HTTP\/1.1 400 /);
});

test("a range that ends before it begins harms nobody", async () => {
  const { status, body } = await ask("/sw.js", { headers: { Range: "bytes=10-5" } });
  expect([status, body]).toEqual([200, "self.skipWaiting()"]);
});

test("a file that cannot be read ends that answer only", async () => {
  const unreadable = join(folder, "site", "loop.js");
  mkdirSync(join(folder, "site", "folder.js"));
  symlinkSync(unreadable, unreadable);
  for (const path of ["/loop.js", "/folder.js"]) expect((await ask(path)).status).toBe(404);
  unlinkSync(unreadable);
  expect((await ask("/")).status).toBe(200);
});

test("the join link is given to the hub's own page, under names of the LAN only", async () => {
  const statusUnder = async (host: string) =>
    (await ask("/rowmesh.json", { headers: { Host: host } })).status;
  const { status, headers, body } = await ask("/rowmesh.json");
  expect([status, headers["content-type"], headers["cache-control"]]).toEqual([
    200,
    "application/json",
    "no-store",
  ]);
  expect(JSON.parse(body)).toEqual({ joinUrl: `http://${HOST}:${server.port}/#join=x` });
  const own = ["192.168.1.5:4380", "[::1]:4380", "localhost", "field.local", hostname()];
  expect(await Promise.all(own.map(statusUnder))).toEqual(own.map(() => 200));
  const foreign = ["evil.example", "evil.example:4380", "127.0.0.1.evil.example", "@"];
  expect(await Promise.all(foreign.map(statusUnder))).toEqual(foreign.map(() => 421));
  expect(await askRaw("GET /rowmesh.json HTTP/1.0\r\n\r\n")).toMatch(/^HTTP\/1.1 421 /);
});

test("every refusal is counted, nothing else is", async () => {
  const before = server.refusedRequests();
  await ask("/");
  await ask("/nothing.js");
  expect(server.refusedRequests() - before).toBe(0);
  await ask("/", { method: "POST" });
  await ask("/%00");
  await ask(`/${"a".repeat(3_000)}`);
  await ask("/rowmesh.json", { headers: { Host: "evil.example" } });
  await askRaw("nonsense\r\n\r\n");
  expect(server.refusedRequests() - before).toBe(5);
});

test("without a site there is one page, and the join link", async () => {
  const bare = await openSiteServer({
    port: 0,
    host: HOST,
    site: null,
    describe: () => Promise.reject(new Error("not yet")),
    tls: null,
    trust: null,
  });
  const get = async (path: string) => (await fetch(`http://${HOST}:${bare.port}${path}`)).status;
  expect([await get("/"), await get("/any"), await get("/rowmesh.json")]).toEqual([200, 404, 503]);
  await bare.close();
});

test("a port in use is an error, not a crash", async () => {
  const again = openSiteServer({
    port: server.port,
    host: HOST,
    site: null,
    describe: async () => ({}),
    tls: null,
    trust: null,
  });
  await expect(again).rejects.toMatchObject({ code: "EADDRINUSE" });
});
