/**
 * Payload of a data changeset: all rows of one transaction, grouped by table and primary key
 * (PROTOCOL §3). Read by the merge layer only; the log layer carries it unread.
 * ```
 * varint schema version │ u8 1 and 32 bytes of schema hash, or 0 │ varint wall clock ms
 * │ varint tables │ tables × (varint table − previous − 1 │ varint rows − 1 │ rows)
 * row:   sized primary key (as crsql_pack_columns packs it), ascending bytewise
 *        │ varint causal length │ varint 2 × cells + sentinel │ cells
 * cell:  varint column − previous − 1 │ varint col version │ value
 * value: u8 class + 8 × n │ …  class 0 NULL, 1 INTEGER (n bytes of minimal two's complement),
 *        2 REAL (8 bytes IEEE 754, n 0), 3 TEXT, 4 BLOB (n bytes; n 31: 31 + a varint)
 * ```
 * Tables and columns are numbered from 0 by the named schema version; key columns never appear as
 * cells. No site ids and no db versions: the author is the site, merges use 0.
 *
 * @module
 */

import {
  ByteReader,
  ByteWriter,
  compareBytes,
  concatBytes,
  encodeText,
  notCanonical,
} from "./bytes.ts";
import { MeshError } from "./errors.ts";
import { fromHex, HASH_BYTES, toHex } from "./ids.ts";
import {
  CHUNK_BYTES,
  CLOCK_MAX,
  COLUMNS_MAX,
  PAYLOAD_BYTES_MAX,
  PRIMARY_KEY_BYTES_MAX,
  ROWS_MAX,
  SCHEMA_VERSION_MAX,
  TABLES_MAX,
  VALUE_BYTES_MAX,
  WALL_CLOCK_MS_MAX,
} from "./limits.ts";
import type { StoredValue } from "./values.ts";

export interface ChangesetPayload {
  readonly schemaVersion: number;
  /** 64 hex digits: SHA-256 of the schema; sent with an author's first changeset under a version. */
  readonly schemaHash: string | null;
  /** The author's clock, for people only. */
  readonly wallClockMs: number;
  /** Ascending by table number. May be empty: a changeset that only joins causes. */
  readonly tables: readonly TableChanges[];
}

export interface TableChanges {
  readonly table: number;
  /** At least one; ascending by primary key, no two alike. */
  readonly rows: readonly RowChanges[];
}

export interface RowChanges {
  /** As `crsql_pack_columns` packs it. */
  readonly primaryKey: Uint8Array;
  /** cr-sqlite's `cl`: odd alive, even deleted. */
  readonly causalLength: number;
  /** Whether the row-level change (`cid = '-1'`) itself is part of the transaction. */
  readonly sentinel: boolean;
  /** Ascending by column; none when deleted. */
  readonly cells: readonly CellChange[];
}

export interface CellChange {
  readonly column: number;
  /** cr-sqlite's `col_version`, from 1. */
  readonly columnVersion: number;
  readonly value: StoredValue;
}

const NULL = 0;
const INTEGER = 1;
const REAL = 2;
const TEXT = 3;
const BLOB = 4;
/** Lengths below this fit the tag byte. */
const LONG = 31;

/**
 * @throws MeshError ERR_TRANSACTION_TOO_LARGE above 64 MiB; RangeError on what no format holds (NaN,
 * an integer beyond int64)
 */
export function encodePayload(payload: ChangesetPayload): Uint8Array<ArrayBuffer> {
  const chunks: Uint8Array[] = [];
  const writer = createPayloadWriter(payload, payload.tables.length, (chunk) => chunks.push(chunk));
  for (const { table, rows } of payload.tables) {
    writer.table(table, rows.length);
    for (const row of rows) writer.row(row);
  }
  chunks.push(writer.finish());
  return concatBytes(chunks).slice();
}

/** Writes a payload in one pass, so that a large one is never in memory as a whole. */
export interface PayloadWriter {
  /** Ascending; so many calls of `row` follow. */
  readonly table: (table: number, rows: number) => void;
  /** Ascending by primary key. @throws MeshError ERR_TRANSACTION_TOO_LARGE above 64 MiB */
  readonly row: (row: RowChanges) => void;
  /** What was not given to `takeChunk`: the last chunk, or a payload of not more than one chunk. */
  readonly finish: () => Uint8Array;
}

