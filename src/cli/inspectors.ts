/**
 * What each kind of rowmesh bytes says, as JSON-safe objects. One inspector per kind, in the order
 * in which unnamed bytes are tried.
 *
 * @module
 */

import type { SignedChangeset } from "../protocol/changeset.ts";
import { decodeHeader } from "../protocol/changeset.ts";
import { type ChangesetRun, decodeBroadcast, decodeRun } from "../protocol/changeset-run.ts";
import { isMeshError, type MeshErrorCode } from "../protocol/errors.ts";
import { decodeGenesisBody, decodeInvite, type Genesis } from "../protocol/genesis.ts";
import { type MeshId, toHex } from "../protocol/ids.ts";
import { decodeMessage } from "../protocol/messages.ts";
import { type ChangesetPayload, decodePayload } from "../protocol/payload.ts";
import type { StoredValue } from "../protocol/values.ts";
import { yieldToEvents } from "../node/yield-to-events.ts";
import { createNobleEd25519 } from "../signing/ed25519-noble.ts";
import { verifyGenesis } from "../signing/genesis.ts";
import { meshIdOf } from "../signing/keys.ts";
import { verifyRun } from "../signing/verified-changeset.ts";

export type InspectedKind =
  | "frame"
  | "run"
  | "broadcast"
  | "invite"
  | "genesis"
  | "header"
  | "payload";

interface Inspection {
  readonly says: object;
  /** Well-formed, yet not authentic: the code with which a peer would refuse it. */
  readonly refused: MeshErrorCode | null;
}

/** Each throws MeshError when the bytes are not of its kind. `mesh`: verify signatures for it. */
export type Inspector = (bytes: Uint8Array, mesh: MeshId | null) => Promise<Inspection>;

const ed25519 = createNobleEd25519({ pause: yieldToEvents });

export const INSPECTORS: Readonly<Record<InspectedKind, Inspector>> = {
  frame: inspectFrame,
  run: async (bytes, mesh) => inspectRun(decodeRun(bytes), mesh),
  broadcast: async (bytes) => {
    const { previousHashPrefix, changeset } = decodeBroadcast(bytes);
    const says = { previousHashPrefix: toHex(previousHashPrefix), ...changesetSays(changeset) };
    return { says, refused: null };
  },
  invite: async (bytes) => {
    const { genesis, hubs } = decodeInvite(bytes);
    const { says, refused } = await inspectGenesis(genesis);
    return { says: { ...says, hubs }, refused };
  },
  genesis: async (bytes) => {
    const { random, ...body } = decodeGenesisBody(bytes);
    return { says: { mesh: meshIdOf(bytes), ...body, random: toHex(random) }, refused: null };
  },
  header: async (bytes) => ({ says: { header: jsonSafe(decodeHeader(bytes)) }, refused: null }),
  payload: async (bytes) => ({ says: payloadSays(decodePayload(bytes)), refused: null }),
};

async function inspectFrame(bytes: Uint8Array, mesh: MeshId | null): Promise<Inspection> {
  const message = decodeMessage(bytes);
  if (message.type !== "run") return { says: { message: jsonSafe(message) }, refused: null };
  const { says, refused } = await inspectRun(decodeRun(message.run), mesh);
  return { says: { message: { type: message.type, want: message.want, run: says } }, refused };
}

async function inspectRun(run: ChangesetRun, mesh: MeshId | null): Promise<Inspection> {
  const { stream, author, previousHash } = run;
  const changesets = run.changesets.map(changesetSays);
  const says = { stream, author, previousHash, changesets };
  if (mesh === null) return { says, refused: null };
  const { verified, refused } = await verifyRun(ed25519, run, mesh);
  const headerHashes = verified.map((changeset) => changeset.headerHash);
  return { says: { ...says, verified: headerHashes }, refused: refused?.code ?? null };
}

/** A genesis carries its founder's key, so that its signature can always be checked. */
async function inspectGenesis(genesis: Genesis): Promise<Inspection> {
  const { random, ...body } = decodeGenesisBody(genesis.bodyBytes);
  const says = { mesh: meshIdOf(genesis.bodyBytes), ...body, random: toHex(random) };
  try {
    await verifyGenesis(ed25519, genesis);
    return { says, refused: null };
  } catch (error) {
    if (!isMeshError(error)) throw error;
    return { says, refused: error.code };
  }
}

function changesetSays({ header, signature, payload }: SignedChangeset): object {
  const fixed = { header: jsonSafe(header), signature: toHex(signature) };
  // Other encodings and streams are carried unread.
  if (header.kind !== "data" || header.encoding.type !== "plain") {
    return { ...fixed, payload: toHex(payload) };
  }
  try {
    return { ...fixed, payload: payloadSays(decodePayload(payload)) };
  } catch (error) {
    // Authentic, logged and forwarded all the same: the rows are void.
    if (!isMeshError(error)) throw error;
    return { ...fixed, payload: toHex(payload), payloadRefused: error.code };
  }
}

function payloadSays(payload: ChangesetPayload): object {
  const { tables, ...prefix } = payload;
  return {
    ...prefix,
    wallClock: new Date(payload.wallClockMs).toISOString(),
    tables: tables.map(({ table, rows }) => ({
      table,
      rows: rows.map(({ primaryKey, cells, ...row }) => ({
        primaryKey: toHex(primaryKey),
        ...row,
        cells: cells.map(({ value, ...cell }) => ({ ...cell, ...valueSays(value) })),
      })),
    })),
  };
}

/** With its storage class: 5 and 5.0 are different values. */
function valueSays(value: StoredValue): { readonly class: string; readonly value: unknown } {
  if (value === null) return { class: "NULL", value };
  if (typeof value === "bigint") return { class: "INTEGER", value: String(value) };
  // JSON has no infinities.
  if (typeof value === "number") return { class: "REAL", value: String(value) };
  if (typeof value === "string") return { class: "TEXT", value };
  return { class: "BLOB", value: toHex(value) };
}

const jsonSafe = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_key, inner: unknown) =>
      inner instanceof Uint8Array ? toHex(inner) : inner,
    ),
  );
