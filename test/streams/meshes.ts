/** Meshes without a network, for streams to join: in memory unless a directory is named. */
import { onTestFinished } from "vitest";
import { openMesh } from "../../src/node/open-mesh-node.ts";
import type { Mesh, OpenMeshOptions } from "../../src/node/api.ts";

export const NOTES = {
  version: 1,
  tables: ["CREATE TABLE note (id TEXT PRIMARY KEY NOT NULL, text TEXT) STRICT"],
};

/** Closed when the test ends. */
export async function openAlone(options: Partial<OpenMeshOptions> = {}): Promise<Mesh> {
  const mesh = await openMesh({
    name: "streams",
    schema: NOTES,
    storage: "memory",
    network: "off",
    ...options,
  });
  onTestFinished(() => mesh.close());
  return mesh;
}

/** The first one founds the mesh. */
export async function openMeshes(count: number): Promise<readonly [Mesh, ...Mesh[]]> {
  const first = await openAlone();
  const join = await first.invite();
  const others: Mesh[] = [];
  for (let i = 1; i < count; i++) others.push(await openAlone({ join }));
  return [first, ...others];
}

export const write = (mesh: Mesh, id: string, text = "text"): Promise<number> =>
  mesh.db.exec("INSERT INTO note VALUES (?, ?) ON CONFLICT DO UPDATE SET text = excluded.text", [
    id,
    text,
  ]);

export const idsOf = async (mesh: Mesh): Promise<string> =>
  (await mesh.db.query<{ id: string }>("SELECT id FROM note ORDER BY id"))
    .map(({ id }) => id)
    .join(" ");

/** Until it has these rows. */
export async function untilIds(mesh: Mesh, ids: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const stop = mesh.db.watch<{ id: string }>(
      "SELECT id FROM note ORDER BY id",
      [],
      ({ rows }) => {
        if (rows.map(({ id }) => id).join(" ") !== ids) return;
        queueMicrotask(() => stop());
        resolve();
      },
      { onError: reject },
    );
  });
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
