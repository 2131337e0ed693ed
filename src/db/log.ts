/**
 * The signed log: changesets as they arrived, in the order of arrival, addressed by author, stream
 * and version. Nothing here reads a payload (docs/STORAGE.md, "The log").
 *
 * @module
 */

import {
  type ChangesetHeader,
  decodeHeader,
  type SignedChangeset,
  type Stream,
  type VerifiedChangeset,
} from "../protocol/changeset.ts";
import { encodeRun } from "../protocol/changeset-run.ts";
import type { MeshErrorCode } from "../protocol/errors.ts";
import { fromHex, type HeaderHash, headerHash, ZERO_HASH } from "../protocol/ids.ts";
import { RUN_CHANGESETS_MAX } from "../protocol/limits.ts";
import { encodeOutline } from "../protocol/outline.ts";
import type { VersionRange } from "../protocol/version-vector.ts";
import type { Chain } from "./chains.ts";
import type { Engine } from "./engine.ts";
import { LOG_STATES, type LogState, logStateOf } from "./log-tables.ts";
import type { Statement } from "./statement.ts";
import { deleteChunks, type StoredPayload, wholePayload } from "./stored-payload.ts";

export interface LogEntry {
  readonly id: number;
  readonly state: LogState;
  readonly code: MeshErrorCode | null;
  /** Place in merge order, from 1; null unless merged. */
  readonly merged: number | null;
  readonly headerHash: HeaderHash;
  readonly previousHash: HeaderHash;
  readonly header: ChangesetHeader;
  readonly headerBytes: Uint8Array;
  readonly signature: Uint8Array;
  readonly payload: StoredPayload;
}

export interface LogVerdict {
  readonly state: LogState;
  readonly code: MeshErrorCode | null;
  readonly merged: number | null;
}

export const streamByteOf = (stream: Stream): number => (stream === "data" ? 0 : 1);

const COLUMNS =
  "id, state, code, merged, header_hash, previous_hash, header, signature, chunks, payload";
const VERSION = 10;

/** One that is there already, written here and restored, is replaced. */
export function insertEntry(
  engine: Engine,
  chain: Chain,
  changeset: Pick<
    VerifiedChangeset,
    "header" | "headerBytes" | "signature" | "headerHash" | "previousHash"
  >,
  payload: StoredPayload,
  { state, code, merged }: LogVerdict,
): void {
  const insert = engine.prepare(
    "INSERT INTO rowmesh_log (author, stream, version, state, code, merged, header_hash, previous_hash, header, signature, chunks, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (author, stream, version, header_hash) DO UPDATE SET state = excluded.state, code = excluded.code, merged = excluded.merged RETURNING chunks",
  );
  insert.bindInteger(1, chain.author);
  insert.bindInteger(2, streamByteOf(chain.stream));
  insert.bindInteger(3, changeset.header.version);
  insert.bindInteger(4, LOG_STATES[state]);
  if (code === null) insert.bindNull(5);
  else insert.bindText(5, code);
  if (merged === null) insert.bindNull(6);
  else insert.bindInteger(6, merged);
  insert.bindBlob(7, fromHex(changeset.headerHash));
  insert.bindBlob(8, fromHex(changeset.previousHash));
  insert.bindBlob(9, changeset.headerBytes);
  insert.bindBlob(10, changeset.signature);
  if (payload.number === null) insert.bindNull(11);
  else insert.bindInteger(11, payload.number);
  insert.bindBlob(12, payload.bytes);
  insert.step();
  const isKept = payload.number === null || insert.integer(0) === payload.number;
  insert.reset();
  if (!isKept) deleteChunks(engine, payload.number);
}

export function updateVerdict(engine: Engine, id: number, verdict: LogVerdict): void {
  const update = engine.prepare(
    "UPDATE rowmesh_log SET state = ?, code = ?, merged = ? WHERE id = ?",
  );
  update.bindStored([
    BigInt(LOG_STATES[verdict.state]),
    verdict.code,
    verdict.merged === null ? null : BigInt(verdict.merged),
    BigInt(id),
  ]);
  update.run();
}

export function readEntry(engine: Engine, chain: Chain, version: number): LogEntry | null {
  const select = selectFrom(engine, chain, version);
  const entry = select.step() && select.integer(VERSION) === version ? entryAt(select) : null;
  select.reset();
  return entry;
}

