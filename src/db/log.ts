/**
 * The signed log: changesets as they arrived, in the order of arrival, addressed by author, stream
 * and version. Nothing here reads a payload (docs/STORAGE.md, "The log").
 *
 * @module
 */

import {
  decodeHeader,
  type SignedChangeset,
  type Stream,
  type VerifiedChangeset,
} from "../protocol/changeset.ts";
import { encodeRun } from "../protocol/changeset-run.ts";
import type { MeshErrorCode } from "../protocol/errors.ts";
import { fromHex, type HeaderHash, headerHash, ZERO_HASH } from "../protocol/ids.ts";
import { RUN_CHANGESETS_MAX } from "../protocol/limits.ts";
import type { Chain } from "./chains.ts";
import type { Engine } from "./engine.ts";
import { LOG_STATES, type LogState, logStateOf } from "./log-tables.ts";
import type { Statement } from "./statement.ts";

export interface LogEntry {
  readonly id: number;
  readonly state: LogState;
  readonly code: MeshErrorCode | null;
  /** Place in merge order, from 1; null unless merged. */
  readonly merged: number | null;
  readonly headerHash: HeaderHash;
  readonly previousHash: HeaderHash;
  readonly changeset: SignedChangeset;
}

export interface LogVerdict {
  readonly state: LogState;
  readonly code: MeshErrorCode | null;
  readonly merged: number | null;
}

export const streamByteOf = (stream: Stream): number => (stream === "data" ? 0 : 1);

const COLUMNS = "id, state, code, merged, header_hash, previous_hash, header, signature, payload";

/** One that is there already, written here and restored, is replaced. */
export function insertEntry(
  engine: Engine,
  chain: Chain,
  changeset: Pick<
    VerifiedChangeset,
    "header" | "headerBytes" | "signature" | "payload" | "headerHash" | "previousHash"
  >,
  { state, code, merged }: LogVerdict,
): void {
  const insert = engine.prepare(
    "INSERT INTO rowmesh_log (author, stream, version, state, code, merged, header_hash, previous_hash, header, signature, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (author, stream, version, header_hash) DO UPDATE SET state = excluded.state, code = excluded.code, merged = excluded.merged",
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
  insert.bindBlob(11, changeset.payload);
  insert.run();
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
  const entry = select.step() && select.integer(9) === version ? entryAt(select) : null;
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

/**
 * One run from `first` on: stops at a gap, at `last`, or above about `bytesMax` bytes, but holds at
 * least one changeset. Null when `first` is not held.
 */
export function readRun(
  engine: Engine,
  chain: Chain,
  first: number,
  last: number,
  bytesMax: number,
): {
  readonly run: Uint8Array;
  readonly bytes: number;
  /** Of its last changeset. */
  readonly hash: HeaderHash;
  readonly next: number;
} | null {
  const select = selectFrom(engine, chain, first);
  const changesets: SignedChangeset[] = [];
  let previousHash: HeaderHash | null = null;
  let hash: HeaderHash = ZERO_HASH;
  let bytes = 0;
  while (changesets.length < RUN_CHANGESETS_MAX && select.step()) {
    const version = select.integer(9);
    if (version !== first + changesets.length || version > last) break;
    const { changeset, headerHash: own, previousHash: before } = entryAt(select);
    previousHash ??= before;
    const size = changeset.headerBytes.length + 64 + changeset.payload.length + 4;
    if (changesets.length > 0 && bytes + size > bytesMax) break;
    bytes += size;
    hash = own;
    changesets.push(changeset);
  }
  select.reset();
  if (previousHash === null) return null;
  const { stream, branch, key: author } = chain;
  const name = branch === "" ? { stream } : { stream, branch };
  const run = encodeRun({ ...name, author, previousHash, changesets });
  return { run, bytes: run.length, hash, next: first + changesets.length };
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
    changeset: {
      header: decodeHeader(headerBytes),
      headerBytes,
      signature: select.blob(7),
      payload: select.blob(8),
    },
  };
};

/** For {@link entryAt}. */
export const LOG_ENTRY_COLUMNS: string = COLUMNS;
