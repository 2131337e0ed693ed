/**
 * One ordered stream of frames to one peer, over one libp2p stream.
 *
 * libp2p has no usable back-pressure of its own: WebRTC cannot pause a sender, and `onDrain()` of
 * @libp2p/utils 7.4.1 keeps its first resolved promise, so that awaiting it buffers without bound.
 * Here the receiver gives window back as its handler resolves (`frame-record.ts`), so neither
 * side ever holds more than LINK_WINDOW_BYTES; locally the writer stops at `send() === false` and
 * goes on at the 'drain' event.
 *
 * Both sides say something at least every tick. Any byte heard counts as life, so a link that is
 * busy with bulk is never taken for dead, and a thread that was blocked counts one silent tick.
 * A device that slept, though, was given up by its peers meanwhile: it is told so by two ticks of
 * silence, of which the first may still bring what was under way before the sleep.
 *
 * @module
 */

import type { Stream } from "@libp2p/interface";
import { isMeshError, MeshError, type MeshErrorCode } from "../protocol/errors.ts";
import { FRAME_TIMEOUT_MS, LINK_QUEUE_BYTES_MAX, LINK_WINDOW_BYTES } from "../protocol/limits.ts";
import type { Clock } from "../seams.ts";
import {
  assertFrame,
  encodeCredit,
  encodeFrame,
  frameCost,
  FrameRecordReader,
} from "./frame-record.ts";

/** Silence is measured in ticks, not in time: see the module doc. */
export const HEARTBEAT_TICK_MS = 1_000;
/** Silent ticks after which a link is dead: noticed in 4 to 5 s. libp2p alone takes 7 to 10. */
const SILENT_TICKS_MAX = 4;
/** A chunk of 64 KiB takes 8 s at 64 kbit/s: who waits for it is told that it comes. */
export const ARRIVING_MS = 1_000;
/** A tick that is this late found the device asleep, or the thread blocked for as long. */
const ASLEEP_MS: number = HEARTBEAT_TICK_MS * SILENT_TICKS_MAX;

/** Why a stream ended. */
export type FrameStreamEnd =
  | { readonly type: "closed" }
  /** Nothing was heard for SILENT_TICKS_MAX ticks: the connection below is dead. */
  | { readonly type: "silent" }
  /** The peer broke the rules of `frame-record.ts`. */
  | { readonly type: "broken"; readonly code: MeshErrorCode };

export interface FrameStreamOptions {
  readonly stream: Stream;
  readonly clock: Clock;
  /** The next frame is not handed over before this resolves. It must not reject. */
  readonly onFrame: (bytes: Uint8Array) => Promise<void>;
  /** So many bytes of the next frame have come; at most every ARRIVING_MS while it is not whole. */
  readonly onArriving: (bytes: number) => void;
  /** Called once. */
  readonly onEnd: (end: FrameStreamEnd) => void;
}

export interface FrameStream {
  /**
   * Queues a frame; resolves when there is room for the next. After the end it resolves at once.
   * @throws RangeError on an empty or too large frame.
   */
  readonly send: (frame: Uint8Array) => Promise<void>;
  readonly close: () => void;
  /** Bytes held for sending: queued here and in libp2p's buffer. */
  readonly unsentBytes: () => number;
  /** Bytes received and not yet handled. */
  readonly unhandledBytes: () => number;
}

