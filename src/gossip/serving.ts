/**
 * Serving: answering one peer's wants from the store. At most one read's bytes are in memory per
 * peer; the next read waits until the network took the last. Versions come before chunks, so that
 * what is small overtakes what is large; wants of one kind are answered in order.
 *
 * @module
 */

import { WANT_CHUNKS_MAX } from "../protocol/limits.ts";
import { encodeMessage, type WantChunksMessage, type WantMessage } from "../protocol/messages.ts";
import type { ChangesetRange } from "../protocol/version-vector.ts";
import type { ChunkRequest, LogReading } from "../seams.ts";

/** Nobody has more unanswered: a peer that asks on is not one of ours. */
export const WANTS_QUEUED_MAX = 4;
/** One read: authors take turns of this size, and a slow link sees progress. */
const READ_BYTES: number = 64 * 1024;
/** One read of chunks: what a small changeset may have to wait for. */
const READ_CHUNKS = 2;

interface VersionsAnswer {
  readonly type: "versions";
  readonly want: number;
  bytesLeft: number;
  /** Not yet read; the first is next, and goes to the end after its turn. */
  readonly ranges: ChangesetRange[];
}

interface ChunksAnswer {
  readonly type: "chunks";
  readonly want: number;
  readonly of: Omit<ChunkRequest, "indexes">;
  /** Not yet read. */
  readonly indexes: number[];
  readonly isCut: boolean;
}

type Answer = VersionsAnswer | ChunksAnswer;

type ServingRead =
  | { readonly type: "read"; readonly range: ChangesetRange; readonly bytesMax: number }
  | { readonly type: "readChunks"; readonly request: ChunkRequest };

export interface Serving {
  /** @returns false when too many wants wait. */
  readonly want: (message: WantMessage) => boolean;
  /** @returns false when too many wants wait. */
  readonly wantChunks: (message: WantChunksMessage) => boolean;
  /** What to read next; null when nothing is asked, or the last read is not sent yet. */
  readonly read: () => ServingRead | null;
  readonly readDone: (reading: LogReading) => void;
  readonly chunksRead: (
    chunks: readonly { readonly index: number; readonly bytes: Uint8Array }[],
  ) => void;
  /** Frames to send now; they are let go of here. */
  readonly frames: () => readonly Uint8Array[];
}

export function createServing(): Serving {
  let answers: Answer[] = [];
  let state: "idle" | "reading" | "read" = "idle";
  let frames: Uint8Array[] = [];
  /** Wants answered in `frames`, which the peer cannot know yet. */
  let answered = 0;

  /** The one to go on with. */
  const next = (): Answer | undefined =>
    answers.find(({ type }) => type === "versions") ?? answers[0];

  function add(answer: Answer): boolean {
    if (answers.length + answered >= WANTS_QUEUED_MAX) return false;
    answers.push(answer);
    if (state !== "reading") close();
    return true;
  }

  /** Closes the answers that have nothing left to read. */
  function close(): void {
    answers = answers.filter((answer) => {
      const isLeft = hasMore(answer);
      if (isLeft && (answer.type === "chunks" || answer.bytesLeft > 0)) return true;
      const complete = !isLeft && (answer.type === "versions" || !answer.isCut);
      frames.push(encodeMessage({ type: "served", want: answer.want, complete }));
      answered += 1;
      return false;
    });
  }

  return {
    want: ({ want, bytesMax, ranges }) =>
      add({ type: "versions", want, bytesLeft: bytesMax, ranges: [...ranges] }),
    wantChunks: ({ want, site, stream, version, headerHash, chunks }) => {
      const wanted = chunks.flatMap(({ first, last }) =>
        Array.from({ length: last - first + 1 }, (_, i) => first + i),
      );
      const indexes = wanted.slice(0, WANT_CHUNKS_MAX);
      const isCut = indexes.length < wanted.length;
      return add({
        type: "chunks",
        want,
        of: { site, stream, version, headerHash },
        indexes,
        isCut,
      });
    },
    read: () => {
      const answer = next();
      if (state !== "idle" || answer === undefined) return null;
      state = "reading";
      if (answer.type === "chunks") {
        const indexes = answer.indexes.slice(0, READ_CHUNKS);
        return { type: "readChunks", request: { ...answer.of, indexes } };
      }
      const [range] = answer.ranges;
      if (range === undefined) throw new RangeError("an answer without ranges is closed");
      return { type: "read", range, bytesMax: Math.min(READ_BYTES, answer.bytesLeft) };
    },
    readDone: ({ runs, outlines = [], next: first }) => {
      const answer = next();
      const range = answer?.type === "versions" ? answer.ranges.shift() : undefined;
      if (answer?.type !== "versions" || range === undefined) {
        throw new RangeError("nothing was read");
      }
      const { want } = answer;
      for (const run of runs) frames.push(encodeMessage({ type: "run", want, run }));
      for (const outline of outlines) {
        frames.push(encodeMessage({ type: "outline", want, outline }));
      }
      for (const { length } of [...runs, ...outlines]) answer.bytesLeft -= length;
      if (first !== null && first <= range.last) answer.ranges.push({ ...range, first });
      close();
      state = "read";
    },
    chunksRead: (chunks) => {
      const answer = answers.find(({ type }) => type === "chunks");
      if (answer?.type !== "chunks") throw new RangeError("nothing was read");
      answer.indexes.splice(0, READ_CHUNKS);
      const { want } = answer;
      for (const { index, bytes } of chunks) {
        frames.push(encodeMessage({ type: "chunk", want, index, bytes }));
      }
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

const hasMore = (answer: Answer): boolean =>
  (answer.type === "versions" ? answer.ranges : answer.indexes).length > 0;
