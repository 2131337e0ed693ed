/** Real carriers: worker_threads' MessagePort, ws, node:http with fetch. */
import { once as event } from "node:events";
import { cpSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { MessageChannel } from "node:worker_threads";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import type { Mesh } from "../../src/node/api.ts";
import { httpStreamHandler } from "../../src/streams/http-handler.ts";
import { syncOverHttp } from "../../src/streams/http-client.ts";
import { syncOverMessagePort } from "../../src/streams/message-port.ts";
import { syncOverWebSocket } from "../../src/streams/web-socket.ts";
import type { SyncSession } from "../../src/streams/channel.ts";
import { temporaryDirectory } from "../unit/temporary-directory.ts";
import { idsOf, openAlone, openMeshes, untilIds, write } from "./meshes.ts";

const twoMeshes = async (): Promise<readonly [Mesh, Mesh]> => {
  const [a, b] = await openMeshes(2);
  return [a, b as Mesh];
};

test("[T13] over a MessagePort both sides get all, then what is written, each changeset once", async () => {
  const [a, b] = await twoMeshes();
  await write(a, "1");
  await write(b, "2");
  const { port1, port2 } = new MessageChannel();
  const here = syncOverMessagePort(a, port1, { peer: "b" });
  const there = syncOverMessagePort(b, port2, { peer: "a" });
  await Promise.all([untilIds(a, "1 2"), untilIds(b, "1 2")]);
  await write(a, "3");
  await untilIds(b, "1 2 3");
  await write(b, "4");
  await untilIds(a, "1 2 3 4");
  expect(await here.close()).toMatchObject({ received: 2, refused: 0, code: null });
  expect(await there.ended).toMatchObject({ received: 2, refused: 0, code: null });
  expect(await a.stateHash()).toBe(await b.stateHash());
});

/** A server of one mesh on loopback; the sessions it accepted. */
async function serveWebSocket(mesh: Mesh): Promise<{ url: string; sessions: SyncSession[] }> {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  const sessions: SyncSession[] = [];
  server.on("connection", (socket) => sessions.push(syncOverWebSocket(mesh, socket)));
  await event(server, "listening");
  onTestFinished(async () => {
    for (const socket of server.clients) socket.terminate();
    await new Promise((resolve) => server.close(resolve));
  });
  return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, sessions };
}

test("[T13] over a WebSocket three replicas meet at a server, and a new socket goes on", async () => {
  const [server, a, b] = (await openMeshes(3)) as readonly [Mesh, Mesh, Mesh];
  const { url, sessions } = await serveWebSocket(server);
  const one = syncOverWebSocket(a, new WebSocket(url), { peer: "server" });
  const two = syncOverWebSocket(b, new WebSocket(url), { peer: "server" });
  await write(a, "1");
  await untilIds(b, "1");
  await one.close();
  await sessions[0]?.ended;
  await write(a, "2");
  await write(b, "3", "x".repeat(300_000));
  await untilIds(server, "1 3");
  const again = syncOverWebSocket(a, new WebSocket(url), { peer: "server" });
  await Promise.all([a, b, server].map((mesh) => untilIds(mesh, "1 2 3")));
  const [first, second] = await Promise.all([again.close(), two.close()]);
  expect(first).toMatchObject({ code: null, received: 1, refused: 0 });
  expect(second.code).toBeNull();
  expect(await a.stateHash()).toBe(await b.stateHash());
});

test("[T14] a peer that breaks the channel's rules ends its own session, with a code", async () => {
  const [server, a] = await twoMeshes();
  const { url, sessions } = await serveWebSocket(server);
  const bad: readonly (readonly [string, readonly Uint8Array[]])[] = [
    ["ERR_NOT_CANONICAL", [new Uint8Array()]],
    ["ERR_NOT_CANONICAL", [Uint8Array.of(2, 1, 1)]],
    ["ERR_UNKNOWN_FORMAT", [Uint8Array.of(1, 99)]],
  ];
  for (const [i, [code, messages]] of bad.entries()) {
    const socket = new WebSocket(url);
    await event(socket, "open");
    for (const message of messages) socket.send(message);
    await event(socket, "close");
    expect((await sessions[i]?.ended)?.code).toBe(code);
  }
  // More packages than were agreed on, without waiting for a receipt.
  const flood = new WebSocket(url);
  await event(flood, "open");
  for (let i = 0; i < 40; i++) flood.send(Uint8Array.of(2, 1, 1));
  await event(flood, "close");
  expect((await sessions.at(-1)?.ended)?.code).not.toBeNull();
  // A receipt for what was not sent.
  const socket = new WebSocket(url);
  await event(socket, "open");
  const { bytes } = await a.inboundStream().position();
  socket.send(Buffer.concat([Uint8Array.of(1), bytes]));
  socket.send(Buffer.concat([Uint8Array.of(3, 9), bytes]));
  await event(socket, "close");
  expect((await sessions.at(-1)?.ended)?.code).toBe("ERR_NOT_CANONICAL");
  const good = syncOverWebSocket(a, new WebSocket(url));
  await write(a, "still served");
  await untilIds(server, "still served");
  await good.close();
});

test("[T14] another mesh, a text message and a closed mesh end the session", async () => {
  const [server, a] = await twoMeshes();
  const { url, sessions } = await serveWebSocket(server);
  const other = await openAlone();
  await other.invite();
  const foreign = syncOverWebSocket(other, new WebSocket(url));
  expect((await foreign.ended).code ?? (await sessions[0]?.ended)?.code).toBe("ERR_WRONG_MESH");
  const socket = new WebSocket(url);
  await event(socket, "open");
  socket.send("text");
  await event(socket, "close");
  const session = syncOverWebSocket(a, new WebSocket(url));
  await write(a, "1");
  await untilIds(server, "1");
  await a.close();
  expect((await session.ended).code).toBeNull();
});