export function createFrameStream(options: FrameStreamOptions): FrameStream {
  const { stream, clock, onFrame, onArriving, onEnd } = options;
  const reader = new FrameRecordReader();
  const queue: Uint8Array[] = [];
  const received: Uint8Array[] = [];
  let queuedBytes = 0;
  let windowBytes = LINK_WINDOW_BYTES;
  let unhandledBytes = 0;
  let creditBytes = 0;
  let waiters: (() => void)[] = [];
  let isHandling = false;
  let hasEnded = false;
  let heardInTick = true;
  let saidInTick = false;
  let silentTicks = 0;
  let partialSinceMs: number | null = null;
  let arrivingToldMs = clock.nowMs();
  let tickedMs = clock.wallClockMs();
  let doubt: "none" | "justWoken" = "none";

  function write(record: Uint8Array): void {
    saidInTick = true;
    try {
      stream.send(record);
    } catch {
      // The stream closed under us; its 'close' event follows or has been.
      end({ type: "closed" });
    }
  }

  function pump(): void {
    for (;;) {
      const frame = queue[0];
      const isBlocked = hasEnded || stream.writableNeedsDrain;
      if (isBlocked || frame === undefined || frameCost(frame) > windowBytes) break;
      queue.shift();
      queuedBytes -= frameCost(frame);
      windowBytes -= frameCost(frame);
      write(encodeFrame(frame));
    }
    if (queuedBytes <= LINK_QUEUE_BYTES_MAX) releaseWaiters();
  }

  function releaseWaiters(): void {
    const released = waiters;
    waiters = [];
    for (const release of released) release();
  }

  /** Credits are merged while the stream is full, so they cannot pile up either. */
  function giveBack(): void {
    const isDue = received.length === 0 || creditBytes >= LINK_WINDOW_BYTES / 4;
    if (hasEnded || creditBytes === 0 || !isDue || stream.writableNeedsDrain) return;
    const credit = encodeCredit(creditBytes);
    creditBytes = 0;
    write(credit);
  }

  async function handleReceived(): Promise<void> {
    isHandling = true;
    for (;;) {
      // The end empties the list.
      const frame = received.shift();
      if (frame === undefined) break;
      await onFrame(frame);
      unhandledBytes -= frameCost(frame);
      creditBytes += frameCost(frame);
      giveBack();
    }
    isHandling = false;
  }

  function onRecords(piece: Uint8Array): void {
    const records = reader.push(piece);
    for (const record of records) {
      if (record.type === "frame") {
        unhandledBytes += frameCost(record.bytes);
        if (unhandledBytes + creditBytes > LINK_WINDOW_BYTES) {
          throw new MeshError("ERR_LIMIT", "the sender ignores the window");
        }
        received.push(record.bytes);
      } else {
        windowBytes += record.bytes;
        if (windowBytes > LINK_WINDOW_BYTES) throw new MeshError("ERR_LIMIT", "credit never spent");
      }
    }
    const nowMs = clock.nowMs();
    if (!reader.isPartial) partialSinceMs = null;
    else if (partialSinceMs === null || records.length > 0) partialSinceMs = nowMs;
    else if (nowMs - Math.max(partialSinceMs, arrivingToldMs) >= ARRIVING_MS) {
      arrivingToldMs = nowMs;
      onArriving(reader.partialBytes);
    }
    pump();
    if (!isHandling) void handleReceived();
  }

  function onMessage(event: { readonly data: Uint8Array | { subarray: () => Uint8Array } }): void {
    if (hasEnded) return;
    heardInTick = true;
    try {
      const { data } = event;
      onRecords(data instanceof Uint8Array ? data : data.subarray());
    } catch (error) {
      if (!isMeshError(error)) throw error;
      end({ type: "broken", code: error.code });
    }
  }

  /** By the wall clock: others may stand still while the device sleeps. */
  function wasAsleep(): boolean {
    const lateMs = clock.wallClockMs() - tickedMs - HEARTBEAT_TICK_MS;
    tickedMs = clock.wallClockMs();
    return lateMs >= ASLEEP_MS;
  }

  function tick(): void {
    if (wasAsleep()) {
      silentTicks = SILENT_TICKS_MAX - 2;
      doubt = "justWoken";
    } else if (heardInTick && doubt === "none") silentTicks = 0;
    else {
      silentTicks += 1;
      doubt = "none";
    }
    if (silentTicks >= SILENT_TICKS_MAX) return end({ type: "silent" });
    if (partialSinceMs !== null && clock.nowMs() - partialSinceMs > FRAME_TIMEOUT_MS) {
      return end({ type: "broken", code: "ERR_LIMIT" });
    }
    if (!saidInTick && !stream.writableNeedsDrain) write(encodeCredit(0));
    heardInTick = false;
    saidInTick = false;
  }

  function onDrain(): void {
    // libp2p's own listener clears writableNeedsDrain and empties its buffer in a microtask.
    queueMicrotask(() => {
      giveBack();
      pump();
    });
  }

  function onClose(): void {
    end({ type: "closed" });
  }

  function end(reason: FrameStreamEnd): void {
    if (hasEnded) return;
    hasEnded = true;
    clearInterval(heartbeat);
    stream.removeEventListener("message", onMessage);
    stream.removeEventListener("drain", onDrain);
    stream.removeEventListener("close", onClose);
    stream.removeEventListener("remoteCloseWrite", onClose);
    stream.abort(new Error(`frame stream ${reason.type}`));
    queue.length = 0;
    received.length = 0;
    queuedBytes = 0;
    releaseWaiters();
    onEnd(reason);
  }

  const heartbeat = setInterval(tick, HEARTBEAT_TICK_MS);
  stream.addEventListener("drain", onDrain);
  stream.addEventListener("close", onClose);
  stream.addEventListener("remoteCloseWrite", onClose);
  stream.addEventListener("message", onMessage);

  return {
    send: async (frame) => {
      assertFrame(frame);
      if (hasEnded) return;
      queue.push(frame);
      queuedBytes += frameCost(frame);
      pump();
      if (queuedBytes > LINK_QUEUE_BYTES_MAX) {
        await new Promise<void>((resolve) => waiters.push(resolve));
      }
    },
    close: () => end({ type: "closed" }),
    unsentBytes: () => queuedBytes + stream.writeBufferLength,
    unhandledBytes: () => unhandledBytes,
  };
}
