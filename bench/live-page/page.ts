/**
 * One device of the live latency benchmark: an app that writes rows, and watches them arrive.
 *
 * @module
 */

import { type Mesh, type MeshStatus, openMesh } from "rowmesh";

export interface LiveDevice {
  readonly open: (join: string) => Promise<void>;
  /** Resolves with the kind of the direct link to another device, once there is one. */
  readonly linked: () => Promise<string>;
  /** Writes one row. @returns milliseconds since 1970: before the call, and when it was durable. */
  readonly write: (
    id: number,
  ) => Promise<{ readonly calledMs: number; readonly committedMs: number }>;
  /** Resolves with the time at which the watched query showed the row. */
  readonly seen: (id: number) => Promise<number>;
  readonly storage: () => string;
  readonly close: () => Promise<void>;
}

declare global {
  interface Window {
    device: LiveDevice;
  }
}

const SCHEMA = {
  version: 1,
  tables: ["CREATE TABLE mark (id INTEGER PRIMARY KEY NOT NULL, note TEXT) STRICT"],
};

const LOOK_MS = 50;

let mesh: Mesh | null = null;
const seenMsById = new Map<number, number>();
const waiting = new Map<number, (seenMs: number) => void>();

function opened(): Mesh {
  if (mesh === null) throw new RangeError("call open first");
  return mesh;
}

function onRows(rows: readonly { readonly id: number }[]): void {
  const nowMs = Date.now();
  for (const { id } of rows) {
    if (seenMsById.has(id)) continue;
    seenMsById.set(id, nowMs);
    waiting.get(id)?.(nowMs);
  }
}

const linkOf = ({ peers }: MeshStatus): string | undefined =>
  peers.find(({ role, link }) => role === "device" && link === "webrtc")?.link;

window.device = {
  open: async (join) => {
    mesh = await openMesh({ name: "live", schema: SCHEMA, join });
    mesh.db.watch<{ id: number }>("SELECT id FROM mark ORDER BY id DESC LIMIT 4", [], ({ rows }) =>
      onRows(rows),
    );
  },
  linked: async () => {
    for (;;) {
      const link = linkOf(opened().status());
      if (link !== undefined) return link;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  },
  write: async (id) => {
    const calledMs = Date.now();
    await opened().db.exec("INSERT INTO mark VALUES (?, 'ten bytes.')", [id]);
    return { calledMs, committedMs: Date.now() };
  },
  seen: (id) =>
    new Promise((resolve) => {
      const seenMs = seenMsById.get(id);
      if (seenMs === undefined) waiting.set(id, resolve);
      else resolve(seenMs);
    }),
  storage: () => opened().status().storage.kind,
  close: () => opened().close(),
};
