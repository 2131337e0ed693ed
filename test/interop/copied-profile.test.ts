/** A profile's directory is copied while it is off; then both are on, at one hub, under one key. */
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Mesh } from "../../src/node/api.ts";
import { openHubMesh, openMesh } from "../../src/node/open-mesh-node.ts";
import { createWebrtcCertificate } from "../../src/node/webrtc-certificate.ts";
import { temporaryDirectory } from "../unit/temporary-directory.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const schema = {
  version: 1,
  tables: ["CREATE TABLE note (id TEXT PRIMARY KEY NOT NULL, text TEXT) STRICT"],
};
let hub: Mesh;
let link: string;

beforeAll(async () => {
  const certificate = await createWebrtcCertificate(new Uint8Array(8).fill(1), Date.now());
  hub = await openHubMesh(
    { name: "hub", storage: "memory" },
    { meshName: "copies", listen: ["/ip4/127.0.0.1/tcp/0"], certificate },
  );
  link = await hub.invite();
});
afterAll(() => hub.close());

const openIn = (directory: string): Promise<Mesh> =>
  openMesh({ name: "notes", schema, storage: { directory }, join: link });
const write = (mesh: Mesh, id: string) => mesh.db.exec("INSERT INTO note VALUES (?, 'x')", [id]);
const pause = (ms: number) => new Promise((resolve) => void setTimeout(resolve, ms));

const idsOf = async (mesh: Mesh): Promise<readonly string[]> =>
  (await mesh.db.query<{ id: string }>("SELECT id FROM note ORDER BY id")).map(({ id }) => id);

/** Waits until all hold the rows, and say the same. */
async function agreed(meshes: readonly Mesh[], ids: readonly string[]): Promise<void> {
  const wanted = [...ids].sort().join();
  for (;;) {
    const digests = new Set([hub, ...meshes].map((mesh) => mesh.status().digest));
    const held = await Promise.all(meshes.map(async (mesh) => (await idsOf(mesh)).join()));
    if (digests.size === 1 && held.every((each) => each === wanted)) return;
    await pause(50);
  }
}

test("[L13] two copies of a profile at one hub: one takes a new key and a new peer id, and no row is lost", async () => {
  const directory = temporaryDirectory();
  const ids = ["before"];
  let first = await openIn(join(directory, "first"));
  await write(first, "before");
  await agreed([first], ids);
  const former = { siteId: first.siteId, peerId: first.peerId };
  await first.close();
  await cp(join(directory, "first"), join(directory, "clone"), { recursive: true });

  first = await openIn(join(directory, "first"));
  let clone = await openIn(join(directory, "clone"));
  expect([first.siteId, first.peerId]).toEqual([clone.siteId, clone.peerId]);
  const seen: string[] = [];
  const stop = first.db.watch<{ id: string }>("SELECT id FROM note", [], ({ rows }) => {
    seen.splice(0, seen.length, ...rows.map(({ id }) => id));
  });
  // As people do: each goes on, without waiting for the other. The hub hears them in turns.
  for (let round = 0; first.siteId === clone.siteId; round++) {
    for (const [name, mesh] of Object.entries({ first, clone })) {
      ids.push(`${name}${round}`);
      await write(mesh, `${name}${round}`);
    }
    await pause(200);
  }
  await agreed([first, clone], ids);
  expect(first.peerId).not.toBe(clone.peerId);
  const keepers = [first, clone].filter(({ siteId }) => siteId === former.siteId);
  expect(keepers.length).toBeLessThan(2);

  // On with the new key, without anybody doing anything.
  for (const [name, mesh] of Object.entries({ first, clone })) {
    ids.push(`${name} after`);
    await write(mesh, `${name} after`);
  }
  await agreed([first, clone], ids);
  while (seen.length < ids.length) await pause(50);
  stop();
  for (const mesh of [first, clone]) {
    const { newKeys, notices, peers } = mesh.status();
    expect(peers.map(({ peerId }) => peerId)).toContain(hub.peerId);
    if (keepers.includes(mesh)) continue;
    expect(newKeys).toMatchObject([{ formerSiteId: former.siteId, siteId: mesh.siteId }]);
    expect(notices.join(" ")).toContain("This profile exists twice");
  }
  const { siteId } = clone;
  await clone.close();
  clone = await openIn(join(directory, "clone"));
  expect(clone.siteId).toBe(siteId);
  expect(await first.stateHash()).toBe(await clone.stateHash());
  await Promise.all([first.close(), clone.close()]);
});
