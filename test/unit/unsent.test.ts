/** How many of its own changes a device has that are known to nobody else. */
import { afterEach, expect, test } from "vitest";
import type { Mesh } from "../../src/node/api.ts";
import { openHubMesh, openMesh } from "../../src/node/open-mesh-node.ts";
import { createWebrtcCertificate } from "../../src/node/webrtc-certificate.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

const schema = {
  version: 1,
  tables: ["CREATE TABLE note (id TEXT PRIMARY KEY NOT NULL, text TEXT) STRICT"],
};
const opened: Mesh[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((mesh) => mesh.close()));
});

async function openHub(): Promise<Mesh> {
  const certificate = await createWebrtcCertificate(new Uint8Array(8).fill(3), Date.now());
  const hub = await openHubMesh(
    { name: "hub", storage: "memory" },
    { meshName: "hub", listen: ["/ip4/127.0.0.1/tcp/0"], certificate },
  );
  opened.push(hub);
  return hub;
}

test("drafts count, what the hub took does not, also after both were closed", async () => {
  const directory = temporaryDirectory();
  const hub = await openHub();
  const open = async (network: "on" | "off"): Promise<Mesh> => {
    const mesh = await openMesh({ name: "device", schema, storage: { directory }, network });
    opened.push(mesh);
    return mesh;
  };
  let mesh = await open("on");
  const unsent = async (count: number): Promise<void> => {
    await expect.poll(() => mesh.status().unsent, { timeout: 10_000 }).toBe(count);
  };
  const write = (id: string) => mesh.db.exec("INSERT INTO note VALUES (?, 'x')", [id]);
  for (const id of ["a", "b", "c"]) await write(id);
  await unsent(3);
  await mesh.join(await hub.invite());
  await unsent(0);
  expect(mesh.status().peers).toMatchObject([{ role: "hub", quality: "good", lacks: [] }]);
  await hub.close();
  await write("d");
  await unsent(1);
  await mesh.close();

  mesh = await open("off");
  expect(mesh.status()).toMatchObject({ unsent: 1, peers: [], online: false });
  await write("e");
  await unsent(2);
  // Files stay: nobody needs to hurry.
  expect(mesh.status().notices.join()).not.toMatch(/no other device/);
});
