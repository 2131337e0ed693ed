/**
 * What a hub says of itself to `rowmesh status`. Nothing that lets anybody in: no key, no join link.
 *
 * @module
 */

import type { Mesh } from "../node/api.ts";
import { decodeGenesisBody, parseInviteLink } from "../protocol/genesis.ts";
import type { HubStatus } from "./status-report.ts";

export type HubDoors = Pick<HubStatus, "pages" | "addresses">;

/** `doors`: of a running hub; null: it is stopped. @returns how it is at each call */
export async function hubStatus(
  mesh: Mesh,
  doors: (() => Promise<HubDoors>) | null,
): Promise<() => Promise<HubStatus>> {
  const meshName = await meshNameOf(mesh);
  return async () => ({
    running: doors !== null,
    peerId: mesh.peerId,
    meshName,
    ...(doors === null ? { pages: [], addresses: [] } : await doors()),
    ...mesh.status(),
  });
}

/** Null of a replica in no mesh: an invite would found one. */
async function meshNameOf(mesh: Mesh): Promise<string | null> {
  if (mesh.status().meshId === null) return null;
  const { genesis } = parseInviteLink(await mesh.invite());
  return decodeGenesisBody(genesis.bodyBytes).name;
}