/** The payload unread. */
export function readHash(engine: Engine, chain: Chain, version: number): HeaderHash | null {
  if (version === chain.head && version > chain.base) return chain.headHash;
  const select = engine.prepare(
    "SELECT header_hash FROM rowmesh_log WHERE author = ? AND stream = ? AND version = ?",
  );
  select.bindInteger(1, chain.author);
  select.bindInteger(2, streamByteOf(chain.stream));
  select.bindInteger(3, version);
  const hash = select.step() ? headerHash(select.blob(0)) : null;
  select.reset();
  return hash;
}

export interface ReadPart {
  readonly run: Uint8Array | null;
  /** Of the run's last changeset. */
  readonly hash: HeaderHash;
  /** Of the changeset that the reading stopped at, when that is large. */
  readonly outline: Uint8Array | null;
  readonly next: number;
}

/**
 * One run from `first` on: stops at a gap, at `last`, or above about `bytesMax` bytes, but holds at
 * least one changeset. With "outlined" it stops behind a large changeset as well, whose outline it
 * gives. Null when `first` is not held.
 */
export function readRun(
  engine: Engine,
  chain: Chain,
  { first, last }: VersionRange,
  bytesMax: number,
  large: "whole" | "outlined",
): ReadPart | null {
  const { stream, branch, key: author } = chain;
  const name = branch === "" ? { stream } : { stream, branch };
  const select = selectFrom(engine, chain, first);
  const changesets: SignedChangeset[] = [];
  let previousHash: HeaderHash | null = null;
  let hash: HeaderHash = ZERO_HASH;
  let outline: Uint8Array | null = null;
  let bytes = 0;
  while (changesets.length < RUN_CHANGESETS_MAX && select.step()) {
    const version = select.integer(VERSION);
    if (version !== first + changesets.length || version > last) break;
    const entry = entryAt(select);
    const { header, headerBytes, signature, payload, previousHash: before } = entry;
    const isOutlined = large === "outlined" && payload.number !== null;
    const payloadBytes = isOutlined ? payload.bytes.length : header.payloadBytes;
    const size = headerBytes.length + 64 + payloadBytes + 4;
    if (changesets.length > 0 && bytes + size > bytesMax) break;
    if (isOutlined) {
      const chunkHashes = payload.bytes;
      const signed = { header, headerBytes, signature, chunkHashes };
      outline = encodeOutline({ ...name, author, previousHash: before, ...signed });
      break;
    }
    previousHash ??= before;
    hash = entry.headerHash;
    bytes += size;
    const whole = wholePayload(engine, header, payload);
    changesets.push({ header, headerBytes, signature, payload: whole });
  }
  select.reset();
  const run =
    previousHash === null ? null : encodeRun({ ...name, author, previousHash, changesets });
  if (run === null && outline === null) return null;
  return { run, hash, outline, next: first + changesets.length + (outline === null ? 0 : 1) };
}

/** Where the chunks of a large changeset are; null when it is not large, or not held. */
export function readPayloadNumber(engine: Engine, chain: Chain, version: number): number | null {
  const select = engine.prepare(
    "SELECT chunks FROM rowmesh_log WHERE author = ? AND stream = ? AND version = ? AND chunks IS NOT NULL",
  );
  select.bindInteger(1, chain.author);
  select.bindInteger(2, streamByteOf(chain.stream));
  select.bindInteger(3, version);
  const number = select.step() ? select.integer(0) : null;
  select.reset();
  return number;
}

const selectFrom = (engine: Engine, chain: Chain, version: number): Statement => {
  const select = engine.prepare(
    `SELECT ${COLUMNS}, version FROM rowmesh_log WHERE author = ? AND stream = ? AND version >= ? ORDER BY version`,
  );
  select.bindInteger(1, chain.author);
  select.bindInteger(2, streamByteOf(chain.stream));
  select.bindInteger(3, version);
  return select;
};

/** Reads a row that begins with the columns of {@link LOG_ENTRY_COLUMNS}. */
export const entryAt = (select: Statement): LogEntry => {
  const headerBytes = select.blob(6);
  return {
    id: select.integer(0),
    state: logStateOf(select.integer(1)),
    code: select.stored(2) as MeshErrorCode | null,
    merged: select.stored(3) === null ? null : select.integer(3),
    headerHash: headerHash(select.blob(4)),
    previousHash: headerHash(select.blob(5)),
    header: decodeHeader(headerBytes),
    headerBytes,
    signature: select.blob(7),
    payload: {
      number: select.stored(8) === null ? null : select.integer(8),
      bytes: select.blob(9),
    },
  };
};

/** For {@link entryAt}. */
export const LOG_ENTRY_COLUMNS: string = COLUMNS;
