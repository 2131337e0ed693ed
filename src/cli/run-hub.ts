/**
 * A running hub: puts the replica, the network and the web server together, says how to join, and
 * stops cleanly.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { hostname, networkInterfaces } from "node:os";
import { join } from "node:path";
import type { Mesh, MeshStatus } from "../node/api.ts";
import { openHubMesh } from "../node/open-mesh-node.ts";
import { isMeshError } from "../protocol/errors.ts";
import { decodeGenesisBody, type Invite, parseInviteLink } from "../protocol/genesis.ts";
import { CommandError, complain, EXIT_FAILURE, EXIT_OK, print, printable } from "./command.ts";
import { type ControlSocket, openControlSocket } from "./control-socket.ts";
import { loadOrCreateCertificate, makeDataDirectory, REPLICA_NAME } from "./data-directory.ts";
import { type HubDoors, hubStatus } from "./hub-status.ts";
import type { HubOptions, HubPorts } from "./hub-options.ts";
import { joinLinkOf } from "./join-source.ts";
import { bestFirst, joinLink, type JoinLink, joinLinks, overTls, qrCode } from "./join-links.ts";
import { type HttpsSite, openHttpsSite } from "./https-site.ts";
import { urlHosts } from "./lan-addresses.ts";
import { tryPorts } from "./ports.ts";
import { openSiteServer, type SiteServer } from "./site-server.ts";
import { TRUST_PATH } from "./trust-page.ts";
import type { WebSocketPort } from "./web-socket-door.ts";

/** Resolves never: the process ends when the hub has stopped. @throws CommandError, MeshError */
export async function runHub(options: HubOptions): Promise<never> {
  const stopRequested = stopSignal();
  const hub = await openHub(options);
  announce(options, hub);
  const stopReporting = options.output === "text" ? reportPeers(hub.mesh) : () => {};
  await stopRequested;
  stopReporting();
  if (options.output === "text") sayRefusals(hub.mesh.status());
  await closeHub(hub);
  // Everything is closed but the native WebRTC listener, which stays until the process ends
  // (webrtc-direct-shutdown.ts).
  return process.exit(EXIT_OK);
}

function sayRefusals({ refusals }: MeshStatus): void {
  print(refusals.length === 0 ? "stopping; nothing was refused" : "stopping; refused:");
  for (const { code, count, remedy } of refusals) print(`  ${count} × ${code}: ${remedy}`);
}

interface Hub {
  readonly mesh: Mesh;
  readonly web: Web;
  /** Null where there can be none. */
  readonly control: ControlSocket | null;
  readonly invite: Invite;
  readonly links: readonly JoinLink[];
  /** Of the https page; empty without `--https`. */
  readonly secureLinks: readonly JoinLink[];
}

/** What the hub serves to browsers. */
interface Web {
  readonly server: SiteServer;
  readonly https: HttpsSite | null;
}

const CLOSE_TIMEOUT_MS = 10_000;

/** Resolves at the first SIGINT or SIGTERM; the second ends the process on the spot. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    let isStopping = false;
    const stop = (): void => {
      if (isStopping) process.exit(EXIT_FAILURE);
      isStopping = true;
      resolve();
    };
    process.on("SIGINT", stop);
    process.on("SIGTERM", stop);
  });
}

async function openHub(options: HubOptions): Promise<Hub> {
  const toJoin = options.join === null ? null : await linkToJoin(options.join, options.data);
  // Everything the hub writes holds or could hold secrets.
  process.umask(0o077);
  makeDataDirectory(options.data);
  const ready: { mesh: Mesh | null } = { mesh: null };
  const web = await openWeb(options, ready);
  let mesh: Mesh | null = null;
  try {
    await tryPorts(options.host, options.ports);
    mesh = await openMesh(options, toJoin, web);
    ready.mesh = mesh;
    const invite = await inviteNow(mesh);
    const links = joinLinks(invite, plainOrigins(options, web));
    const secureLinks = secureLinksOf(mesh, web, invite);
    const control = await openControl(options, mesh, web);
    return { mesh, web, control, invite, links, secureLinks };
  } catch (error) {
    await mesh?.close();
    await closeWeb(web);
    throw explained(error, options);
  }
}

/**
 * A hub that was in a mesh before starts without the page that led it there, after a power cut say;
 * a new one would found a mesh of its own. @throws as {@link joinLinkOf}
 */
async function linkToJoin(text: string, data: string): Promise<string | null> {
  try {
    return await joinLinkOf(text);
  } catch (error) {
    if (!(error instanceof CommandError) || !existsSync(join(data, REPLICA_NAME))) throw error;
    complain(`rowmesh hub: ${error.message} Starting in the mesh that this hub belongs to.`);
    return null;
  }
}

