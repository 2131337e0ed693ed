/**
 * Intake: what is on its way into the store, by ticket, and how many bytes of it are in memory.
 * Bounded over all peers.
 *
 * @module
 */

import { INGEST_BYTES_MAX, WANT_BYTES_MAX } from "../protocol/limits.ts";
import type { IngestItem, IngestOutcome } from "../seams.ts";
import type { Emit } from "./effect.ts";

/** Above it nothing more is asked for: the store has enough to do. */
const ENOUGH_BYTES = 4 * WANT_BYTES_MAX;

/** Empty outcomes: the store failed, nothing is known. */
type Ingested = (outcomes: readonly IngestOutcome[], nowMs: number) => void;

export interface Intake {
  readonly hasRoom: (bytes: number) => boolean;
  readonly hasEnough: () => boolean;
  readonly submit: (item: IngestItem, ingested: Ingested) => void;
  readonly ingested: (ticket: number, outcomes: readonly IngestOutcome[], nowMs: number) => void;
  readonly bytes: () => number;
}

export function createIntake(emit: Emit): Intake {
  const pending = new Map<number, { readonly bytes: number; readonly ingested: Ingested }>();
  let bytes = 0;
  let lastTicket = 0;
  return {
    hasRoom: (more) => bytes + more <= INGEST_BYTES_MAX,
    hasEnough: () => bytes >= ENOUGH_BYTES,
    submit: (item, ingested) => {
      lastTicket += 1;
      bytes += item.bytes.length;
      pending.set(lastTicket, { bytes: item.bytes.length, ingested });
      emit({ type: "ingest", ticket: lastTicket, item });
    },
    ingested: (ticket, outcomes, nowMs) => {
      const entry = pending.get(ticket);
      if (entry === undefined) throw new RangeError(`ticket ${ticket}`);
      pending.delete(ticket);
      bytes -= entry.bytes;
      entry.ingested(outcomes, nowMs);
    },
    bytes: () => bytes,
  };
}

/** The store has it now, or had it, or keeps it for later: nobody need send it again. */
export const isTaken = ({ verdict }: IngestOutcome): boolean =>
  verdict !== "later" && verdict !== "refused";
