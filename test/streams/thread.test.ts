/** A replica in a thread of its own (`node:worker_threads`), another one here, a port between them. */
import { once } from "node:events";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { MessageChannel, Worker } from "node:worker_threads";
import { expect, onTestFinished, test } from "vitest";
import { syncOverMessagePort } from "../../src/streams/message-port.ts";
import { openAlone, untilIds, write } from "./meshes.ts";

const dist = (file: string): string => pathToFileURL(join("dist", file)).href;

/** Writes a row, tells when it has both, ends with the session. */
const THREAD = `
import "${dist("cli/node20-polyfills.js")}";
import { parentPort, workerData } from "node:worker_threads";
import { openMesh } from "${dist("index.js")}";
import { syncOverMessagePort } from "${dist("streams/index.js")}";

const { port, ...options } = workerData;
const mesh = await openMesh({ ...options, name: "thread", storage: "memory", network: "off" });
await mesh.db.exec("INSERT INTO note VALUES ('thread', 'text')");
const session = syncOverMessagePort(mesh, port);
mesh.db.watch("SELECT id FROM note ORDER BY id", [], ({ rows }) => {
  if (rows.length === 2) parentPort.postMessage(rows.map(({ id }) => id).join(" "));
});
const { code } = await session.ended;
await mesh.close();
parentPort.postMessage("ended " + code);
`;

test("[T13] a thread's replica and this one have what both wrote", async () => {
  const mesh = await openAlone();
  const link = await mesh.invite();
  const { port1, port2 } = new MessageChannel();
  const thread = new Worker(new URL(`data:text/javascript,${encodeURIComponent(THREAD)}`), {
    workerData: {
      port: port2,
      join: link,
      schema: {
        version: 1,
        tables: ["CREATE TABLE note (id TEXT PRIMARY KEY NOT NULL, text TEXT) STRICT"],
      },
    },
    transferList: [port2],
  });
  onTestFinished(async () => {
    await thread.terminate();
  });
  const told = once(thread, "message");
  const session = syncOverMessagePort(mesh, port1);
  await write(mesh, "here");
  await untilIds(mesh, "here thread");
  expect(await told).toEqual(["here thread"]);
  const ended = once(thread, "message");
  expect(await session.close()).toMatchObject({ received: 1, refused: 0, code: null });
  expect(await ended).toEqual(["ended null"]);
}, 30_000);

test("[T14] a session ends when the other end goes without a word", async () => {
  const mesh = await openAlone();
  await mesh.invite();
  const { port1, port2 } = new MessageChannel();
  const session = syncOverMessagePort(mesh, port1);
  port2.close();
  expect(await session.ended).toEqual({ sent: 0, received: 0, refused: 0, code: null });
});
