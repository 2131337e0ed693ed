/**
 * Frames of the sync stream, `/rowmesh/sync/1` (PROTOCOL §7). A frame is one message, at most
 * `FRAME_BYTES_MAX`, canonical or refused.
 *
 * | byte | message | says |
 * |---|---|---|
 * | 1 | hello | who I am, which mesh, what my log's digest is; first on every link, once |
 * | 2 | digest | my log's digest now |
 * | 3 | vector | entries of my vector: all of it, or what changed since my last one to you |
 * | 4 | want | send me these ranges, at most so many bytes |
 * | 5 | run | a run, in answer to a want |
 * | 6 | outline | in answer to a want: a large changeset, of which chunks may be asked for |
 * | 7 | served | the want is answered, wholly or as far as its bytes went |
 * | 8 | neighbours | whom I am connected to |
 * | 9 | wantChunks | send me these chunks of a large changeset |
 * | 10 | chunk | one of them |
 *
 * @module
 */

import { ByteReader, ByteWriter, notCanonical } from "./bytes.ts";
import { MeshError } from "./errors.ts";
import {
  fromHex,
  HASH_BYTES,
  type HeaderHash,
  headerHash,
  type MeshId,
  meshId,
  type PeerId,
  SITE_ID_BYTES,
  type SiteId,
  siteId,
  toHex,
} from "./ids.ts";
import {
  CHUNK_BYTES,
  CHUNKS_MAX,
  FORMAT_VERSION,
  FRAME_BYTES_MAX,
  NAME_BYTES_MAX,
  NEIGHBOURS_MAX,
  VECTOR_ENTRIES_MAX,
  VERSION_MAX,
  WANT_BYTES_MAX,
  WANT_RANGES_MAX,
} from "./limits.ts";
import type { Stream } from "./changeset.ts";
import {
  type ChangesetRange,
  readStream,
  readVectorEntry,
  type VectorEntry,
  type VersionRange,
  writeStream,
  writeVectorEntry,
} from "./version-vector.ts";

export type Message =
  | HelloMessage
  | { readonly type: "digest"; readonly digest: string }
  | VectorMessage
  | WantMessage
  | { readonly type: "run"; readonly want: number; readonly run: Uint8Array }
  | { readonly type: "outline"; readonly want: number; readonly outline: Uint8Array }
  | { readonly type: "served"; readonly want: number; readonly complete: boolean }
  | { readonly type: "neighbours"; readonly peers: readonly PeerId[] }
  | WantChunksMessage
  | ChunkMessage;

export interface HelloMessage {
  readonly type: "hello";
  readonly mesh: MeshId;
  readonly site: SiteId;
  readonly role: "device" | "hub";
  /** Shown to people; may be empty. */
  readonly name: string;
  readonly digest: string;
}

export interface VectorMessage {
  readonly type: "vector";
  /** "first": forget what I claimed before. "more": adds to or replaces entries. */
  readonly part: "first" | "more";
  readonly entries: readonly VectorEntry[];
}

export interface WantMessage {
  readonly type: "want";
  /** From 1, ascending per link and direction. */
  readonly want: number;
  readonly bytesMax: number;
  readonly ranges: readonly ChangesetRange[];
}

export interface WantChunksMessage {
  readonly type: "wantChunks";
  /** Numbered with the other wants. */
  readonly want: number;
  readonly site: SiteId;
  readonly stream: Stream;
  readonly version: number;
  /** Tells the branches of a fork apart. */
  readonly headerHash: HeaderHash;
  /** Indexes of chunks from 0, ascending, apart by at least one. */
  readonly chunks: readonly VersionRange[];
}

export interface ChunkMessage {
  readonly type: "chunk";
  readonly want: number;
  /** Of the payload, from 0. */
  readonly index: number;
  readonly bytes: Uint8Array;
}

const WANT_ID_MAX = 2 ** 32;
const PEER_ID_BYTES_MAX = 128;
const TYPES = [
  "hello",
  "digest",
  "vector",
  "want",
  "run",
  "outline",
  "served",
  "neighbours",
  "wantChunks",
  "chunk",
] as const;

/** @throws RangeError when the frame would exceed `FRAME_BYTES_MAX`: the sender's bug. */
export function encodeMessage(message: Message): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(256).u8(1 + TYPES.indexOf(message.type));
  writeBody(writer, message);
  if (writer.length > FRAME_BYTES_MAX) throw new RangeError(`${message.type} frame too large`);
  return writer.finish();
}

function writeBody(writer: ByteWriter, message: Message): void {
  switch (message.type) {
    case "hello":
      writer.u8(FORMAT_VERSION).raw(fromHex(message.mesh)).raw(fromHex(message.site));
      writer
        .u8(message.role === "hub" ? 1 : 0)
        .text(message.name)
        .raw(fromHex(message.digest));
      return;
    case "digest":
      writer.raw(fromHex(message.digest));
      return;
    case "vector":
      writer.u8(message.part === "first" ? 1 : 0).varint(message.entries.length);
      for (const entry of message.entries) writeVectorEntry(writer, entry);
      return;
    case "want":
      writer.varint(message.want).varint(message.bytesMax).varint(message.ranges.length);
      for (const range of message.ranges) writeRange(writer, range);
      return;
    case "run":
      writer.varint(message.want).raw(message.run);
      return;
    case "outline":
      writer.varint(message.want).raw(message.outline);
      return;
    case "served":
      writer.varint(message.want).u8(message.complete ? 1 : 0);
      return;
    case "neighbours":
      writer.varint(message.peers.length);
      for (const peer of message.peers) writer.text(peer);
      return;
    case "wantChunks":
      writer.varint(message.want).raw(fromHex(message.site));
      writeStream(writer, { stream: message.stream });
      writer.varint(message.version).raw(fromHex(message.headerHash));
      writeChunkRanges(writer, message.chunks);
      return;
    case "chunk":
      writer.varint(message.want).varint(message.index).raw(message.bytes);
  }
}

