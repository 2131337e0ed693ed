/**
 * The options of `rowmesh hub`, read and checked before anything is started or written.
 *
 * @module
 */

import { statSync } from "node:fs";
import { isIP } from "node:net";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { NAME_BYTES_MAX } from "../protocol/limits.ts";
import { UsageError } from "./command.ts";

export interface HubOptions {
  /** Absolute. */
  readonly data: string;
  readonly host: string;
  readonly ports: HubPorts;
  /** Absolute, and a directory; null: no site. */
  readonly site: string | null;
  /** Of the mesh that a first run founds; null: not given. */
  readonly name: string | null;
  /** A join link or the URL of another hub's page; null: not given. */
  readonly join: string | null;
  readonly output: "text" | "json" | "quiet";
}

/** 0 lets the system choose. WebRTC is UDP, so it shares the web server's number. */
export interface HubPorts {
  readonly http: number;
  readonly webrtc: number;
  readonly websocket: number;
  readonly tcp: number;
  /** null: no https. */
  readonly https: number | null;
}

export const DEFAULT_PORT = 4380;
export const DEFAULT_DATA = "./rowmesh-hub";
export const DEFAULT_HOST = "0.0.0.0";
/** The hub takes this one and the two that follow; with https three. */
const PORT_MAX = 65_533;
const HTTPS_PORT_OFFSET = 3;

export const HUB_HELP: string = `usage: rowmesh hub [options]

Runs a hub: a device that is always on. It keeps and forwards every changeset of one mesh (of any
app; it needs no schema and reads no rows), helps browsers find each other, and serves the app to
the LAN. The first run founds the mesh; later runs are the same hub: same key, address and mesh.
It is not an authority: while it is off, devices that know each other go on.

  --data DIR    where the hub keeps its key, certificate and log (default ${DEFAULT_DATA})
  --port N      web page on N/tcp, WebRTC on N/udp, WebSocket on N+1/tcp, hubs and
                Node peers on N+2/tcp (default ${DEFAULT_PORT}); 0: any free ports
  --host ADDR   the address to listen on (default ${DEFAULT_HOST}: all)
  --site DIR    the app to serve, a folder with an index.html
  --join LINK   become part of an existing mesh instead of founding one: a join link, or the URL of
                another hub's page. Hubs of one mesh on one LAN find each other by themselves.
  --name NAME   the hub's name, and the mesh's when this run founds it (default: this machine's)
  --https       serve the page over https too, on N+3/tcp, with a certificate of an authority that
                the hub makes for its LAN; /trust on the page tells devices how to trust it
  --https-port M  another port for that; 0: any free port
  --json        print one line of JSON when ready, and nothing else, on stdout
  --quiet       print nothing on stdout

Whoever can open the hub's page can join the mesh: keep the port inside the LAN.
Stops on SIGINT and SIGTERM; a second signal stops it at once.

exit codes: 0 stopped, 1 failed (stderr says why and what to do), 2 wrong command line`;

/** @throws UsageError, and the errors of `util.parseArgs` */
export function parseHubOptions(args: readonly string[]): HubOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      data: { type: "string", default: DEFAULT_DATA },
      port: { type: "string", default: String(DEFAULT_PORT) },
      host: { type: "string", default: DEFAULT_HOST },
      site: { type: "string" },
      name: { type: "string" },
      join: { type: "string" },
      https: { type: "boolean", default: false },
      "https-port": { type: "string" },
      json: { type: "boolean", default: false },
      quiet: { type: "boolean", default: false },
    },
    allowPositionals: false,
    strict: true,
  });
  if (values.json && values.quiet) throw new UsageError("--json and --quiet exclude each other");
  if (values.join === "") throw new UsageError("--join needs a link");
  if (values.data === "") throw new UsageError("--data needs a directory");
  if (isIP(values.host) === 0) throw new UsageError(`--host ${values.host} is no IP address`);
  return {
    data: resolve(values.data),
    host: values.host,
    ports: parsePorts(values.port, parseHttps(values.https, values["https-port"])),
    site: values.site === undefined ? null : parseSite(values.site),
    name: values.name === undefined ? null : parseName(values.name),
    join: values.join ?? null,
    output: values.json ? "json" : values.quiet ? "quiet" : "text",
  };
}

type HttpsChoice = "off" | "follows" | { readonly port: number };

function parseHttps(isOn: boolean, text: string | undefined): HttpsChoice {
  if (text === undefined) return isOn ? "follows" : "off";
  if (!isOn) throw new UsageError("--https-port needs --https");
  const port = parsePort(text);
  if (!(port <= 65_535)) throw new UsageError(`--https-port must be 0 to 65535, not ${text}`);
  return { port };
}

export function parsePorts(text: string, https: HttpsChoice): HubPorts {
  const port = parsePort(text);
  const max = https === "follows" ? PORT_MAX - 1 : PORT_MAX;
  if (!(port <= max)) throw new UsageError(`--port must be 0 to ${max}, not ${text}`);
  const httpsPort = { off: null, follows: port === 0 ? 0 : port + HTTPS_PORT_OFFSET };
  const ports = { https: typeof https === "string" ? httpsPort[https] : https.port };
  if (port === 0) return { http: 0, webrtc: 0, websocket: 0, tcp: 0, ...ports };
  return { http: port, webrtc: port, websocket: port + 1, tcp: port + 2, ...ports };
}

const parsePort = (text: string): number => (/^\d{1,5}$/.test(text) ? Number(text) : Number.NaN);

function parseSite(path: string): string {
  const directory = resolve(path);
  const stats = statSync(directory, { throwIfNoEntry: false });
  if (!stats?.isDirectory()) throw new UsageError(`--site ${path} is no directory`);
  if (statSync(`${directory}/index.html`, { throwIfNoEntry: false }) === undefined) {
    throw new UsageError(`--site ${path} has no index.html; build the app first`);
  }
  return directory;
}

function parseName(name: string): string {
  const bytes = Buffer.byteLength(name);
  if (bytes === 0 || bytes > NAME_BYTES_MAX) {
    throw new UsageError(`--name must be 1 to ${NAME_BYTES_MAX} bytes`);
  }
  return name;
}
