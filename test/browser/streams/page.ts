/** Two replicas of one page, each in its own worker, and what joins them. */
import { type Mesh, openMesh } from "rowmesh";
import { syncOverMessagePort } from "rowmesh/streams";

const NOTES = {
  version: 1,
  tables: ["CREATE TABLE note (id TEXT PRIMARY KEY NOT NULL) STRICT"],
};

const streamsOfPage = {
  open: (name: string, join?: string): Promise<Mesh> =>
    openMesh({
      name,
      schema: NOTES,
      network: "off",
      ...(join === undefined ? {} : { join }),
    }),
  write: (mesh: Mesh, id: string): Promise<number> =>
    mesh.db.exec("INSERT INTO note VALUES (?)", [id]),
  /** Resolves with them when there are that many. */
  untilIds: (mesh: Mesh, count: number): Promise<string> =>
    new Promise((resolve) => {
      const stop = mesh.db.watch<{ id: string }>(
        "SELECT id FROM note ORDER BY id",
        [],
        ({ rows }) => {
          if (rows.length < count) return;
          queueMicrotask(() => stop());
          resolve(rows.map(({ id }) => id).join(" "));
        },
      );
    }),
  syncOverMessagePort,
};

declare global {
  var streams: typeof streamsOfPage;
}
globalThis.streams = streamsOfPage;