/** Views into `bytes` for runs, outlines and chunks. @throws MeshError ERR_NOT_CANONICAL, ERR_LIMIT, ERR_UNKNOWN_FORMAT */
export function decodeMessage(bytes: Uint8Array): Message {
  if (bytes.length > FRAME_BYTES_MAX) throw new MeshError("ERR_LIMIT", "frame too large");
  const reader = new ByteReader(bytes);
  const type = TYPES[reader.u8() - 1];
  if (type === undefined) throw notCanonical("message type");
  const message = readBody(reader, type);
  reader.end();
  return message;
}

function readBody(reader: ByteReader, type: Message["type"]): Message {
  switch (type) {
    case "hello":
      return readHello(reader);
    case "digest":
      return { type, digest: toHex(reader.raw(HASH_BYTES)) };
    case "vector": {
      const part = readFlag(reader) ? "first" : "more";
      return { type, part, entries: readList(reader, VECTOR_ENTRIES_MAX, readVectorEntry) };
    }
    case "want": {
      const want = readWantId(reader);
      const bytesMax = reader.varint(WANT_BYTES_MAX);
      return { type, want, bytesMax, ranges: readList(reader, WANT_RANGES_MAX, readRange) };
    }
    case "run":
      return { type, want: reader.varint(WANT_ID_MAX), run: reader.raw(reader.remaining) };
    case "outline":
      return { type, want: reader.varint(WANT_ID_MAX), outline: reader.raw(reader.remaining) };
    case "served":
      return { type, want: reader.varint(WANT_ID_MAX), complete: readFlag(reader) };
    case "neighbours":
      return {
        type,
        peers: readList(reader, NEIGHBOURS_MAX, (list) => list.text(PEER_ID_BYTES_MAX)),
      };
    case "wantChunks":
      return readWantChunks(reader);
    case "chunk": {
      const want = reader.varint(WANT_ID_MAX);
      const index = reader.varint(CHUNKS_MAX - 1);
      if (reader.remaining > CHUNK_BYTES) throw new MeshError("ERR_LIMIT", "chunk too large");
      const chunk = reader.raw(reader.remaining);
      if (chunk.length === 0) throw notCanonical("empty chunk");
      return { type, want, index, bytes: chunk };
    }
  }
}

function readWantId(reader: ByteReader): number {
  const want = reader.varint(WANT_ID_MAX);
  if (want === 0) throw notCanonical("want 0");
  return want;
}

function readWantChunks(reader: ByteReader): WantChunksMessage {
  const want = readWantId(reader);
  const site = siteId(reader.raw(SITE_ID_BYTES));
  const { stream, branch } = readStream(reader);
  if (branch !== undefined) throw notCanonical("the hash tells the branch");
  const version = reader.varint(VERSION_MAX);
  if (version === 0) throw notCanonical("version 0");
  const hash = headerHash(reader.raw(HASH_BYTES));
  const chunks = readChunkRanges(reader);
  return { type: "wantChunks", want, site, stream, version, headerHash: hash, chunks };
}

function writeChunkRanges(writer: ByteWriter, ranges: readonly VersionRange[]): void {
  writer.varint(ranges.length);
  let end = -2;
  for (const { first, last } of ranges) {
    writer.varint(first - end - 2).varint(last - first);
    end = last;
  }
}

function readChunkRanges(reader: ByteReader): VersionRange[] {
  let end = -2;
  return readList(reader, WANT_RANGES_MAX, () => {
    const first = end + 2 + reader.varint(CHUNKS_MAX);
    const last = first + reader.varint(CHUNKS_MAX);
    if (last >= CHUNKS_MAX) throw new MeshError("ERR_LIMIT", "chunk index");
    end = last;
    return { first, last };
  });
}

function readHello(reader: ByteReader): HelloMessage {
  const format = reader.u8();
  if (format !== FORMAT_VERSION) throw new MeshError("ERR_UNKNOWN_FORMAT", `format ${format}`);
  const mesh = meshId(reader.raw(HASH_BYTES));
  const site = siteId(reader.raw(SITE_ID_BYTES));
  const role = readFlag(reader) ? "hub" : "device";
  const name = reader.text(NAME_BYTES_MAX);
  return { type: "hello", mesh, site, role, name, digest: toHex(reader.raw(HASH_BYTES)) };
}

function readFlag(reader: ByteReader): boolean {
  const byte = reader.u8();
  if (byte > 1) throw notCanonical("flag");
  return byte === 1;
}

function readList<Item>(
  reader: ByteReader,
  max: number,
  read: (reader: ByteReader) => Item,
): Item[] {
  const count = reader.varint(max);
  const items: Item[] = [];
  for (let i = 0; i < count; i++) items.push(read(reader));
  return items;
}

function writeRange(writer: ByteWriter, range: ChangesetRange): void {
  writer.raw(fromHex(range.site));
  writeStream(writer, range);
  writer.varint(range.first).varint(range.last - range.first);
}

function readRange(reader: ByteReader): ChangesetRange {
  const site = siteId(reader.raw(SITE_ID_BYTES));
  const stream = readStream(reader);
  const first = reader.varint(VERSION_MAX);
  const last = first + reader.varint(VERSION_MAX);
  if (first === 0 || last > VERSION_MAX) throw notCanonical("range");
  return { site, ...stream, first, last };
}
