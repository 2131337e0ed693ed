/** Devices that go on and off the network, rebuild and close in the middle of everything. */
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Mesh } from "../../src/node/api.ts";
import { openHubMesh, openMesh } from "../../src/node/open-mesh-node.ts";
import { createWebrtcCertificate } from "../../src/node/webrtc-certificate.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const schema = {
  version: 1,
  tables: ["CREATE TABLE note (id TEXT PRIMARY KEY NOT NULL, text TEXT) STRICT"],
};
const random = createSeededRandom(11);
const uncaught: unknown[] = [];
const onUncaught = (error: unknown): void => void uncaught.push(error);
let hub: Mesh;
let link: string;

beforeAll(async () => {
  process.on("uncaughtException", onUncaught).on("unhandledRejection", onUncaught);
  const certificate = await createWebrtcCertificate(new Uint8Array(8).fill(1), Date.now());
  hub = await openHubMesh(
    { name: "hub", storage: "memory" },
    { meshName: "churn", listen: ["/ip4/127.0.0.1/tcp/0"], certificate },
  );
  link = await hub.invite();
});
afterAll(async () => {
  await hub.close();
  process.off("uncaughtException", onUncaught).off("unhandledRejection", onUncaught);
});

const open = (name: string): Promise<Mesh> =>
  openMesh({ name, schema, storage: "memory", join: link });
const pause = (ms: number) => new Promise((resolve) => void setTimeout(resolve, ms));

async function agreed(meshes: readonly Mesh[], rows: number): Promise<void> {
  for (;;) {
    const digests = new Set([hub, ...meshes].map((mesh) => mesh.status().digest));
    const hashes = new Set(await Promise.all(meshes.map((mesh) => mesh.stateHash())));
    const counts = await Promise.all(
      meshes.map((mesh) => mesh.db.query<{ n: number }>("SELECT count(*) AS n FROM note")),
    );
    const all = counts.every(([count]) => count?.n === rows);
    if (digests.size === 1 && hashes.size === 1 && all) return;
    await pause(50);
  }
}

test("on and off, rebuilding and writing at once: nothing is lost, nothing hangs", async () => {
  const meshes = await Promise.all(["a", "b", "c"].map(open));
  const pending: Promise<unknown>[] = [];
  let rows = 0;
  for (let step = 0; step < 120; step++) {
    const mesh = meshes[random.below(3)] as Mesh;
    const write = () => mesh.db.exec("INSERT INTO note VALUES (?, 'x')", [`n${rows++}`]);
    const acts = [
      write,
      write,
      write,
      () => mesh.online(false),
      () => mesh.online(true),
      mesh.rebuild,
      mesh.invite,
      () => mesh.join(link),
      mesh.stateHash,
    ];
    pending.push((acts[random.below(acts.length)] ?? write)());
    if (random.below(3) === 0) await pause(random.below(30));
  }
  await Promise.all(pending);
  await Promise.all(meshes.map((mesh) => mesh.online(true)));
  await agreed(meshes, rows);
  // Closed in the middle of calls: each ends, one way or another.
  const last = meshes.flatMap((mesh) => [
    mesh.db.transaction(async (tx) => {
      await pause(20);
      await tx.exec("INSERT INTO note VALUES (?, 'y')", [mesh.siteId]);
    }),
    mesh.db.query("SELECT 1"),
    mesh.online(false),
    mesh.rebuild(),
    mesh.online(true),
    mesh.invite(),
  ]);
  const closing = meshes.map((mesh) => mesh.close());
  const codes = (await Promise.allSettled(last)).map((each) =>
    each.status === "fulfilled" ? "done" : (each.reason as { code: string }).code,
  );
  await Promise.all(closing);
  expect(new Set(codes)).toEqual(new Set(["done", "ERR_CLOSED"]));
  await pause(200);
  expect(uncaught).toEqual([]);
});
