/**
 * Who misbehaved how often. Sans-IO. A strike is forgiven every minute; STRIKES_MAX of them and the
 * peer is dropped and ignored for a while, twice as long each time; an hour without a strike makes up
 * for one time. Of whom nothing more is read, one is enough.
 *
 * @module
 */

import type { MeshErrorCode } from "../protocol/errors.ts";
import type { PeerId } from "../protocol/ids.ts";
import { STANDINGS_MAX, STRIKES_MAX } from "../protocol/limits.ts";

export const FORGIVE_STRIKE_MS = 60_000;
export const BAN_FIRST_MS = 60_000;
const BAN_MAX_MS = 3_600_000;
/** A hub runs for months: a phone that fell asleep in its greeting now and then is no enemy. */
export const FORGIVE_BAN_MS = 3_600_000;
/** The link is of no use to either side. */
const DROPPED_AT_ONCE: ReadonlySet<MeshErrorCode> = new Set<MeshErrorCode>([
  "ERR_WRONG_MESH",
  "ERR_HELLO_MISSING",
  "ERR_CLAIM_FALSE",
]);

export interface PeerStanding {
  /** @returns until when the peer is banned, if this strike was one too many. */
  readonly strike: (peer: PeerId, code: MeshErrorCode, nowMs: number) => number | null;
  readonly isBanned: (peer: PeerId, nowMs: number) => boolean;
}

interface Record {
  strikes: number;
  struckMs: number;
  bans: number;
  bannedUntilMs: number;
}

export function createPeerStanding(): PeerStanding {
  // In order of the latest strike: the first is the one to forget.
  const records = new Map<PeerId, Record>();

  function strike(peer: PeerId, code: MeshErrorCode, nowMs: number): number | null {
    const record = records.get(peer) ?? { strikes: 0, struckMs: nowMs, bans: 0, bannedUntilMs: 0 };
    records.delete(peer);
    records.set(peer, record);
    const [oldest] = records.keys();
    if (records.size > STANDINGS_MAX && oldest !== undefined) records.delete(oldest);

    const forgiven = Math.floor((nowMs - record.struckMs) / FORGIVE_STRIKE_MS);
    record.strikes = Math.max(0, record.strikes - forgiven) + 1;
    const goodMs = nowMs - Math.max(record.struckMs, record.bannedUntilMs);
    record.bans = Math.max(0, record.bans - Math.max(0, Math.floor(goodMs / FORGIVE_BAN_MS)));
    record.struckMs = nowMs;
    if (record.strikes < STRIKES_MAX && !DROPPED_AT_ONCE.has(code)) return null;
    record.strikes = 0;
    record.bannedUntilMs = nowMs + Math.min(BAN_MAX_MS, BAN_FIRST_MS * 2 ** record.bans);
    record.bans++;
    return record.bannedUntilMs;
  }

  return {
    strike,
    isBanned: (peer, nowMs) => (records.get(peer)?.bannedUntilMs ?? 0) > nowMs,
  };
}