/** `takeChunk` gets every full chunk of `CHUNK_BYTES` that is not the last one. */
export function createPayloadWriter(
  prefix: PayloadPrefix,
  tables: number,
  takeChunk: (chunk: Uint8Array) => void,
): PayloadWriter {
  const writer = new ByteWriter(1024).varint(prefix.schemaVersion);
  if (prefix.schemaHash === null) writer.u8(0);
  else writer.u8(1).raw(fromHex(prefix.schemaHash));
  writer.varint(prefix.wallClockMs).varint(tables);
  let previousTable = -1;
  let rowCount = 0;
  let written = 0;
  return {
    table: (table, rows) => {
      writer.varint(table - previousTable - 1).varint(rows - 1);
      previousTable = table;
    },
    row: (row) => {
      writeRow(writer, row);
      rowCount++;
      if (written + writer.length > PAYLOAD_BYTES_MAX) throw tooLarge(rowCount);
      if (writer.length <= CHUNK_BYTES) return;
      // The last byte stays, so that what is left over is never empty.
      const full = writer.length - 1 - ((writer.length - 1) % CHUNK_BYTES);
      for (const chunk of writer.takePieces(full, CHUNK_BYTES)) takeChunk(chunk);
      written += full;
    },
    finish: () => writer.finish(),
  };
}

const tooLarge = (rows: number): MeshError =>
  new MeshError(
    "ERR_TRANSACTION_TOO_LARGE",
    `its changes take more than ${PAYLOAD_BYTES_MAX / 1024 / 1024} MiB (passed after ${rows} rows), the most that one transaction may send to others. Nothing was written: do it in several transactions`,
  );

function writeRow(writer: ByteWriter, row: RowChanges): void {
  writer
    .sized(row.primaryKey)
    .varint(row.causalLength)
    .varint(2 * row.cells.length + (row.sentinel ? 1 : 0));
  let previousColumn = -1;
  for (const { column, columnVersion, value } of row.cells) {
    writer.varint(column - previousColumn - 1).varint(columnVersion);
    previousColumn = column;
    writeValue(writer, value);
  }
}

/** Canonical or refused. @throws MeshError ERR_NOT_CANONICAL, ERR_LIMIT */
export function decodePayload(bytes: Uint8Array): ChangesetPayload {
  if (bytes.length > PAYLOAD_BYTES_MAX) throw new MeshError("ERR_LIMIT", "payload too large");
  const reader = new ByteReader(bytes);
  return { ...readPrefix(reader), tables: [...readTables(reader, bytes.length)] };
}

/**
 * What follows the prefix. The rows of one table may come in several parts, each of about
 * `partBytes`: what is not kept of them is not in memory. @throws MeshError ERR_NOT_CANONICAL, ERR_LIMIT
 */
export function* readTables(reader: ByteReader, partBytes: number): Generator<TableChanges> {
  const tableCount = reader.varint(TABLES_MAX);
  let table = -1;
  for (let i = 0; i < tableCount; i++) {
    table += 1 + reader.varint(TABLES_MAX);
    if (table >= TABLES_MAX) throw new MeshError("ERR_LIMIT", "table number");
    const rowCount = 1 + reader.varint(ROWS_MAX);
    let rows: RowChanges[] = [];
    let partStart = reader.offset;
    let previousKey: Uint8Array | null = null;
    for (let j = 0; j < rowCount; j++) {
      const row = readRow(reader);
      if (previousKey !== null && compareBytes(previousKey, row.primaryKey) >= 0) {
        throw notCanonical("row order");
      }
      previousKey = row.primaryKey;
      rows.push(row);
      if (reader.offset - partStart < partBytes && j < rowCount - 1) continue;
      yield { table, rows };
      rows = [];
      partStart = reader.offset;
    }
  }
  reader.end();
}

/** Rows to judge or to merge, by the tables of that schema version; those of a table may come in parts. */
export interface PayloadRows {
  readonly schemaVersion: number;
  readonly tables: Iterable<TableChanges>;
}

/** What a payload says before its rows. */
export type PayloadPrefix = Omit<ChangesetPayload, "tables">;

/** The prefix alone, to judge whether the rows can be read at all. @throws MeshError ERR_NOT_CANONICAL */
export const decodePayloadPrefix = (bytes: Uint8Array): PayloadPrefix =>
  readPrefix(new ByteReader(bytes));

/** Longest prefix, in bytes. */
export const PREFIX_BYTES_MAX = 48;

