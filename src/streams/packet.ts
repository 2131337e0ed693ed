/**
 * Bytes that may travel as text.
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";
import { fromBase64Url, toBase64Url } from "../protocol/genesis.ts";
import type { MeshId } from "../protocol/ids.ts";
import { PACKAGE_BYTES_MAX } from "../protocol/limits.ts";
import type { StreamStore } from "../seams.ts";
import type { Packet } from "./streams.ts";

export const packetOf = (bytes: Uint8Array): Packet => ({ bytes, text: () => toBase64Url(bytes) });

/** @throws MeshError ERR_NOT_CANONICAL, ERR_LIMIT */
export function bytesOf(packet: Uint8Array | string): Uint8Array {
  if (typeof packet !== "string") return packet;
  if (packet.length > PACKAGE_BYTES_MAX * 2) throw new MeshError("ERR_LIMIT", "packet too large");
  return fromBase64Url(packet);
}

/** @throws MeshError ERR_NO_MESH */
export function boundMesh(store: StreamStore): MeshId {
  const mesh = store.mesh();
  if (mesh === null) throw new MeshError("ERR_NO_MESH", "streams belong to a mesh");
  return mesh;
}

/** @throws MeshError ERR_WRONG_MESH */
export function assertMesh(found: MeshId, expected: MeshId): void {
  if (found !== expected) throw new MeshError("ERR_WRONG_MESH", `the bytes are of mesh ${found}`);
}

/** The parts in order; `length` is their sum. One part is not copied. */
export function joinBytes(parts: readonly Uint8Array[], length: number): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
