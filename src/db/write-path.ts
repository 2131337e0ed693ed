/**
 * From an open transaction to its signed changeset in the log (P1): capture, validate as a receiver
 * would, encode, sign, insert. Nothing here begins or commits.
 *
 * @module
 */

import {
  type ChangesetHeader,
  type Dependency,
  encodeHeader,
  type VerifiedChangeset,
} from "../protocol/changeset.ts";
import { encodeBroadcast } from "../protocol/changeset-run.ts";
import { MeshError } from "../protocol/errors.ts";
import { DRAFT_MESH, fromHex, type HeaderHash, type MeshId, ZERO_HASH } from "../protocol/ids.ts";
import { BROADCAST_BYTES_MAX, DEPENDENCIES_MAX, WALL_CLOCK_MS_MAX } from "../protocol/limits.ts";
import { encodePayload, type TableChanges } from "../protocol/payload.ts";
import type { Signer } from "../seams.ts";
import { captureChanges } from "./capture.ts";
import type { Chain, OwnHead } from "./chains.ts";
import { syncBit, writeMeta } from "./database-file.ts";
import type { Engine } from "./engine.ts";
import { insertEntry } from "./log.ts";
import { release, type ReplicaState } from "./replica-state.ts";
import { settled } from "./settle.ts";
import type { AppSchema } from "./schema.ts";
import { validatePayload } from "./validate.ts";

/**
 * Turns what the open transaction wrote into changesets of the log: one, after row-less ones when
 * there are too many causes to name at once; none when nothing changed.
 * @returns broadcasts of what was released
 */
export async function sealTransaction(
  state: ReplicaState,
  engine: Engine,
  written: ReadonlySet<string>,
): Promise<Uint8Array[]> {
  const { schema } = state;
  if (written.size === 0) return [];
  if (schema === null)
    throw new MeshError("ERR_NOT_SUPPORTED", "a replica without schema is read-only");
  assertSane(engine);
  const tables = captureChanges(engine, schema, written);
  if (tables.length === 0) return [];
  const broadcasts: Uint8Array[] = [];
  let causes = state.chains.frontier();
  while (causes.length > DEPENDENCIES_MAX) {
    const some = causes.slice(0, DEPENDENCIES_MAX);
    await appendOwn(state, engine, schema, [], some, broadcasts);
    causes = causes.slice(DEPENDENCIES_MAX);
  }
  await appendOwn(state, engine, schema, tables, causes, broadcasts);
  for (const { table } of tables) state.changedTables.add(schema.tables[table]?.name ?? "");
  state.chains.save(engine);
  return broadcasts;
}

/** Outside of a transaction writes would be lost one by one, and with the bit set they go untracked. */
function assertSane(engine: Engine): void {
  if (engine.autocommit()) {
    throw new MeshError("ERR_SQL", "SQLite rolled the transaction back by itself");
  }
  if (syncBit(engine) !== 0) throw new RangeError("the sync bit is set in a local transaction");
}

/** One changeset, signed and logged. Inside an open transaction. */
export async function appendOwn(
  state: ReplicaState,
  engine: Engine,
  schema: AppSchema,
  tables: readonly TableChanges[],
  dependencies: readonly Dependency[],
  broadcasts: Uint8Array[],
): Promise<void> {
  const wallClockMs = wallClock(state);
  const announces = state.announced !== schema.version;
  const payload = {
    schemaVersion: schema.version,
    schemaHash: announces ? schema.hash : null,
    wallClockMs,
    tables,
  };
  validatePayload(payload, schema, engine);
  const own = ownChain(state, engine);
  const changeset = await signNext(
    state.signer,
    state.mesh?.id ?? DRAFT_MESH,
    own,
    encodePayload(payload),
    dependencies,
  );
  const { headerHash, header } = changeset;
  const merged = state.nextMerged++;
  insertEntry(engine, own, changeset, { state: "merged", code: null, merged });
  const isNext = own.settled === own.head;
  own.head = header.version;
  own.headHash = headerHash;
  state.chains.touch(own);
  // Behind restored changesets that still wait for a cause it is settled in its turn.
  if (isNext) settled(state, own, headerHash, dependencies);
  state.lastWroteMs.set(own.site, wallClockMs);
  if (announces) {
    writeMeta(engine, "announced", BigInt(schema.version));
    state.announced = schema.version;
  }
  if (state.mesh === null || !state.offering) return;
  release(state, own, { head: own.head, headHash: own.headHash });
  if (changeset.payload.length > BROADCAST_BYTES_MAX) return;
  const previousHashPrefix = fromHex(changeset.previousHash).subarray(0, 8);
  const broadcast = encodeBroadcast({ previousHashPrefix, changeset });
  if (broadcast.length <= BROADCAST_BYTES_MAX) broadcasts.push(broadcast);
}

/** Of the device, within what a payload can say. */
export const wallClock = ({ clock }: Pick<ReplicaState, "clock">): number =>
  Math.min(Math.max(0, Math.floor(clock.wallClockMs())), WALL_CLOCK_MS_MAX);

export const ownChain = (state: ReplicaState, engine: Engine): Chain => {
  const { siteId, publicKey } = state.signer;
  return state.chains.own() ?? state.chains.add(engine, siteId, publicKey, "data");
};

/** The successor of `previous`, signed. */
export const signNext = async (
  signer: Signer,
  mesh: MeshId,
  previous: OwnHead,
  payload: Uint8Array,
  dependencies: readonly Dependency[],
): Promise<VerifiedChangeset> => {
  const version = previous.head + 1;
  const header: ChangesetHeader = {
    kind: "data",
    stream: "data",
    encoding: { type: "plain" },
    site: signer.siteId,
    version,
    publicKey: version === 1 ? signer.publicKey : null,
    payloadBytes: payload.length,
    dependencies,
  };
  const previousHash: HeaderHash = version === 1 ? ZERO_HASH : previous.headHash;
  return signer.sign({ header, headerBytes: encodeHeader(header), payload, previousHash }, mesh);
};
