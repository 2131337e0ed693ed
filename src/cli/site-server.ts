/**
 * The hub's web server: serves the app to the LAN and hands out the join link. A public door:
 * whatever arrives ends in an answer, an error answer or a closed connection, within limits.
 *
 * `GET /rowmesh.json` gives the join link to whoever can open the page. In an open mesh the link is
 * the right to join, and a hub on a LAN is there to be joined by whoever opens its page; whoever
 * should not must not reach the port. It is given to the hub's own page only: no CORS, and only
 * under a host name that is this machine's, or else a web site on the internet could point its
 * name at the hub (DNS rebinding) and read the link through a visitor's browser.
 *
 * @module
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer, type Server as SecureServer } from "node:https";
import type { Socket } from "node:net";
import sirv from "sirv";
import { isLanHost } from "./lan-host.ts";
import type { TrustPages } from "./trust-page.ts";
import { forwardUpgrades, type WebSocketPort } from "./web-socket-door.ts";

export interface SiteServerOptions {
  /** 0 lets the system choose. */
  readonly port: number;
  readonly host: string;
  /** The folder to serve; null serves one page that says what this is. */
  readonly site: string | null;
  /** The body of `/rowmesh.json`, for a page loaded from `origin` (`http://192.168.1.5:4380`). */
  readonly describe: (origin: string) => Promise<object>;
  /** Serves https with it; null: plain http. */
  readonly tls: TlsCertificate | null;
  /** Answered before the site; null: there are none. */
  readonly trust: TrustPages | null;
}

/** Both PEM. */
export interface TlsCertificate {
  readonly key: string;
  /** The server's own, then those that lead to the authority. */
  readonly cert: string;
}

export interface SiteServer {
  readonly port: number;
  /** Requests answered with an error that is the sender's: 4xx, but for 404. */
  readonly refusedRequests: () => number;
  /** For connections from now on. @throws RangeError when it serves plain http */
  readonly replaceCertificate: (certificate: TlsCertificate) => void;
  /** From now on a request to open a WebSocket goes there; before, it is a request like any other. */
  readonly forwardWebSockets: (target: () => Promise<WebSocketPort>) => void;
  /** Ends open connections too. */
  readonly close: () => Promise<void>;
}

/** Longer than any path of a site; the join link travels in the fragment, which is not sent. */
const URL_CHARS_MAX = 2_048;
const HEADER_BYTES_MAX = 8 * 1_024;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 15_000;
const KEEP_ALIVE_TIMEOUT_MS = 5_000;
/** TLS; Node would wait two minutes. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** How often Node looks for requests beyond these times; its own 30 s would be three times too slow. */
const CHECK_MS = 2_500;
/** A browser opens six; a LAN has perhaps a hundred. */
const CONNECTIONS_MAX = 1_024;

/** Vite's names: the content's hash before the ending, so the content never changes. */
const HASHED_NAME = /[-.][\w-]{8,}\.\w+$/;

const CONTENT_SECURITY_POLICY = [
  "default-src 'self'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self' blob:",
  "img-src 'self' data: blob:",
  // Hubs are dialled by address, so their hosts cannot be listed; libp2p proves who answers.
  "connect-src 'self' ws: wss: data: blob:",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "Content-Security-Policy": CONTENT_SECURITY_POLICY,
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
  "X-Frame-Options": "DENY",
};