/** Without it everything works but `rowmesh status`. */
async function openControl(
  options: HubOptions,
  mesh: Mesh,
  web: Web,
): Promise<ControlSocket | null> {
  const doors = async (): Promise<HubDoors> => ({
    pages: [...plainOrigins(options, web), ...(web.https?.origins() ?? [])],
    addresses: ownAddresses(mesh, await inviteNow(mesh)),
  });
  const { data } = options;
  try {
    return await openControlSocket(data, await hubStatus(mesh, doors));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    complain(
      `rowmesh hub: no control socket in ${data} (${reason}): rowmesh status works while the hub is stopped. Choose a shorter path on a local disk with --data.`,
    );
    return null;
  }
}

function secureLinksOf(mesh: Mesh, { https }: Web, invite: Invite): readonly JoinLink[] {
  if (https === null) return [];
  return joinLinks(overTls(invite, ownAddresses(mesh, invite), https.port), https.origins());
}

const plainOrigins = ({ host }: HubOptions, { server }: Web): readonly string[] =>
  urlHosts(host, networkInterfaces()).map((each) => `http://${each}:${server.port}`);

/** With the addresses that the hub has now: DHCP may give it another. */
const inviteNow = async (mesh: Mesh): Promise<Invite> =>
  bestFirst(parseInviteLink(await mesh.invite()));

async function openWeb(options: HubOptions, ready: { readonly mesh: Mesh | null }): Promise<Web> {
  const { host, site, data, ports, name } = options;
  const opened: { server: SiteServer | null; https: HttpsSite | null } = {
    server: null,
    https: null,
  };
  const describe = async (origin: string): Promise<object> => {
    const { server, https } = opened;
    if (ready.mesh === null || server === null) throw new RangeError("the mesh is not open yet");
    const invite = await inviteNow(ready.mesh);
    const { name: meshName } = decodeGenesisBody(invite.genesis.bodyBytes);
    const describing = (
      shown: Invite,
    ): { readonly meshName: string; readonly joinUrl: string } => ({
      meshName,
      joinUrl: joinLink(shown, origin).url,
    });
    if (https === null) return describing(invite);
    const own = ownAddresses(ready.mesh, invite);
    const isSecure = origin.startsWith("https:");
    const description = describing(isSecure ? overTls(invite, own, https.port) : invite);
    const { host: asked, hostname: askedName } = new URL(origin);
    const trustUrl = `http://${askedName}:${server.port}${TRUST_PATH}`;
    return { ...description, https: { origin: https.origin(asked), trustUrl } };
  };
  const webSocket = async (): Promise<WebSocketPort> => {
    if (ready.mesh === null) throw new RangeError("the mesh is not open yet");
    return webSocketPort(ownAddresses(ready.mesh, await inviteNow(ready.mesh)));
  };
  try {
    if (ports.https !== null) {
      const { https: port } = ports;
      opened.https = await openHttpsSite({
        data,
        host,
        name: name ?? hostname(),
        open: async (tls, trust) => {
          const server = await openSiteServer({ port, host, site, describe, tls, trust });
          server.forwardWebSockets(webSocket);
          return server;
        },
      });
    }
    const trust = opened.https?.trust ?? null;
    const plain = { port: ports.http, tls: null };
    const server = await openSiteServer({ ...plain, host, site, describe, trust });
    opened.server = server;
    return { server, https: opened.https };
  } catch (error) {
    await opened.https?.close();
    throw explained(error, options);
  }
}

/** `/ip4/192.168.1.5/tcp/4381/ws/p2p/…`; any address of this machine leads to it. */
function webSocketPort(own: readonly string[]): WebSocketPort {
  for (const address of own) {
    const [, , host, , port, transport] = address.split("/");
    if (transport === "ws" && host !== undefined) return { host, port: Number(port) };
  }
  throw new RangeError("the hub listens for no WebSocket");
}

async function closeWeb({ server, https }: Web): Promise<void> {
  await Promise.all([server.close(), https?.close()]);
}

/** The first run founds or joins the mesh; a later one finds it in the replica. */
async function openMesh(
  { data, name, host, ports }: HubOptions,
  toJoin: string | null,
  { server, https }: Web,
): Promise<Mesh> {
  const deviceName = name ?? hostname();
  return openHubMesh(
    {
      name: REPLICA_NAME,
      storage: { directory: data },
      deviceName,
      ...(toJoin === null ? {} : { join: toJoin }),
    },
    {
      meshName: deviceName,
      listen: listenAddresses(host, ports),
      certificate: await loadOrCreateCertificate(data),
      refusals: () => {
        const requests = server.refusedRequests() + (https?.refusedRequests() ?? 0);
        return new Map(requests === 0 ? [] : [["ERR_REQUEST_INVALID", requests]]);
      },
    },
  );
}

function listenAddresses(host: string, ports: HubPorts): readonly string[] {
  const ip = host.includes(":") ? `/ip6/${host}` : `/ip4/${host}`;
  return [
    `${ip}/udp/${ports.webrtc}/webrtc-direct`,
    `${ip}/tcp/${ports.websocket}/ws`,
    `${ip}/tcp/${ports.tcp}`,
  ];
}