async function serveHttp(mesh: Mesh): Promise<{ url: string; requests: () => number }> {
  const handle = httpStreamHandler(mesh);
  let requests = 0;
  const server = createServer((request, response) => {
    requests++;
    if (request.url === "/sync") void handle(request, response);
    else response.writeHead(200).end("the app's own page");
  });
  server.listen(0, "127.0.0.1");
  await event(server, "listening");
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/sync`;
  return { url, requests: () => requests };
}

test("[T15] over HTTP a client takes and gives; when nothing is new it asks twice", async () => {
  const [server, a, b] = (await openMeshes(3)) as readonly [Mesh, Mesh, Mesh];
  const { url, requests } = await serveHttp(server);
  await write(a, "1", "x".repeat(300_000));
  await write(b, "2");
  expect(await syncOverHttp(a, url, { peer: "server" })).toMatchObject({ sent: 1, received: 0 });
  expect(await syncOverHttp(b, url, { peer: "server" })).toMatchObject({ sent: 1, received: 1 });
  expect(await syncOverHttp(a, url, { peer: "server" })).toMatchObject({ sent: 0, received: 1 });
  for (const mesh of [server, a, b]) expect(await idsOf(mesh)).toBe("1 2");
  const before = requests();
  expect(await syncOverHttp(a, url)).toMatchObject({ sent: 0, received: 0 });
  expect(requests() - before).toBe(2);
});

test("[T15] a refused request is answered with its code, and the server goes on", async () => {
  const [server, a] = await twoMeshes();
  const { url } = await serveHttp(server);
  const post = async (body: Uint8Array<ArrayBuffer>): Promise<string> => {
    const response = await fetch(url, { method: "POST", body });
    return `${response.status} ${await response.text()}`;
  };
  expect(await post(new Uint8Array())).toBe("400 ERR_NOT_CANONICAL");
  expect(await post(Uint8Array.of(3, 0, 9))).toBe("400 ERR_UNKNOWN_FORMAT");
  expect((await fetch(url)).status).toBe(405);
  const other = await openAlone();
  await other.invite();
  await expect(syncOverHttp(other, url)).rejects.toMatchObject({ code: "ERR_WRONG_MESH" });
  await expect(syncOverHttp(a, url.replace("/sync", "/"))).rejects.toMatchObject({
    code: "ERR_UNKNOWN_FORMAT",
  });
  await expect(syncOverHttp(a, "http://127.0.0.1:1/")).rejects.toMatchObject({
    code: "ERR_NETWORK",
  });
  await expect(syncOverHttp(a, url, { signal: AbortSignal.abort() })).rejects.toMatchObject({
    code: "ERR_ABORTED",
  });
  await write(a, "1");
  await syncOverHttp(a, url);
  expect(await idsOf(server)).toBe("1");
});

const openIn = (directory: string): Promise<Mesh> => openAlone({ storage: { directory } });

/** Two replicas that follow different branches of one key, one of them further; and work of their own. */
async function forkedMeshes(): Promise<readonly [Mesh, Mesh]> {
  const [directory, copy] = [temporaryDirectory(), temporaryDirectory()];
  const founder = await openIn(directory);
  const join = await founder.invite();
  await write(founder, "1");
  await founder.close();
  cpSync(directory, copy, { recursive: true });
  const follow = async (place: string, name: string, ids: readonly string[]): Promise<Mesh> => {
    const follower = await openAlone({ join });
    // First, so that it does not build on the branch.
    await write(follower, name);
    const author = await openIn(place);
    for (const id of ids) await write(author, id);
    await follower.importBundle(author.exportBundle());
    return follower;
  };
  return [await follow(directory, "x", ["2a", "3a"]), await follow(copy, "y", ["2b"])];
}

const ALL = "1 2a 2b 3a x y";

test("[T15] over HTTP branches of one key cross in both directions, in few requests", async () => {
  const [server, client] = await forkedMeshes();
  const { url, requests } = await serveHttp(server);
  // The branch comes from where the key's log begins: neither knows where they part.
  expect(await syncOverHttp(client, url)).toMatchObject({ sent: 2, received: 4, refused: 0 });
  expect(requests()).toBe(4);
  for (const mesh of [server, client]) expect(await idsOf(mesh)).toBe(ALL);
  await expect.poll(() => client.status().digest === server.status().digest).toBe(true);
  expect(await syncOverHttp(client, url)).toMatchObject({ sent: 0, received: 0 });
  expect(requests()).toBe(6);
});

test("[T13] over a channel branches of one key cross once in each direction", async () => {
  const [further, behind] = await forkedMeshes();
  const { port1, port2 } = new MessageChannel();
  const here = syncOverMessagePort(further, port1);
  const there = syncOverMessagePort(behind, port2);
  await Promise.all([untilIds(further, ALL), untilIds(behind, ALL)]);
  await write(further, "z");
  await untilIds(behind, `${ALL} z`);
  expect(await here.close()).toMatchObject({ received: 2, refused: 0, code: null });
  expect(await there.ended).toMatchObject({ received: 5, refused: 0, code: null });
  await expect.poll(() => behind.status().digest === further.status().digest).toBe(true);
});
