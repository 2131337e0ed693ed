/**
 * Bytes on the wire of the smallest changesets, through the real write path: what rowmesh hands to
 * the network for one changeset with one dependency, a 16-byte key and 10-byte values.
 *
 * @module
 */

import { createMemoryStorage } from "../src/db/storage-memory.ts";
import type { Replica } from "../src/node/replica.ts";
import { decodeBroadcast } from "../src/protocol/changeset-run.ts";
import { WANT_BYTES_MAX } from "../src/protocol/limits.ts";
import type { SqlValue } from "../src/protocol/values.ts";
import { createBenchMesh } from "./bench-mesh.ts";
import type { Schema } from "../src/db/schema.ts";

export interface WireBytes {
  readonly oneCellBytes: number;
  readonly insertBytes: number;
}

const SCHEMA: Schema = {
  version: 1,
  tables: [
    "CREATE TABLE note (id BLOB PRIMARY KEY NOT NULL, a TEXT, b TEXT, c TEXT, d TEXT, e TEXT) STRICT",
  ],
};
const INSERT = "INSERT INTO note VALUES (?, ?, ?, ?, ?, ?)";
const UPDATE = "UPDATE note SET c = ? WHERE id = ?";
const TEN_BYTES = "ten bytes.";

const row = (keyByte: number): SqlValue[] => [
  new Uint8Array(16).fill(keyByte),
  ...Array.from({ length: 5 }, () => TEN_BYTES),
];

export async function benchWireBytes(): Promise<WireBytes> {
  const mesh = await createBenchMesh(SCHEMA);
  const [author, other] = await Promise.all([
    mesh.openReplica(createMemoryStorage()),
    mesh.openReplica(createMemoryStorage()),
  ]);
  await Promise.all([author.offer("on"), other.offer("on")]);
  // The author's first changeset carries its key and the schema's hash: it is not a typical one.
  await author.db.exec(INSERT, row(1));

  let others = 128;
  /** Writes on top of a changeset of the other's that the author has not answered yet. */
  const measure = async (sql: string, params: readonly SqlValue[]) => {
    await other.db.exec(INSERT, row(others++));
    await send(other, author);
    const broadcast = await broadcastOf(author, () => author.db.exec(sql, params));
    const { dependencies } = decodeBroadcast(broadcast).changeset.header;
    if (dependencies.length !== 1) throw new RangeError(`${dependencies.length} dependencies`);
    return broadcast.length;
  };
  const oneCellBytes = await measure(UPDATE, ["other ten!", new Uint8Array(16).fill(1)]);
  const insertBytes = await measure(INSERT, row(2));
  await Promise.all([author.close(), other.close()]);
  return { oneCellBytes, insertBytes };
}

async function send(from: Replica, to: Replica): Promise<void> {
  const { siteId: site } = from.keys;
  const entry = (await from.vector()).find((candidate) => candidate.site === site);
  if (entry === undefined) throw new RangeError("nothing was released");
  const last = entry.head;
  const { runs } = await from.read({ site, stream: "data", first: last, last }, WANT_BYTES_MAX);
  const outcomes = await to.ingest(runs.map((bytes) => ({ type: "run", bytes })));
  if (outcomes.flat().some(({ verdict }) => verdict !== "applied")) {
    throw new RangeError(JSON.stringify(outcomes));
  }
}

async function broadcastOf(author: Replica, write: () => Promise<unknown>): Promise<Uint8Array> {
  const broadcasts: Uint8Array[] = [];
  const stop = author.onChange((change) => broadcasts.push(...change.broadcasts));
  await write();
  stop();
  const [broadcast] = broadcasts;
  if (broadcast === undefined || broadcasts.length > 1) throw new RangeError("one broadcast");
  return broadcast;
}
