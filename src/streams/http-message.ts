/**
 * What a client asks over HTTP. Each is the body of one POST; nothing is kept between two of them.
 * ```
 * position  u8 1                                       answered by a position
 * push      u8 2 │ package                             answered by a receipt, which is a position
 * pull      u8 3 │ varint count │ count × 16 site      answered by a package, or by 204 when there
 *                │ position                            is nothing that the position lacks
 * ```
 * The sites are authors whose changesets the client could not take: they are left out.
 *
 * @module
 */

import { ByteReader, ByteWriter, notCanonical } from "../protocol/bytes.ts";
import { fromHex, SITE_ID_BYTES, type SiteId, siteId } from "../protocol/ids.ts";
import { PACKAGE_BYTES_MAX, VECTOR_ENTRIES_PER_PEER_MAX } from "../protocol/limits.ts";

export type HttpMessage =
  | { readonly type: "position" }
  | { readonly type: "push"; readonly bytes: Uint8Array }
  | {
      readonly type: "pull";
      readonly excludeSites: readonly SiteId[];
      readonly position: Uint8Array;
    };

export const HTTP_MESSAGE_BYTES_MAX: number = PACKAGE_BYTES_MAX + 16;
export const HTTP_CONTENT_TYPE = "application/octet-stream";

export function encodeHttpMessage(message: HttpMessage): Uint8Array<ArrayBuffer> {
  switch (message.type) {
    case "position":
      return Uint8Array.of(1);
    case "push":
      return new ByteWriter(message.bytes.length + 1).u8(2).raw(message.bytes).finish();
    case "pull": {
      const writer = new ByteWriter().u8(3).varint(message.excludeSites.length);
      for (const site of message.excludeSites) writer.raw(fromHex(site));
      return writer.raw(message.position).finish();
    }
  }
}

/** @throws MeshError ERR_NOT_CANONICAL, ERR_LIMIT */
export function decodeHttpMessage(bytes: Uint8Array): HttpMessage {
  const reader = new ByteReader(bytes);
  const kind = reader.u8();
  if (kind === 1) {
    reader.end();
    return { type: "position" };
  }
  if (kind === 2) return { type: "push", bytes: reader.raw(reader.remaining) };
  if (kind !== 3) throw notCanonical("unknown request");
  const count = reader.varint(VECTOR_ENTRIES_PER_PEER_MAX);
  const excludeSites: SiteId[] = [];
  for (let i = 0; i < count; i++) excludeSites.push(siteId(reader.raw(SITE_ID_BYTES)));
  return { type: "pull", excludeSites, position: reader.raw(reader.remaining) };
}