const NO_SITE_PAGE = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>rowmesh hub</title>
<p>This is a rowmesh hub. It serves no app; start it with <code>--site DIR</code> to serve one.
<p><a href="rowmesh.json">rowmesh.json</a> holds the join link for apps.
</html>
`;

/** @throws the system's error (`EADDRINUSE`, `EACCES` …) when it cannot listen. */
export async function openSiteServer(options: SiteServerOptions): Promise<SiteServer> {
  let refused = 0;
  const refuse = (response: ServerResponse, status: number, headers?: Record<string, string>) => {
    refused++;
    answer(response, status, "text/plain", "", { Connection: "close", ...headers });
  };
  const serveSite = siteHandler(options.site);

  const handle: Handler = (request, response) => {
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
    const { method, url = "/" } = request;
    const trusted = options.trust?.(pathOf(url), request.headers.host) ?? null;
    if (method !== "GET" && method !== "HEAD") refuse(response, 405, { Allow: "GET, HEAD" });
    else if (url.length > URL_CHARS_MAX) refuse(response, 414);
    else if (!url.startsWith("/") || !isDecodable(url)) refuse(response, 400);
    else if (trusted !== null) {
      answer(response, 200, trusted.contentType, trusted.body, trusted.headers);
    } else if (pathOf(url) !== "/rowmesh.json") serveSite(request, response);
    else if (!isOwnHost(request)) refuse(response, 421);
    else void describe(options, request, response);
  };
  const server = createListener(options.tls, handle);
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.keepAliveTimeout = KEEP_ALIVE_TIMEOUT_MS;
  server.maxConnections = CONNECTIONS_MAX;
  server.on("clientError", (error: ClientError, socket: Socket) => {
    // Else a connection that broke, mostly of a browser that does not trust the certificate.
    if (!isUnparsed(error)) {
      socket.destroy();
      return;
    }
    refused++;
    refuseUnparsed(error, socket);
  });

  const sockets = trackSockets(server);
  const port = await listen(server, options.port, options.host);
  return {
    port,
    refusedRequests: () => refused,
    replaceCertificate: (certificate) => {
      if (!("setSecureContext" in server)) throw new RangeError("serves plain http");
      server.setSecureContext(certificate);
    },
    forwardWebSockets: (target) => forwardUpgrades(server, target),
    close: () => close(server, sockets),
  };
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

function createListener(tls: TlsCertificate | null, handle: Handler): Server | SecureServer {
  const limits = { maxHeaderSize: HEADER_BYTES_MAX, connectionsCheckingInterval: CHECK_MS };
  if (tls === null) return createServer(limits, handle);
  const security = { ...tls, handshakeTimeout: HANDSHAKE_TIMEOUT_MS };
  return createSecureServer({ ...limits, ...security }, handle);
}

const pathOf = (url: string): string => url.split("?", 1)[0]!;

function siteHandler(site: string | null): Handler {
  if (site === null) {
    return ({ url }, response) =>
      url === "/"
        ? answer(response, 200, "text/html;charset=utf-8", NO_SITE_PAGE)
        : answer(response, 404, "text/plain", "not found\n");
  }
  const serve = sirv(site, {
    // Looks at the disk on each request: a site that is built again is served as it is now.
    dev: true,
    etag: true,
    single: true,
    onNoMatch: (_request, response) => answer(response, 404, "text/plain", "not found\n"),
    setHeaders: (response, path) => {
      const isHashed = path.startsWith("/assets/") && HASHED_NAME.test(path);
      const caching = isHashed ? "public, max-age=31536000, immutable" : "no-cache";
      response.setHeader("Cache-Control", caching);
    },
  });
  return (request, response) => {
    const path = decodeURIComponent(pathOf(request.url ?? "/"));
    // `.git`, `.env` and the like are no part of a site.
    if (/(^|[/\\])\./.test(path)) {
      answer(response, 404, "text/plain", "not found\n");
      return;
    }
    // A range that ends before it begins throws in sirv, and no page of ours asks for ranges.
    delete request.headers.range;
    // sirv leaves a file that vanishes while it is read to the process's last handler.
    response.once("pipe", (file) => file.once("error", () => response.destroy()));
    serve(request, response);
  };
}

async function describe(
  options: SiteServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const scheme = options.tls === null ? "http" : "https";
    const description = await options.describe(`${scheme}://${request.headers.host}`);
    const body = `${JSON.stringify(description)}\n`;
    answer(response, 200, "application/json", body, { "Cache-Control": "no-store" });
  } catch {
    answer(response, 503, "text/plain", "not ready\n", { "Retry-After": "1" });
  }
}

function answer(
  response: ServerResponse,
  status: number,
  contentType: string,
  body: string | Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, {
    "Content-Type": contentType,
    "Content-Length": Buffer.byteLength(body),
    ...headers,
  });
  response.end(body);
}

function isDecodable(url: string): boolean {
  try {
    decodeURIComponent(pathOf(url));
    return !url.includes("\0") && !/%00/.test(url);
  } catch {
    return false;
  }
}

function isOwnHost({ headers: { host } }: IncomingMessage): boolean {
  try {
    return isLanHost(new URL(`http://${host ?? ""}`).hostname);
  } catch {
    return false;
  }
}

interface ClientError extends Error {
  readonly code?: string;
  readonly rawPacket?: Buffer;
}

/** What Node's parser refused: too long, too slow, not HTTP. */
const isUnparsed = ({ code = "" }: ClientError): boolean => /^(HPE_|ERR_HTTP_)/.test(code);

function refuseUnparsed(error: ClientError, socket: Socket): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const status = unparsedStatus(error);
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

function unparsedStatus({ code, rawPacket }: ClientError): string {
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return "408 Request Timeout";
  if (code !== "HPE_HEADER_OVERFLOW") return "400 Bad Request";
  const isInFirstLine = rawPacket !== undefined && !rawPacket.includes("\r\n");
  return isInFirstLine ? "414 URI Too Long" : "431 Request Header Fields Too Large";
}

function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host }, () => {
      server.off("error", reject);
      const address = server.address();
      if (address === null || typeof address === "string") reject(new RangeError("no TCP address"));
      else resolve(address.port);
    });
  });
}

/** Node knows a connection over TLS only from the end of its handshake on. */
function trackSockets(server: Server): ReadonlySet<Socket> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  return sockets;
}

function close(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    for (const socket of sockets) socket.destroy();
  });
}
