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
  type VerifiedOutline,
} from "../protocol/changeset.ts";
import { encodeBroadcast } from "../protocol/changeset-run.ts";
import { MeshError } from "../protocol/errors.ts";
import { DRAFT_MESH, fromHex, type HeaderHash, type MeshId, ZERO_HASH } from "../protocol/ids.ts";
import { concatBytes } from "../protocol/bytes.ts";
import {
  BROADCAST_BYTES_MAX,
  CHUNK_BYTES,
  DEPENDENCIES_MAX,
  WALL_CLOCK_MS_MAX,
} from "../protocol/limits.ts";
import { createPayloadWriter, type PayloadPrefix } from "../protocol/payload.ts";
import type { Signer } from "../seams.ts";
import { type CapturedTable, captureChanges } from "./capture.ts";
import type { Chain, OwnHead } from "./chains.ts";
import { syncBit, writeMeta } from "./database-file.ts";
import type { Engine } from "./engine.ts";
import { insertEntry } from "./log.ts";
import { release, type ReplicaState } from "./replica-state.ts";
import { settled } from "./settle.ts";
import type { AppSchema } from "./schema.ts";
import { insertChunk, nextPayloadNumber, type StoredPayload } from "./stored-payload.ts";
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
  tables: readonly CapturedTable[],
  dependencies: readonly Dependency[],
  broadcasts: Uint8Array[],
): Promise<void> {
  const wallClockMs = wallClock(state);
  const announces = state.announced !== schema.version;
  const prefix = {
    schemaVersion: schema.version,
    schemaHash: announces ? schema.hash : null,
    wallClockMs,
  };
  const { payload, payloadBytes } = writePayload(state, engine, schema, prefix, tables);
  const own = ownChain(state, engine);
  const content = { payload, payloadBytes, dependencies };
  const signed = await signNext(state.signer, state.mesh?.id ?? DRAFT_MESH, own, content);
  const { headerHash, header } = signed;
  const merged = state.nextMerged++;
  insertEntry(engine, own, signed, payload, { state: "merged", code: null, merged });
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
  if (payloadBytes > BROADCAST_BYTES_MAX) return;
  const previousHashPrefix = fromHex(signed.previousHash).subarray(0, 8);
  const changeset = { ...signed, payload: payload.bytes };
  const broadcast = encodeBroadcast({ previousHashPrefix, changeset });
  if (broadcast.length <= BROADCAST_BYTES_MAX) broadcasts.push(broadcast);
}

/** Row by row, checked as a receiver would; chunk by chunk into the file where it is large. */
function writePayload(
  { signer }: ReplicaState,
  engine: Engine,
  schema: AppSchema,
  prefix: PayloadPrefix,
  tables: readonly CapturedTable[],
): { readonly payload: StoredPayload; readonly payloadBytes: number } {
  const hashes: Uint8Array[] = [];
  let number: number | null = null;
  const takeChunk = (chunk: Uint8Array): void => {
    number ??= nextPayloadNumber(engine);
    insertChunk(engine, number, hashes.length, chunk);
    hashes.push(signer.chunkHash(chunk));
  };
  const writer = createPayloadWriter(prefix, tables.length, takeChunk);
  for (const { table, rows: count, parts } of tables) {
    writer.table(table, count);
    for (const rows of parts) {
      validatePayload({ ...prefix, tables: [{ table, rows }] }, schema, engine);
      for (const row of rows) writer.row(row);
    }
  }
  const last = writer.finish();
  const payloadBytes = hashes.length * CHUNK_BYTES + last.length;
  if (hashes.length === 0) return { payload: { bytes: last, number: null }, payloadBytes };
  takeChunk(last);
  return { payload: { bytes: concatBytes(hashes), number }, payloadBytes };
}

/** Of the device, within what a payload can say. */
export const wallClock = ({ clock }: Pick<ReplicaState, "clock">): number =>
  Math.min(Math.max(0, Math.floor(clock.wallClockMs())), WALL_CLOCK_MS_MAX);

export const ownChain = (state: ReplicaState, engine: Engine): Chain => {
  const { siteId, publicKey } = state.signer;
  return state.chains.own() ?? state.chains.add(engine, siteId, publicKey, "data");
};

export type SignedHeader = Pick<
  VerifiedOutline,
  "header" | "headerBytes" | "signature" | "headerHash" | "previousHash"
>;

/** The successor of `previous`, signed. */
export const signNext = async (
  signer: Signer,
  mesh: MeshId,
  previous: OwnHead,
  {
    payload,
    payloadBytes,
    dependencies,
  }: {
    readonly payload: StoredPayload;
    readonly payloadBytes: number;
    readonly dependencies: readonly Dependency[];
  },
): Promise<SignedHeader> => {
  const version = previous.head + 1;
  const header: ChangesetHeader = {
    kind: "data",
    stream: "data",
    encoding: { type: "plain" },
    site: signer.siteId,
    version,
    publicKey: version === 1 ? signer.publicKey : null,
    payloadBytes,
    dependencies,
  };
  const previousHash: HeaderHash = version === 1 ? ZERO_HASH : previous.headHash;
  const unsigned = { header, headerBytes: encodeHeader(header), previousHash };
  return payload.number === null
    ? signer.sign({ ...unsigned, payload: payload.bytes }, mesh)
    : signer.signOutline({ ...unsigned, chunkHashes: payload.bytes }, mesh);
};
