/**
 * Primary keys as `crsql_pack_columns` packs them, and only so: cr-sqlite's own decoder accepts
 * several byte strings for one row, and traps on some (docs/PROTOCOL.md, rule M4).
 * ```
 * u8 columns │ per column: u8 type + 8 × n │ …
 * type 1 INTEGER: n bytes, big-endian, minimal unsigned; every negative number takes 8
 *      3 TEXT, 4 BLOB: n bytes of big-endian minimal length, then the bytes
 * ```
 *
 * @module
 */

import { ByteReader, ByteWriter, encodeText, notCanonical } from "../protocol/bytes.ts";
import { PRIMARY_KEY_BYTES_MAX } from "../protocol/limits.ts";
import type { StoredValue } from "../protocol/values.ts";

export type KeyClass = "INTEGER" | "TEXT" | "BLOB";

const INTEGER = 1;
const TEXT = 3;
const BLOB = 4;

/** @throws RangeError for REAL and NULL, which are no keys */
export function packKey(values: readonly StoredValue[]): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(64).u8(values.length);
  for (const value of values) {
    if (typeof value === "bigint") {
      const count = unsignedBytes(value);
      writer.u8(INTEGER + 8 * count).int(value, count);
    } else if (typeof value === "string") writeSized(writer, TEXT, encodeText(value));
    else if (value instanceof Uint8Array) writeSized(writer, BLOB, value);
    else throw new RangeError("REAL and NULL are no keys");
  }
  return writer.finish();
}

function writeSized(writer: ByteWriter, type: number, bytes: Uint8Array): void {
  const length = BigInt(bytes.length);
  const count = unsignedBytes(length);
  writer
    .u8(type + 8 * count)
    .int(length, count)
    .raw(bytes);
}

const unsignedBytes = (value: bigint): number => {
  if (value < 0n) return 8;
  let count = 0;
  for (let rest = value; rest > 0n; rest >>= 8n) count++;
  return count;
};

/**
 * Exactly one key of these classes. Blobs are views into `bytes`.
 * @throws MeshError ERR_NOT_CANONICAL for any other bytes, ERR_LIMIT above 4 KiB
 */
export function unpackKey(bytes: Uint8Array, classes: readonly KeyClass[]): StoredValue[] {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== classes.length) throw notCanonical("number of key columns");
  const values = classes.map((keyClass) => readColumn(reader, keyClass));
  reader.end();
  return values;
}

function readColumn(reader: ByteReader, keyClass: KeyClass): StoredValue {
  const tag = reader.u8();
  const type = tag & 7;
  const count = tag >> 3;
  switch (keyClass) {
    case "INTEGER":
      if (type !== INTEGER || count > 8) throw notCanonical("key column is not INTEGER");
      return readInteger(reader, count);
    case "TEXT":
      if (type !== TEXT) throw notCanonical("key column is not TEXT");
      return reader.utf8(readLength(reader, count));
    case "BLOB":
      if (type !== BLOB) throw notCanonical("key column is not BLOB");
      return reader.raw(readLength(reader, count));
  }
}

function readInteger(reader: ByteReader, count: number): bigint {
  const value = reader.int(count);
  if (count === 8) {
    if (value >= 0n && value < 1n << 56n) throw notCanonical("key INTEGER not minimal");
    return value;
  }
  const unsigned = BigInt.asUintN(8 * count, value);
  if (unsignedBytes(unsigned) !== count) throw notCanonical("key INTEGER not minimal");
  return unsigned;
}

function readLength(reader: ByteReader, count: number): number {
  if (count > 2) throw notCanonical("key length");
  let length = 0;
  for (let i = 0; i < count; i++) {
    const byte = reader.u8();
    if (i === 0 && byte === 0) throw notCanonical("key length not minimal");
    length = 256 * length + byte;
  }
  if (length > PRIMARY_KEY_BYTES_MAX) throw notCanonical("key length");
  return length;
}
