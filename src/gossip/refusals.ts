/**
 * Refusals: what was not taken, counted by code, and which codes are the sender's own fault.
 * Whoever relays verified it first, so forged or malformed bytes are blamed on who brought them.
 *
 * @module
 */

import type { MeshErrorCode } from "../protocol/errors.ts";
import type { PeerId } from "../protocol/ids.ts";
import type { IngestOutcome } from "../seams.ts";
import type { Emit } from "./effect.ts";

const BLAMED: ReadonlySet<MeshErrorCode> = new Set<MeshErrorCode>([
  "ERR_NOT_CANONICAL",
  "ERR_LIMIT",
  "ERR_SIGNATURE_INVALID",
  "ERR_WRONG_MESH",
  "ERR_UNASKED",
  "ERR_HELLO_MISSING",
  "ERR_CLAIM_FALSE",
]);

export const isBlamed = (code: MeshErrorCode): boolean => BLAMED.has(code);

export interface Refusals {
  /** Counts it, and lowers the peer's standing where it is to blame. */
  readonly refuse: (peer: PeerId, code: MeshErrorCode) => void;
  /** The same for what the store said of changesets from this peer. */
  readonly outcomes: (peer: PeerId, outcomes: readonly IngestOutcome[]) => void;
  readonly byCode: () => ReadonlyMap<MeshErrorCode, number>;
  /** Changesets that arrived although we held them. */
  readonly duplicates: () => number;
}

export function createRefusals(emit: Emit): Refusals {
  const countByCode = new Map<MeshErrorCode, number>();
  let duplicates = 0;

  function refuse(peer: PeerId, code: MeshErrorCode): void {
    countByCode.set(code, (countByCode.get(code) ?? 0) + 1);
    if (isBlamed(code)) emit({ type: "penalise", peer, code });
  }

  return {
    refuse,
    outcomes: (peer, outcomes) => {
      for (const { verdict, code } of outcomes) {
        if (verdict === "known") duplicates += 1;
        if (verdict === "refused" && code !== undefined) refuse(peer, code);
      }
    },
    byCode: () => countByCode,
    duplicates: () => duplicates,
  };
}