/** @throws MeshError ERR_NOT_CANONICAL, ERR_LIMIT */
export function readPrefix(reader: ByteReader): PayloadPrefix {
  const schemaVersion = reader.varint(SCHEMA_VERSION_MAX);
  if (schemaVersion === 0) throw notCanonical("schema version 0");
  const hasHash = reader.u8();
  if (hasHash > 1) throw notCanonical("schema hash flag");
  const schemaHash = hasHash === 1 ? toHex(reader.raw(HASH_BYTES)) : null;
  return { schemaVersion, schemaHash, wallClockMs: reader.varint(WALL_CLOCK_MS_MAX) };
}

function readRow(reader: ByteReader): RowChanges {
  const primaryKey = reader.sized(PRIMARY_KEY_BYTES_MAX);
  const causalLength = reader.varint(CLOCK_MAX);
  const packed = reader.varint(2 * COLUMNS_MAX + 1);
  const sentinel = packed % 2 === 1;
  const cellCount = (packed - (packed % 2)) / 2;
  if (causalLength === 0) throw notCanonical("causal length 0");
  const alive = causalLength % 2 === 1;
  if (alive ? packed === 0 : !sentinel || cellCount > 0) throw notCanonical("cells and liveness");
  const cells: CellChange[] = [];
  let column = -1;
  for (let i = 0; i < cellCount; i++) {
    column += 1 + reader.varint(COLUMNS_MAX);
    if (column >= COLUMNS_MAX) throw new MeshError("ERR_LIMIT", "column number");
    const columnVersion = reader.varint(CLOCK_MAX);
    if (columnVersion === 0) throw notCanonical("col version 0");
    cells.push({ column, columnVersion, value: readValue(reader) });
  }
  return { primaryKey, causalLength, sentinel, cells };
}

export function writeValue(writer: ByteWriter, value: StoredValue): void {
  if (value === null) writer.u8(NULL);
  else if (typeof value === "bigint") writeInteger(writer, value);
  else if (typeof value === "number") writeReal(writer, value);
  else if (typeof value === "string") writeText(writer, value);
  else writeLong(writer, BLOB, value);
}

function writeInteger(writer: ByteWriter, value: bigint): void {
  if (BigInt.asIntN(64, value) !== value) throw new RangeError("integer beyond int64");
  let count = 0;
  while (!fits(value, count)) count++;
  writer.u8(INTEGER + 8 * count).int(value, count);
}

/** Whether so many bytes of two's complement hold the value: none holds 0, one −128…127, … */
const fits = (value: bigint, count: number): boolean => BigInt.asIntN(8 * count, value) === value;

function writeReal(writer: ByteWriter, value: number): void {
  if (Number.isNaN(value)) throw new RangeError("NaN is NULL in SQLite");
  writer.u8(REAL).float64(value);
}

function writeText(writer: ByteWriter, text: string): void {
  if (text.length < LONG && isAscii(text)) writer.u8(TEXT + 8 * text.length).ascii(text);
  else writeLong(writer, TEXT, encodeText(text));
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 0x80) return false;
  return true;
}

function writeLong(writer: ByteWriter, valueClass: number, bytes: Uint8Array): void {
  if (bytes.length > VALUE_BYTES_MAX) {
    throw new MeshError("ERR_LIMIT", `a value of ${bytes.length} bytes`);
  }
  if (bytes.length < LONG) writer.u8(valueClass + 8 * bytes.length);
  else writer.u8(valueClass + 8 * LONG).varint(bytes.length - LONG);
  writer.raw(bytes);
}

/** @throws MeshError ERR_NOT_CANONICAL, ERR_LIMIT */
export function readValue(reader: ByteReader): StoredValue {
  const tag = reader.u8();
  const n = tag >> 3;
  switch (tag & 7) {
    case NULL:
      if (n !== 0) throw notCanonical("NULL");
      return null;
    case INTEGER: {
      if (n > 8) throw notCanonical("INTEGER");
      const value = reader.int(n);
      if (n > 0 && fits(value, n - 1)) throw notCanonical("INTEGER not minimal");
      return value;
    }
    case REAL: {
      const value = reader.float64();
      if (n !== 0 || Number.isNaN(value)) throw notCanonical("REAL");
      return value;
    }
    case TEXT:
      return reader.utf8(readLength(reader, n));
    case BLOB:
      return reader.raw(readLength(reader, n));
    default:
      throw notCanonical(`value class ${tag & 7}`);
  }
}

const readLength = (reader: ByteReader, n: number): number =>
  n < LONG ? n : LONG + reader.varint(VALUE_BYTES_MAX - LONG);
