/**
 * Large changesets on their way here: an outline is kept first, then every chunk as it arrives, so
 * that a cut or a restart costs what was not committed. When all chunks are here the changeset goes
 * the way of any other, and its chunks stay where they are (docs/PROTOCOL.md, rules L15 to L17).
 *
 * @module
 */

import { decodeHeader, type VerifiedOutline } from "../protocol/changeset.ts";
import { fromHex, HASH_BYTES, type HeaderHash, headerHash, publicKey } from "../protocol/ids.ts";
import {
  INCOMING_BYTES_MAX,
  INCOMING_MAX,
  INCOMING_PER_AUTHOR_MAX,
  INCOMING_SHARES,
  INCOMING_STALLED_MS,
} from "../protocol/limits.ts";
import { chunkCount } from "../protocol/outline.ts";
import { subtractRanges, type VersionRange } from "../protocol/version-vector.ts";
import type { IncomingChangeset, IngestOutcome } from "../seams.ts";
import type { Engine } from "./engine.ts";
import type { ReplicaState } from "./replica-state.ts";
import {
  type ArrivedChangeset,
  type AssembledChangeset,
  deleteChunks,
  insertChunk,
  nextPayloadNumber,
} from "./stored-payload.ts";

export interface Incoming {
  readonly changeset: AssembledChangeset;
  /** Of its chunks in `rowmesh_chunk`. */
  readonly number: number;
  missing: readonly VersionRange[];
  /** When it had last grown by a share, on the clock's monotonic time; and the chunks since then. */
  grewMs: number;
  grownChunks: number;
  /** `touches` of its author's chains when it could not be logged although it was whole. */
  triedAt: number | null;
}

export interface ArrivedChunk {
  readonly headerHash: HeaderHash;
  readonly index: number;
  /** Found to be the one that the outline lists. */
  readonly bytes: Uint8Array;
}

export const isWhole = ({ missing }: Incoming): boolean => missing.length === 0;

/** Between two transactions one that is whole may have given way, and its chunks with it. */
export const isStillHere = (
  { incoming }: ReplicaState,
  { headerHash: hash, payload }: ArrivedChangeset,
): boolean => payload instanceof Uint8Array || incoming.get(hash)?.number === payload.number;

/** As replication is told of it. */
export const incomingOf = ({ changeset, missing }: Incoming): IncomingChangeset => ({
  site: changeset.header.site,
  stream: changeset.header.stream,
  version: changeset.header.version,
  headerHash: changeset.headerHash,
  payloadBytes: changeset.header.payloadBytes,
  missing,
});

/**
 * Keeps the outline, in the place of those that have stalled where there is no room. Inside an open
 * transaction. @returns false when there is none
 */
export function addIncoming(
  state: ReplicaState,
  engine: Engine,
  outline: VerifiedOutline,
): boolean {
  const room = makeRoom(state, outline);
  if (room === null) return false;
  for (const stalled of room) removeIncoming(state, engine, stalled, "withChunks");
  const { author, headerHash: hash, previousHash, headerBytes, signature, chunkHashes } = outline;
  const number = nextPayloadNumber(engine);
  const insert = engine.prepare("INSERT INTO rowmesh_incoming VALUES (?, ?, ?, ?, ?, ?, ?)");
  insert.bindInteger(1, number);
  insert.bindBlob(2, fromHex(author));
  insert.bindBlob(3, fromHex(hash));
  insert.bindBlob(4, fromHex(previousHash));
  insert.bindBlob(5, headerBytes);
  insert.bindBlob(6, signature);
  insert.bindBlob(7, chunkHashes);
  insert.run();
  const added = createIncoming(state, outline, number, []);
  state.incoming.set(hash, added);
  state.incomingChanged.set(hash, incomingOf(added));
  return true;
}

/** Those that give way to one more; null when too many of them still grow. */
function makeRoom(state: ReplicaState, { header }: VerifiedOutline): readonly Incoming[] | null {
  const nowMs = state.clock.nowMs();
  const bySlowness = [...state.incoming.values()].sort((a, b) => a.grewMs - b.grewMs);
  const gone: Incoming[] = [];
  const drop = (of: readonly Incoming[]): boolean => {
    const next = of.find((each) => !gone.includes(each));
    if (next === undefined || nowMs - next.grewMs < INCOMING_STALLED_MS) return false;
    gone.push(next);
    return true;
  };
  const isSame = ({ changeset }: Incoming): boolean => changeset.header.site === header.site;
  const ofAuthor = bySlowness.filter(isSame);
  const bytes = (): number =>
    bySlowness
      .filter((each) => !gone.includes(each))
      .reduce((sum, { changeset }) => sum + changeset.header.payloadBytes, header.payloadBytes);
  while (ofAuthor.length - gone.length >= INCOMING_PER_AUTHOR_MAX) if (!drop(ofAuthor)) return null;
  while (bySlowness.length - gone.length >= INCOMING_MAX) if (!drop(bySlowness)) return null;
  while (bytes() > INCOMING_BYTES_MAX) if (!drop(bySlowness)) return null;
  return gone;
}

