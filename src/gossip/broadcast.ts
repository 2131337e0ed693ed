/**
 * Broadcast: fresh changesets over gossip. A latency optimisation, never the guarantee: whatever
 * it loses, anti-entropy brings. Each received message gets a verdict within
 * {@link VERDICT_MS}, since gossip waits for it: accept what is verified, reject what can never be
 * valid, ignore what cannot be judged now.
 *
 * @module
 */

import { isMeshError, type MeshErrorCode } from "../protocol/errors.ts";
import type { PeerId } from "../protocol/ids.ts";
import { BROADCAST_BYTES_MAX, BROADCAST_PENDING_MAX } from "../protocol/limits.ts";
import { authorStream, type ChangesetRange } from "../protocol/version-vector.ts";
import type { BroadcastVerdict, IngestOutcome } from "../seams.ts";
import { rangeOfBroadcast } from "./claimed-range.ts";
import type { DigestedVector } from "./digest.ts";
import type { Emit } from "./effect.ts";
import { type Intake, isTaken } from "./intake.ts";
import type { Leases } from "./leases.ts";
import { isBlamed, type Refusals } from "./refusals.ts";
import type { Newcomers } from "./newcomers.ts";
import type { Recent } from "./recent.ts";

const VERDICT_MS = 200;
/** Gossip that brought something this recently is taken to work. */
const LIVE_MS = 10_000;

export interface BroadcastOptions {
  readonly emit: Emit;
  readonly intake: Intake;
  readonly leases: Leases;
  readonly nextHolder: () => number;
  readonly refusals: Refusals;
  readonly ours: DigestedVector;
  readonly newcomers: Newcomers;
  readonly recent: Recent;
  /** This peer probably holds what we could not take now. */
  readonly lookAt: (peer: PeerId) => void;
}

export interface Broadcasting {
  readonly received: (id: number, from: PeerId, bytes: Uint8Array, nowMs: number) => void;
  readonly sent: (peers: number, nowMs: number) => void;
  /** Gives up waiting where gossip waited long enough. */
  readonly expire: (nowMs: number) => void;
  readonly dueMs: () => number | null;
  /** Whether neighbours probably get what we hold without asking. */
  readonly isLive: (nowMs: number) => boolean;
}

export function createBroadcasting(options: BroadcastOptions): Broadcasting {
  const { emit, intake, leases, nextHolder, refusals, ours, newcomers, recent } = options;
  /** Deadline by id; ascending, since every one waits equally long. */
  const pending = new Map<number, number>();
  let ingesting = 0;
  let liveUntilMs = Number.NEGATIVE_INFINITY;

  const verdict = (id: number, given: BroadcastVerdict) =>
    emit({ type: "verdict", id, verdict: given });

  function received(id: number, from: PeerId, bytes: Uint8Array, nowMs: number): void {
    const isFull = ingesting >= BROADCAST_PENDING_MAX || !intake.hasRoom(bytes.length);
    if (isFull) {
      options.lookAt(from);
      return verdict(id, "ignore");
    }
    const holder = nextHolder();
    let range: ChangesetRange;
    try {
      if (bytes.length > BROADCAST_BYTES_MAX) return refuse(id, from, "ERR_LIMIT");
      range = rangeOfBroadcast(bytes);
    } catch (error) {
      if (!isMeshError(error)) throw error;
      return refuse(id, from, error.code);
    }
    // Too many new authors: this one is pulled when it is its turn.
    const key = authorStream(range);
    const isNewcomer = !ours.entries.has(key);
    if (isNewcomer && newcomers.room("hearsay", nowMs) < 1) return verdict(id, "ignore");
    leases.take(holder, key, range);
    pending.set(id, nowMs + VERDICT_MS);
    ingesting += 1;
    intake.submit({ type: "broadcast", bytes }, (outcomes, doneMs) => {
      ingesting -= 1;
      judge(id, from, { holder, range }, outcomes, doneMs);
    });
  }

  function refuse(id: number, from: PeerId, code: MeshErrorCode): void {
    refusals.refuse(from, code);
    verdict(id, isBlamed(code) ? "reject" : "ignore");
  }

  function judge(
    id: number,
    from: PeerId,
    { holder, range }: { readonly holder: number; readonly range: ChangesetRange },
    outcomes: readonly IngestOutcome[],
    nowMs: number,
  ): void {
    const outcome = outcomes[0];
    const isTimely = pending.delete(id);
    refusals.outcomes(from, outcomes);
    if (outcome !== undefined && isTaken(outcome)) {
      leases.settle(holder, nowMs);
      // What came long ago is not passed on: an old message sent again ends here.
      const isFresh =
        outcome.verdict !== "known" || recent.isNew(authorStream(range), range.first, nowMs);
      if (isFresh) liveUntilMs = nowMs + LIVE_MS;
      if (isTimely) verdict(id, isFresh ? "accept" : "ignore");
      return;
    }
    leases.release(holder);
    const isRefused = outcome?.verdict === "refused" && outcome.code !== undefined;
    if (!isRefused) options.lookAt(from);
    if (isTimely) verdict(id, isRefused && isBlamed(outcome.code) ? "reject" : "ignore");
  }

  return {
    received,
    sent: (peers, nowMs) => {
      liveUntilMs = peers > 0 ? nowMs + LIVE_MS : Number.NEGATIVE_INFINITY;
    },
    expire: (nowMs) => {
      for (const [id, untilMs] of pending) {
        if (untilMs > nowMs) return;
        pending.delete(id);
        verdict(id, "ignore");
      }
    },
    dueMs: () => pending.values().next().value ?? null,
    isLive: (nowMs) => nowMs < liveUntilMs,
  };
}
