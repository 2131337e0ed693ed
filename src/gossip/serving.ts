/**
 * Serving: answering one peer's wants, in order, from the store. At most one read's bytes are in
 * memory per peer; the next read waits until the network took the last.
 *
 * @module
 */

import { PART_BYTES } from "../protocol/limits.ts";
import { encodeMessage, type WantMessage } from "../protocol/messages.ts";
import type { ChangesetRange } from "../protocol/version-vector.ts";
import { framesOfRun } from "./run-parts.ts";

/** Nobody has more unanswered: a peer that asks on is not one of ours. */
export const WANTS_QUEUED_MAX = 4;
/** One read: authors take turns of this size, and a slow link sees progress. */
const READ_BYTES = PART_BYTES;

interface Answer {
  readonly want: number;
  bytesLeft: number;
  /** Not yet read; the first is next, and goes to the end after its turn. */
  readonly ranges: ChangesetRange[];
}

export interface Serving {
  /** @returns false when too many wants wait. */
  readonly want: (message: WantMessage) => boolean;
  /** What to read next; null when nothing is asked, or the last read is not sent yet. */
  readonly read: () => { readonly range: ChangesetRange; readonly bytesMax: number } | null;
  readonly readDone: (runs: readonly Uint8Array[], next: number | null) => void;
  /** Frames to send now; they are let go of here. */
  readonly frames: () => readonly Uint8Array[];
}

export function createServing(): Serving {
  const answers: Answer[] = [];
  let state: "idle" | "reading" | "read" = "idle";
  let frames: Uint8Array[] = [];
  /** Wants answered in `frames`, which the peer cannot know yet. */
  let answered = 0;

  /** Closes the answers that have nothing left to read. */
  function close(): void {
    for (let answer = answers[0]; answer !== undefined; answer = answers[0]) {
      const complete = answer.ranges.length === 0;
      if (!complete && answer.bytesLeft > 0) return;
      frames.push(encodeMessage({ type: "served", want: answer.want, complete }));
      answered += 1;
      answers.shift();
    }
  }

  return {
    want: ({ want, bytesMax, ranges }) => {
      if (answers.length + answered >= WANTS_QUEUED_MAX) return false;
      answers.push({ want, bytesLeft: bytesMax, ranges: [...ranges] });
      if (state === "idle") close();
      return true;
    },
    read: () => {
      const answer = answers[0];
      const range = answer?.ranges[0];
      if (state !== "idle" || answer === undefined || range === undefined) return null;
      state = "reading";
      return { range, bytesMax: Math.min(READ_BYTES, answer.bytesLeft) };
    },
    readDone: (runs, next) => {
      const answer = answers[0];
      const range = answer?.ranges.shift();
      if (answer === undefined || range === undefined) throw new RangeError("nothing was read");
      for (const run of runs) {
        frames.push(...framesOfRun(answer.want, run));
        answer.bytesLeft -= run.length;
      }
      if (next !== null && next <= range.last) answer.ranges.push({ ...range, first: next });
      close();
      state = "read";
    },
    frames: () => {
      if (state === "read") state = "idle";
      const taken = frames;
      frames = [];
      answered = 0;
      return taken;
    },
  };
}