/** Inside an open transaction. One outcome each: one that is not asked for may be here already. */
export const addChunks = (
  state: ReplicaState,
  engine: Engine,
  chunks: readonly ArrivedChunk[],
): IngestOutcome[] =>
  chunks.map(({ headerHash: hash, index, bytes }) => {
    const incoming = state.incoming.get(hash);
    if (incoming === undefined || !isMissing(incoming, index)) return { verdict: "known" };
    insertChunk(engine, incoming.number, index, bytes);
    incoming.missing = subtractRanges(incoming.missing, [{ first: index, last: index }]);
    noteGrowth(incoming, state.clock.nowMs());
    state.incomingChanged.set(hash, incomingOf(incoming));
    return { verdict: "incomplete" };
  });

function noteGrowth(incoming: Incoming, nowMs: number): void {
  incoming.grownChunks++;
  const all = chunkCount(incoming.changeset.header.payloadBytes);
  if (incoming.grownChunks * INCOMING_SHARES < all) return;
  incoming.grewMs = nowMs;
  incoming.grownChunks = 0;
}

export const isMissing = ({ missing }: Incoming, index: number): boolean =>
  missing.some(({ first, last }) => first <= index && index <= last);

/** The hash that the chunk must have. */
export const chunkHashOf = ({ changeset }: Incoming, index: number): Uint8Array =>
  changeset.chunkHashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);

/**
 * What is in the log now, or refused, is not waited for any more. Inside the transaction that appended
 * it, with the outcome.
 */
export function settleIncoming(
  state: ReplicaState,
  engine: Engine,
  { headerHash: hash, payload }: ArrivedChangeset,
  { verdict }: IngestOutcome,
): void {
  const incoming = state.incoming.get(hash);
  if (incoming === undefined || verdict === "later") return;
  const isLogged = verdict !== "known" && verdict !== "refused";
  const isOfLog = isLogged && !(payload instanceof Uint8Array);
  removeIncoming(state, engine, incoming, isOfLog ? "outlineOnly" : "withChunks");
}

function removeIncoming(
  state: ReplicaState,
  engine: Engine,
  incoming: Incoming,
  what: "withChunks" | "outlineOnly",
): void {
  const drop = engine.prepare("DELETE FROM rowmesh_incoming WHERE payload = ?");
  drop.bindInteger(1, incoming.number);
  drop.run();
  if (what === "withChunks") deleteChunks(engine, incoming.number);
  const { headerHash: hash } = incoming.changeset;
  state.incoming.delete(hash);
  state.incomingChanged.set(hash, { ...incomingOf(incoming), missing: [] });
}

/** From the file. */
export function loadIncoming(state: ReplicaState, engine: Engine): void {
  state.incoming.clear();
  state.incomingChanged.clear();
  if (state.mesh === null) return;
  const held = engine.prepare("SELECT chunk FROM rowmesh_chunk WHERE payload = ? ORDER BY chunk");
  const rows = engine.prepare("SELECT * FROM rowmesh_incoming ORDER BY payload");
  while (rows.step()) {
    const number = rows.integer(0);
    const headerBytes = rows.blob(4);
    const outline = {
      header: decodeHeader(headerBytes),
      headerBytes,
      author: publicKey(rows.blob(1)),
      mesh: state.mesh.id,
      headerHash: headerHash(rows.blob(2)),
      previousHash: headerHash(rows.blob(3)),
      signature: rows.blob(5),
      chunkHashes: rows.blob(6),
    };
    const indexes: VersionRange[] = [];
    held.bindInteger(1, number);
    while (held.step()) indexes.push({ first: held.integer(0), last: held.integer(0) });
    held.reset();
    state.incoming.set(outline.headerHash, createIncoming(state, outline, number, indexes));
  }
}

function createIncoming(
  state: ReplicaState,
  outline: Omit<VerifiedOutline, "__verified">,
  number: number,
  held: readonly VersionRange[],
): Incoming {
  const all = { first: 0, last: chunkCount(outline.header.payloadBytes) - 1 };
  return {
    changeset: { ...outline, payload: { bytes: outline.chunkHashes, number } },
    number,
    missing: subtractRanges([all], held),
    grewMs: state.clock.nowMs(),
    grownChunks: 0,
    triedAt: null,
  };
}
