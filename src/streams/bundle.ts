/**
 * Bundle: a stream as a file, for a USB stick or a mail (docs/STREAMS.md, rules T10 to T12).
 * ```
 * "rowmesh bundle 1\n" │ sized position of the writer │ n × sized package │ u8 0
 * ```
 * The zero tells a whole file from one that was cut between two packages.
 *
 * @module
 */

import { ByteWriter, equalBytes, notCanonical } from "../protocol/bytes.ts";
import { isMeshError, MeshError, type MeshErrorCode } from "../protocol/errors.ts";
import { PACKAGE_BYTES_MAX, POSITION_BYTES_MAX } from "../protocol/limits.ts";
import { decodePosition } from "../protocol/stream-packet.ts";
import type { IngestOutcome } from "../seams.ts";
import { assertMesh, boundMesh, joinBytes } from "./packet.ts";
import type {
  InboundStreamOptions,
  OutboundStreamOptions,
  StreamEnds,
  Streams,
} from "./streams.ts";

export type ExportBundleOptions = Omit<OutboundStreamOptions, "mode">;

export interface ImportBundleOptions extends InboundStreamOptions {
  /** Ends the import after the package under way; the report then says incomplete. */
  readonly signal?: AbortSignal;
}

export interface BundleReport {
  /** False: cut short or damaged. What was whole before that place is imported. */
  readonly complete: boolean;
  /** Changesets looked at. */
  readonly changesets: number;
  readonly byVerdict: Readonly<Partial<Record<IngestOutcome["verdict"], number>>>;
  /** Why something was refused, void, put off or not read to the end; each code once. */
  readonly codes: readonly MeshErrorCode[];
}

const MAGIC = new TextEncoder().encode("rowmesh bundle 1\n");

/** Nothing here moves a position: who carries a file cannot tell whether it arrived. */
export async function* exportBundle(
  { store }: StreamEnds,
  { outboundStream, inboundStream }: Streams,
  options: ExportBundleOptions,
): AsyncGenerator<Uint8Array, undefined> {
  boundMesh(store);
  // A stick is read when it is read: its position is what was held when it was written.
  const position = await inboundStream().position();
  yield new ByteWriter(position.bytes.length + 32).raw(MAGIC).sized(position.bytes).finish();
  for await (const { bytes } of outboundStream({ ...options, mode: "once" })) {
    yield new ByteWriter(bytes.length + 8).sized(bytes).finish();
  }
  // Aborted: what was written stays recognisable as a part.
  if (options.signal?.aborted !== true) yield Uint8Array.of(0);
}

/** Holds one package at a time. @throws MeshError ERR_NO_MESH, ERR_CLOSED, and what `chunks` throws */
export async function importBundle(
  ends: StreamEnds,
  { inboundStream }: Streams,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { from, signal }: ImportBundleOptions,
): Promise<BundleReport> {
  const mesh = boundMesh(ends.store);
  const inbound = inboundStream(from === undefined ? {} : { from });
  const byVerdict: Partial<Record<IngestOutcome["verdict"], number>> = {};
  const codes = new Set<MeshErrorCode>();
  let complete = false;
  const reader = chunkReader(chunks);
  try {
    if (!equalBytes(await reader.take(MAGIC.length), MAGIC)) throw notCanonical("not a bundle");
    const claimed = decodePosition(await reader.sized(POSITION_BYTES_MAX));
    assertMesh(claimed.mesh, mesh);
    for (;;) {
      if (signal?.aborted === true) break;
      const bytes = await reader.sized(PACKAGE_BYTES_MAX);
      if (bytes.length === 0) {
        await reader.end();
        complete = true;
        break;
      }
      const { outcomes } = await inbound.accept(bytes);
      for (const { verdict, code } of outcomes) {
        byVerdict[verdict] = (byVerdict[verdict] ?? 0) + 1;
        if (code !== undefined) codes.add(code);
      }
    }
    if (from !== undefined) {
      const position = await ends.positions.open(from, mesh);
      position.addEntries(claimed.entries);
      await position.save();
    }
  } catch (error) {
    const isUnread = ["ERR_NOT_CANONICAL", "ERR_LIMIT", "ERR_UNKNOWN_FORMAT", "ERR_WRONG_MESH"];
    if (!isMeshError(error) || !isUnread.includes(error.code)) throw error;
    codes.add(error.code);
  } finally {
    await reader.close();
  }
  const changesets = Object.values(byVerdict).reduce((sum, count) => sum + count, 0);
  return { complete, changesets, byVerdict, codes: [...codes] };
}

interface ChunkReader {
  /** Exactly so many bytes. @throws MeshError ERR_NOT_CANONICAL when there are fewer */
  readonly take: (count: number) => Promise<Uint8Array>;
  readonly sized: (max: number) => Promise<Uint8Array>;
  /** @throws MeshError ERR_NOT_CANONICAL when there are more */
  readonly end: () => Promise<void>;
  readonly close: () => Promise<void>;
}

function chunkReader(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): ChunkReader {
  const source =
    Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  let chunk: Uint8Array = new Uint8Array();
  let at = 0;

  /** False at the end. */
  async function fill(): Promise<boolean> {
    while (at === chunk.length) {
      const next = await source.next();
      if (next.done === true) return false;
      chunk = new Uint8Array(next.value.buffer, next.value.byteOffset, next.value.byteLength);
      at = 0;
    }
    return true;
  }

  async function take(count: number): Promise<Uint8Array> {
    // Grows by what is there, not by what a length claims.
    const parts: Uint8Array[] = [];
    let missing = count;
    while (missing > 0) {
      if (!(await fill())) throw notCanonical("cut short");
      const part = chunk.subarray(at, at + missing);
      at += part.length;
      missing -= part.length;
      parts.push(part.slice());
    }
    return joinBytes(parts, count);
  }

  async function sized(max: number): Promise<Uint8Array> {
    let size = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = (await take(1))[0] as number;
      size += (byte & 0x7f) * scale;
      if (size > max) throw new MeshError("ERR_LIMIT", `a packet above ${max} bytes`);
      if (byte < 0x80) {
        if (byte === 0 && scale > 1) throw notCanonical("overlong varint");
        return take(size);
      }
      if (scale > max) throw notCanonical("varint too long");
    }
  }

  return {
    take,
    sized,
    end: async () => {
      if (await fill()) throw notCanonical("bytes after the end");
    },
    close: async () => {
      await source.return?.();
    },
  };
}