/** Says what to do about the errors that are most likely at start. */
function explained(error: unknown, { ports, host, data }: HubOptions): unknown {
  const code = systemErrorCode(error);
  if (code === "EADDRINUSE") {
    const range = ports.http === 0 ? "" : ` (${ports.http} to ${ports.tcp}${httpsPart(ports)})`;
    return new CommandError(
      `a port is in use${range}. Stop the other hub, or choose another with --port${ports.https === null ? "" : " or --https-port"}.`,
    );
  }
  if (code === "EACCES" && ports.http < 1_024) {
    return new CommandError(`may not use port ${ports.http}. Choose one above 1023 with --port.`);
  }
  if (code === "EADDRNOTAVAIL") {
    return new CommandError(`this machine has no address ${host}. Choose another with --host.`);
  }
  if (isMeshError(error, "ERR_MESH_DIFFERENT")) {
    return new CommandError(
      `${error.code}: the hub in ${data} belongs to another mesh. Choose another directory with --data.`,
    );
  }
  if (isMeshError(error, "ERR_STORAGE_LOCKED")) {
    return new CommandError(
      `another hub has ${data} open. Stop it, or choose another with --data.`,
    );
  }
  return error;
}

const httpsPart = ({ https }: HubPorts): string => (https === null ? "" : `, ${https} for https`);

const systemErrorCode = (error: unknown): string | undefined =>
  error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;

function announce(options: HubOptions, hub: Hub): void {
  const { mesh, web, invite, links } = hub;
  const [best] = links;
  if (best === undefined) throw new RangeError("no address");
  if (options.output === "quiet") return;
  if (options.output === "json") {
    const urls = links.map(({ url }) => url);
    const { peerId } = mesh;
    const { pid } = process;
    const addresses = ownAddresses(mesh, invite);
    const ready = { ready: true, url: best.url, urls, ...secureParts(hub) };
    print(JSON.stringify({ ...ready, peerId, addresses, pid }));
    return;
  }
  const { name } = decodeGenesisBody(invite.genesis.bodyBytes);
  if (options.join === null && options.name !== null && options.name !== name) {
    complain(`rowmesh hub: this mesh was founded as "${printable(name)}"; --name is ignored`);
  }
  print(`Hub of the mesh "${printable(name)}", ${mesh.peerId}\n`);
  print(qrCode(invite, best));
  print(`\nTo join, scan the code or open one of these pages:\n`);
  for (const { origin } of links) print(`  ${origin}/`);
  print(`\nJoin link for apps:\n\n  ${best.url}\n`);
  saySecure(hub);
  if (options.site === null) print(`No app is served: start with --site DIR to serve one.`);
  print(`Web page on port ${web.server.port}. Stop with Ctrl-C.`);
}

/** The invite names other hubs too. */
const ownAddresses = ({ peerId }: Mesh, { hubs }: Invite): readonly string[] =>
  hubs.filter((address) => address.endsWith(`/p2p/${peerId}`));

/** For `--json`; nothing without `--https`. */
function secureParts({ web: { https }, links, secureLinks }: Hub): object {
  const [best] = links;
  if (https === null || best === undefined) return {};
  return {
    httpsUrls: secureLinks.map(({ url }) => url),
    trust: { url: `${best.origin}${TRUST_PATH}`, sha256: https.fingerprint },
  };
}

function saySecure({ web: { https }, links, secureLinks }: Hub): void {
  const [best] = links;
  if (https === null || best === undefined) return;
  print(`Over https, for devices that trust this hub's authority:\n`);
  for (const { origin } of secureLinks) print(`  ${origin}/`);
  print(
    `\nTo make a device trust it, open this page there, and compare the SHA-256 fingerprint:\n`,
  );
  print(`  ${best.origin}${TRUST_PATH}\n  ${https.fingerprint}\n`);
}

/** One line when a device comes or goes. */
function reportPeers(mesh: Mesh): () => void {
  const nameById = new Map<string, string>();
  return mesh.onStatus(({ peers }: MeshStatus) => {
    const connected = peers.filter(({ link }) => link !== "none" && link !== "relayed");
    const ids = new Set(connected.map(({ peerId }) => peerId));
    for (const { peerId, name, link, lastHeardMs } of connected) {
      // Its first words tell its name.
      if (lastHeardMs === null || nameById.has(peerId)) continue;
      nameById.set(peerId, printable(name ?? "") || peerId);
      print(`+ ${nameById.get(peerId)} (${link})`);
    }
    for (const [peerId, name] of nameById) {
      if (ids.has(peerId)) continue;
      nameById.delete(peerId);
      print(`- ${name}`);
    }
  });
}

async function closeHub({ mesh, web, control }: Hub): Promise<void> {
  const timer = setTimeout(() => {
    complain("rowmesh hub: could not stop in time; stopped at once, nothing stored is lost");
    process.exit(EXIT_FAILURE);
  }, CLOSE_TIMEOUT_MS);
  await Promise.all([mesh.close(), control?.close(), closeWeb(web)]);
  clearTimeout(timer);
}
