/**
 * The authors of all simulations: few enough that their keys, signatures and empty databases are
 * made once per process, and so many that meshes differ.
 *
 * @module
 */

import type { Schema } from "../db/schema.ts";
import type { Storage } from "../db/storage.ts";
import { compileSqliteInNode } from "../db/wasm-node.ts";
import { openReplica } from "../node/replica.ts";
import { type MeshId, meshId } from "../protocol/ids.ts";
import type { Clock, Random } from "../seams.ts";
import { createKeyPair, type KeyPair } from "../signing/keys.ts";
import { createSeededRandom } from "./seeded-random.ts";
import { simEd25519 } from "./sim-ed25519.ts";
import { createSimulatedDisk, type DiskImage } from "./simulated-disk.ts";

const IDENTITIES = 64;

/** The mesh of all simulations. */
export const SIM_MESH: MeshId = meshId("ab".repeat(32));
export const SIM_INVITE: Uint8Array<ArrayBuffer> = new Uint8Array([1, 2, 3]);

const keyPairs = new Map<number, Promise<KeyPair>>();
const images = new Map<string, Promise<DiskImage>>();
const IMAGES_MAX = 1_000;

/** @param number in [0, IDENTITIES) */
export function identity(number: number): Promise<KeyPair> {
  const known = keyPairs.get(number);
  if (known !== undefined) return known;
  const keys = createKeyPair(simEd25519, createSeededRandom(0x5eed0000 + number).bytes(32));
  keyPairs.set(number, keys);
  return keys;
}

/** So many different numbers of identities. @param count at most {@link IDENTITIES} */
export function drawIdentities(count: number, random: Random): readonly number[] {
  const left = Array.from({ length: IDENTITIES }, (_, number) => number);
  return Array.from({ length: count }, () => left.splice(random.below(left.length), 1)[0] ?? 0);
}

/** A new database of that identity, with the schema in it and bound to {@link SIM_MESH}. */
export function emptyDatabase(
  number: number,
  schema: Schema,
  atomicity: Storage["atomicity"],
): Promise<DiskImage> {
  const key = `${number} ${atomicity} ${JSON.stringify(schema)}`;
  const known = images.get(key);
  if (known !== undefined) return known;
  const image = createEmptyDatabase(number, schema, atomicity);
  if (images.size >= IMAGES_MAX) images.clear();
  images.set(key, image);
  return image;
}

/** Nothing that a clock says ends up in an empty database. */
const CLOCK: Clock = { nowMs: () => 0, wallClockMs: () => 0 };

async function createEmptyDatabase(
  number: number,
  schema: Schema,
  atomicity: Storage["atomicity"],
): Promise<DiskImage> {
  const disk = createSimulatedDisk(() => 0, atomicity);
  const { secretKey } = await identity(number);
  const replica = await openReplica({
    storage: disk.storage,
    wasm: await compileSqliteInNode(),
    schema,
    ed25519: simEd25519,
    clock: CLOCK,
    random: { below: () => 0, bytes: () => new Uint8Array(secretKey) },
  });
  await replica.bindMesh(SIM_MESH, SIM_INVITE);
  await replica.close();
  return disk.copy();
}
