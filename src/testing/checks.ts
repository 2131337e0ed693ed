/**
 * What must be true when a simulated mesh has come to rest.
 *
 * @module
 */

import type { AppSchema } from "../db/schema.ts";
import type { SqlRunner } from "../db/sql-runner.ts";
import { decodeRun } from "../protocol/changeset-run.ts";
import { type PeerId, type SiteId, toHex } from "../protocol/ids.ts";
import { decodePayload } from "../protocol/payload.ts";
import type { ReplicaStore } from "../seams.ts";
import { payloadRoot } from "../signing/signed-bytes.ts";
import type { Ledger } from "./acknowledged.ts";
import { mergeIntoModel, type ModelTables } from "./merge-model.ts";
import { rowsOf, rowsOfModel } from "./shown-rows.ts";

/** One changeset of a log, as far as the checks care. */
export interface LoggedChangeset {
  readonly site: SiteId;
  /** Of its payload, 64 hex digits. */
  readonly root: string;
  readonly payload: Uint8Array;
  /** As it travels: header, signature, payload. */
  readonly bytes: number;
}

const READ_BYTES = 1024 * 1024;

/** All that a replica claims to hold; of one author if a site is given. */
export async function readLog(
  store: ReplicaStore,
  site: SiteId | null = null,
): Promise<readonly LoggedChangeset[]> {
  const logged: LoggedChangeset[] = [];
  for (const { floor, head, ...chain } of await store.vector()) {
    if (site !== null && chain.site !== site) continue;
    for (let first: number | null = floor + 1; first !== null && first <= head;) {
      const { runs, next } = await store.read({ ...chain, first, last: head }, READ_BYTES);
      for (const { headerBytes, payload, signature } of runs.flatMap(
        (run) => decodeRun(run).changesets,
      )) {
        const bytes = headerBytes.length + signature.length + payload.length;
        logged.push({ site: chain.site, root: toHex(payloadRoot(payload)), payload, bytes });
      }
      first = next;
    }
  }
  return logged;
}

/** Throws unless the tables are what the model makes of the log. */
export async function checkModel(
  db: Pick<SqlRunner, "query">,
  schema: AppSchema,
  log: readonly LoggedChangeset[],
): Promise<void> {
  const model: ModelTables = new Map();
  for (const { payload } of log) mergeIntoModel(model, decodePayload(payload));
  const shown = await rowsOf(db, schema);
  const expected = rowsOfModel(model, schema);
  if (print(shown) === print(expected)) return;
  throw new Error(`tables differ from the model: ${print(shown)} expected ${print(expected)}`);
}

const print = (rows: ReadonlyMap<string, unknown>): string =>
  JSON.stringify(
    [...rows].sort(([a], [b]) => (a < b ? -1 : 1)),
    (_, value: unknown) => {
      if (typeof value === "bigint") return `${value}n`;
      return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value;
    },
  );

/**
 * Throws unless every acknowledged transaction is in the log that all agree on, as often as it was
 * acknowledged, and no rejected one.
 * @param hasOneHistory whether this device's disk never went back in time nor was copied
 */
export function checkLedger(
  { id, sites }: { readonly id: PeerId; readonly sites: readonly SiteId[] },
  ledger: Ledger,
  log: readonly LoggedChangeset[],
  hasOneHistory: boolean,
): void {
  const inLog = countBy(log.flatMap((entry) => (sites.includes(entry.site) ? [entry.root] : [])));
  const kept = ledger.acknowledged.filter(({ fate }) => fate === "kept");
  const promised = countBy(kept.map(({ root }) => root));
  for (const [root, times] of promised) {
    if ((inLog.get(root) ?? 0) < times) {
      throw new Error(`lost: ${id} acknowledged transaction ${root} and nobody has it`);
    }
  }
  if (!hasOneHistory) return;
  const possible = countBy([...ledger.unanswered, ...kept.map(({ root }) => root)]);
  for (const root of ledger.rejected) {
    if ((inLog.get(root) ?? 0) > (possible.get(root) ?? 0)) {
      throw new Error(`kept all the same: ${id} rejected transaction ${root} and it is in the log`);
    }
  }
}

/**
 * Throws when the log has a changeset of an honest author that none of its devices ever signed (P2).
 * Authors that no device has are not looked at.
 */
export function checkSigned(
  devices: readonly { readonly sites: readonly SiteId[]; readonly ledger: Ledger }[],
  log: readonly LoggedChangeset[],
): void {
  for (const { site, root } of log) {
    const authors = devices.filter(({ sites }) => sites.includes(site));
    if (authors.length === 0 || authors.some(({ ledger }) => ledger.signed.has(root))) continue;
    throw new Error(`forged: nobody signed transaction ${root} of ${site}`);
  }
}

function countBy(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

/** Bytes that had to be sent: every changeset once to everybody but its author. */
export const bytesNeeded = (log: readonly LoggedChangeset[], peers: number): number =>
  log.reduce((sum, { bytes }) => sum + bytes, 0) * Math.max(0, peers - 1);
