/**
 * What streams carry between replicas over anybody's network: packages of runs, and positions that
 * say what a replica holds (PROTOCOL §12, docs/STREAMS.md). Opaque to the carrier.
 * ```
 * package   u8 format │ u8 1 │ 32 mesh │ varint count │ count × sized run
 * position  u8 format │ u8 2 │ 32 mesh │ varint count │ count × vector entry
 * ```
 *
 * @module
 */

import { ByteReader, ByteWriter, notCanonical } from "./bytes.ts";
import { MeshError } from "./errors.ts";
import { fromHex, HASH_BYTES, type MeshId, meshId } from "./ids.ts";
import {
  FORMAT_VERSION,
  PACKAGE_BYTES_MAX,
  PACKAGE_RUNS_MAX,
  RUN_BYTES_MAX,
  VECTOR_ENTRIES_PER_PEER_MAX,
} from "./limits.ts";
import {
  authorStream,
  readVectorEntry,
  type VectorEntry,
  writeVectorEntry,
} from "./version-vector.ts";

export interface StreamPackage {
  readonly mesh: MeshId;
  /** At least one, each undecoded: see `changeset-run.ts`. */
  readonly runs: readonly Uint8Array[];
}

export interface StreamPosition {
  readonly mesh: MeshId;
  /** Ascending by author and stream. The hashes of heads may be zeros: nobody compares them. */
  readonly entries: readonly VectorEntry[];
}

const PACKAGE = 1;
const POSITION = 2;

export function encodePackage({ mesh, runs }: StreamPackage): Uint8Array<ArrayBuffer> {
  if (runs.length === 0 || runs.length > PACKAGE_RUNS_MAX) throw new RangeError("runs");
  const writer = new ByteWriter(runs.reduce((sum, { length }) => sum + length + 5, 64))
    .u8(FORMAT_VERSION)
    .u8(PACKAGE)
    .raw(fromHex(mesh))
    .varint(runs.length);
  for (const run of runs) writer.sized(run);
  return writer.finish();
}

/** Views into `bytes`, not copies. @throws MeshError ERR_NOT_CANONICAL, ERR_LIMIT, ERR_UNKNOWN_FORMAT */
export function decodePackage(bytes: Uint8Array): StreamPackage {
  if (bytes.length > PACKAGE_BYTES_MAX) throw new MeshError("ERR_LIMIT", "package too large");
  const reader = new ByteReader(bytes);
  const mesh = readStart(reader, PACKAGE);
  const count = reader.varint(PACKAGE_RUNS_MAX);
  if (count === 0) throw notCanonical("empty package");
  const runs: Uint8Array[] = [];
  for (let i = 0; i < count; i++) runs.push(reader.sized(RUN_BYTES_MAX));
  reader.end();
  return { mesh, runs };
}

/** Sorts the entries. */
export function encodePosition({ mesh, entries }: StreamPosition): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(64 + 64 * entries.length)
    .u8(FORMAT_VERSION)
    .u8(POSITION)
    .raw(fromHex(mesh))
    .varint(entries.length);
  const sorted = [...entries].sort((a, b) => (authorStream(a) < authorStream(b) ? -1 : 1));
  for (const entry of sorted) writeVectorEntry(writer, entry);
  return writer.finish();
}

/** @throws MeshError ERR_NOT_CANONICAL, ERR_LIMIT, ERR_UNKNOWN_FORMAT */
export function decodePosition(bytes: Uint8Array): StreamPosition {
  const reader = new ByteReader(bytes);
  const mesh = readStart(reader, POSITION);
  const count = reader.varint(VECTOR_ENTRIES_PER_PEER_MAX);
  const entries: VectorEntry[] = [];
  let last = "";
  for (let i = 0; i < count; i++) {
    const entry = readVectorEntry(reader);
    const key = authorStream(entry);
    if (key <= last) throw notCanonical("entries not ascending");
    last = key;
    entries.push(entry);
  }
  reader.end();
  return { mesh, entries };
}

function readStart(reader: ByteReader, type: number): MeshId {
  const format = reader.u8();
  if (format !== FORMAT_VERSION) {
    throw new MeshError("ERR_UNKNOWN_FORMAT", `packet of format ${format}`);
  }
  if (reader.u8() !== type) throw notCanonical("another kind of packet");
  return meshId(reader.raw(HASH_BYTES));
}
