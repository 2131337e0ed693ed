/** 100,000 rows in one transaction to a real device that is killed half way: what crosses the network. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { build } from "vite";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import type { Mesh } from "../../src/node/api.ts";
import { openHubMesh, openMesh } from "../../src/node/open-mesh-node.ts";
import { createWebrtcCertificate } from "../../src/node/webrtc-certificate.ts";
import { inviteLink, parseInviteLink } from "../../src/protocol/genesis.ts";
import { ANIMALS } from "../fixtures/replicas.ts";
import { temporaryDirectory } from "../unit/temporary-directory.ts";

const ROWS = 100_000;
/** Inside the project, so that Node finds the dependencies. */
const BUILT = join(import.meta.dirname, `../../node_modules/.cache/rowmesh-large-${process.pid}`);

beforeAll(async () => {
  await build({
    configFile: false,
    logLevel: "error",
    build: {
      ssr: join(import.meta.dirname, "receiver-child.ts"),
      outDir: BUILT,
      emptyOutDir: true,
      target: "es2022",
      // The package says it has no side effects; its polyfills are one.
      rolldownOptions: { treeshake: false, output: { entryFileNames: "child.mjs" } },
    },
  });
}, 120_000);
afterAll(() => rmSync(BUILT, { recursive: true, force: true }));

interface Counter {
  readonly port: number;
  /** That went from the other port to whoever dialled this one. */
  readonly bytes: () => number;
}

/** Passes TCP on and counts it. */
async function countBytes(target: number): Promise<Counter> {
  let bytes = 0;
  const server = createServer((client) => {
    const upstream = connect(target, "127.0.0.1");
    client.pipe(upstream);
    upstream.on("data", (data) => {
      bytes += data.length;
    });
    upstream.pipe(client);
    for (const socket of [client, upstream]) {
      socket
        .on("error", () => undefined)
        .on("close", () => {
          client.destroy();
          upstream.destroy();
        });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const address = server.address();
  if (address === null || typeof address === "string") throw new RangeError("a port");
  return { port: address.port, bytes: () => bytes };
}

/** The link with the hub behind the counter. */
async function throughCounter(link: string): Promise<{ link: string; counter: Counter }> {
  const invite = parseInviteLink(link);
  const hub = invite.hubs.find((each) => /127\.0\.0\.1\/tcp\/\d+\/p2p/.test(each)) ?? "";
  const port = /tcp\/(\d+)/.exec(hub)?.[1];
  const counter = await countBytes(Number(port));
  const hubs = [hub.replace(`/tcp/${port}/`, `/tcp/${counter.port}/`)];
  return { link: inviteLink({ ...invite, hubs }, "https://rowmesh.example/"), counter };
}

/** @returns the last line; killed when that many bytes are held */
async function receive(directory: string, link: string, killAt: number): Promise<string> {
  const child = spawn(process.execPath, [join(BUILT, "child.mjs"), directory, link, String(ROWS)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const exit = once(child, "exit");
  let last = "";
  for await (const line of createInterface({ input: child.stdout })) {
    last = line;
    if (line.startsWith("held") && Number(line.split(" ")[1]) >= killAt) child.kill("SIGKILL");
  }
  await exit;
  return last;
}

async function open(): Promise<{ hub: Mesh; author: Mesh }> {
  const certificate = await createWebrtcCertificate(new Uint8Array(8).fill(1), Date.now());
  const hub = await openHubMesh(
    { name: "hub", storage: "memory" },
    { meshName: "large", listen: ["/ip4/127.0.0.1/tcp/0"], certificate },
  );
  onTestFinished(() => hub.close());
  const link = await hub.invite();
  const author = await openMesh({ name: "author", schema: ANIMALS, storage: "memory", join: link });
  return { hub, author };
}

test("[AE19] killed at 40 %, a device fetches the rest and not all of it again", async () => {
  const { hub, author } = await open();
  await author.db.exec(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO animal SELECT printf('row-%07d', i), hex(randomblob(24)), i, i / 3.0, NULL FROM n",
    [ROWS],
  );
  await expect
    .poll(() => hub.status().authors.find(({ siteId }) => siteId === author.siteId)?.version, {
      timeout: 120_000,
    })
    .toBe(1);
  const hash = await author.stateHash();
  await author.close();
  const payloadBytes = 8_600_000;
  const { link, counter } = await throughCounter(await hub.invite());
  const directory = temporaryDirectory();
  const killed = await receive(directory, link, 0.4 * payloadBytes);
  expect(killed).toMatch(/^held/);
  const before = counter.bytes();
  expect(before).toBeLessThan(0.75 * payloadBytes);
  expect(await receive(directory, link, Number.POSITIVE_INFINITY)).toBe(`done ${hash}`);
  expect(counter.bytes() - before).toBeLessThan(0.7 * payloadBytes);
  expect(counter.bytes()).toBeLessThan(1.2 * payloadBytes);
}, 300_000);
