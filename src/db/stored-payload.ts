/**
 * Payloads in the log. Up to one chunk a payload is a column of its changeset. Above it each chunk is
 * a row, as it arrives, is read and is served: only {@link wholePayload}, for streams, ever holds all
 * of one (docs/STORAGE.md, "Large changesets").
 *
 * @module
 */

import { ByteReader, concatBytes } from "../protocol/bytes.ts";
import type { ChangesetHeader, VerifiedChangeset, VerifiedOutline } from "../protocol/changeset.ts";
import { CHUNK_BYTES } from "../protocol/limits.ts";
import { chunkCount } from "../protocol/outline.ts";
import { PREFIX_BYTES_MAX } from "../protocol/payload.ts";
import type { Engine } from "./engine.ts";

/** Where a payload is. */
export interface StoredPayload {
  /** The payload; above one chunk the hashes of its chunks, as an outline lists them. */
  readonly bytes: Uint8Array;
  /** Of its chunks in `rowmesh_chunk`; null up to one chunk. */
  readonly number: number | null;
}

/** Verified by its outline, and then chunk by chunk. */
export interface AssembledChangeset extends Omit<VerifiedOutline, "__verified"> {
  readonly payload: StoredPayload;
}

/** On its way into the log, with its payload at hand or in `rowmesh_chunk` already. */
export type ArrivedChangeset = VerifiedChangeset | AssembledChangeset;

/** Takes it apart where it is large. Inside an open transaction. */
export function storePayload(
  engine: Engine,
  { payload, chunkHashes }: ArrivedChangeset,
): StoredPayload {
  if (!(payload instanceof Uint8Array)) return payload;
  if (chunkHashes === null) return { bytes: payload, number: null };
  const number = nextPayloadNumber(engine);
  for (let index = 0; index * CHUNK_BYTES < payload.length; index++) {
    const chunk = payload.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);
    insertChunk(engine, number, index, chunk);
  }
  return { bytes: chunkHashes, number };
}

/** One that no payload has, complete or not. */
export function nextPayloadNumber(engine: Engine): number {
  const next = engine.prepare(
    "SELECT 1 + max(coalesce((SELECT max(payload) FROM rowmesh_chunk), 0), coalesce((SELECT max(payload) FROM rowmesh_incoming), 0))",
  );
  next.step();
  const number = next.integer(0);
  next.reset();
  return number;
}

export function insertChunk(
  engine: Engine,
  number: number,
  index: number,
  bytes: Uint8Array,
): void {
  const insert = engine.prepare(
    "INSERT INTO rowmesh_chunk (payload, chunk, bytes) VALUES (?, ?, ?)",
  );
  insert.bindInteger(1, number);
  insert.bindInteger(2, index);
  insert.bindBlob(3, bytes);
  insert.run();
}

export function readChunk(engine: Engine, number: number, index: number): Uint8Array | null {
  const select = engine.prepare("SELECT bytes FROM rowmesh_chunk WHERE payload = ? AND chunk = ?");
  select.bindInteger(1, number);
  select.bindInteger(2, index);
  const bytes = select.step() ? select.blob(0) : null;
  select.reset();
  return bytes;
}

export function deleteChunks(engine: Engine, number: number): void {
  const drop = engine.prepare("DELETE FROM rowmesh_chunk WHERE payload = ?");
  drop.bindInteger(1, number);
  drop.run();
}

/** Reads it chunk by chunk. */
export const payloadReader = (
  engine: Engine,
  { payloadBytes }: ChangesetHeader,
  payload: StoredPayload,
): ByteReader =>
  new ByteReader(
    payload.number === null
      ? payload.bytes
      : { bytes: payloadBytes, pieces: chunksOf(engine, payloadBytes, payload.number) },
  );

/** Its first bytes, with all of the prefix. */
export const payloadStart = (engine: Engine, { bytes, number }: StoredPayload): Uint8Array =>
  (number === null ? bytes : chunkOf(engine, number, 0)).subarray(0, PREFIX_BYTES_MAX);

/** All of it in memory. */
export const wholePayload = (
  engine: Engine,
  { payloadBytes }: ChangesetHeader,
  { bytes, number }: StoredPayload,
): Uint8Array =>
  number === null ? bytes : concatBytes([...chunksOf(engine, payloadBytes, number)]);

function* chunksOf(engine: Engine, payloadBytes: number, number: number): Generator<Uint8Array> {
  for (let index = 0; index < chunkCount(payloadBytes); index++)
    yield chunkOf(engine, number, index);
}

function chunkOf(engine: Engine, number: number, index: number): Uint8Array {
  const chunk = readChunk(engine, number, index);
  if (chunk === null) throw new RangeError(`no chunk ${index} of payload ${number}`);
  return chunk;
}
