/** The frame stream against a peer that keeps no rule: libp2p's own pair of in-memory streams. */
import type { Stream } from "@libp2p/interface";
import { streamPair } from "@libp2p/utils";
import { afterEach, expect, test } from "vitest";
import {
  encodeCredit,
  encodeFrame,
  FrameRecordReader,
  frameCost,
} from "../../src/node/frame-record.ts";
import {
  ARRIVING_MS,
  createFrameStream,
  type FrameStream,
  type FrameStreamEnd,
  HEARTBEAT_TICK_MS,
} from "../../src/node/frame-stream.ts";
import {
  FRAME_BYTES_MAX,
  FRAME_TIMEOUT_MS,
  LINK_QUEUE_BYTES_MAX,
  LINK_WINDOW_BYTES,
} from "../../src/protocol/limits.ts";
import { eventually } from "../contracts/network.ts";

interface Opened {
  readonly frames: FrameStream;
  readonly raw: Stream;
  readonly got: Uint8Array[];
  readonly ends: FrameStreamEnd[];
  readonly arriving: number[];
}

let nowMs = 0;
let wallMs = 0;
let opened: Opened[] = [];
afterEach(() => {
  for (const { frames } of opened) frames.close();
  opened = [];
});

/** One side is ours; `raw` is the peer's end, to be misused. */
async function open(
  onFrame: (bytes: Uint8Array) => Promise<void> = async () => {},
): Promise<Opened> {
  const [stream, raw] = await streamPair({ capacity: 1024, protocol: "/test" });
  const got: Uint8Array[] = [];
  const ends: FrameStreamEnd[] = [];
  const arriving: number[] = [];
  const frames = createFrameStream({
    stream,
    clock: { nowMs: () => nowMs, wallClockMs: () => wallMs },
    onFrame: async (bytes) => {
      got.push(bytes);
      await onFrame(bytes);
    },
    onArriving: (bytes) => arriving.push(bytes),
    onEnd: (end) => ends.push(end),
  });
  opened.push({ frames, raw, got, ends, arriving });
  return opened.at(-1)!;
}

const never = (): Promise<void> => new Promise(() => undefined);

test("a peer that ignores the window is cut off before it fills our memory", async () => {
  const { frames, raw, ends, got } = await open(never);
  const frame = encodeFrame(new Uint8Array(65_536));
  let sentBytes = 0;
  while (ends.length === 0 && sentBytes < 64 * LINK_WINDOW_BYTES) {
    raw.send(frame);
    sentBytes += frame.length;
    expect(frames.unhandledBytes()).toBeLessThanOrEqual(LINK_WINDOW_BYTES + FRAME_BYTES_MAX);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  expect(ends).toEqual([{ type: "broken", code: "ERR_LIMIT" }]);
  expect(got.length).toBe(1);
});

test("tiny frames cost more than their bytes", async () => {
  const { raw, ends } = await open(never);
  const flood = Buffer.concat(Array.from({ length: 17_000 }, () => encodeFrame(Uint8Array.of(1))));
  raw.send(Uint8Array.from(flood));
  await eventually(() => expect(ends).toEqual([{ type: "broken", code: "ERR_LIMIT" }]));
});

test.each([
  ["a frame over the limit", Uint8Array.of(0x81, 0x80, 0x10), "ERR_LIMIT"],
  ["garbage", Uint8Array.from({ length: 9 }, () => 0xff), "ERR_LIMIT"],
  ["a padded length", Uint8Array.of(0x81, 0x00), "ERR_NOT_CANONICAL"],
  ["credit for nothing", encodeCredit(1), "ERR_LIMIT"],
])("%s ends the stream with a code", async (_what, bytes, code) => {
  const { raw, ends, frames } = await open();
  raw.send(bytes);
  await eventually(() => expect(ends).toEqual([{ type: "broken", code }]));
  await frames.send(Uint8Array.of(1));
  frames.close();
  expect(ends.length).toBe(1);
});

test("of a frame that takes long the bytes that came are told once a second", async () => {
  const { raw, got, arriving } = await open();
  const record = encodeFrame(new Uint8Array(10_000));
  for (let i = 0; i < 10; i++) {
    raw.send(record.slice(i * 1_000, (i + 1) * 1_000));
    await new Promise((resolve) => setTimeout(resolve, 5));
    nowMs += ARRIVING_MS / 2;
  }
  expect(arriving).toEqual([2, 4, 6, 8].map((pieces) => (pieces + 1) * 1_000 - 2));
  raw.send(record.slice(10_000));
  await eventually(() => expect(got.length).toBe(1));
  nowMs += 10 * ARRIVING_MS;
  raw.send(encodeFrame(new Uint8Array(10)));
  await eventually(() => expect(got.length).toBe(2));
  expect(arriving.length).toBe(4);
});

test("a frame that dribbles in is given up, however lively the dribble", async () => {
  const { raw, ends } = await open();
  raw.send(Uint8Array.of(100, 1));
  const dribble = setInterval(() => {
    nowMs += FRAME_TIMEOUT_MS / 4;
    if (raw.status === "open") raw.send(Uint8Array.of(1));
  }, 100);
  await eventually(() => expect(ends).toEqual([{ type: "broken", code: "ERR_LIMIT" }]));
  clearInterval(dribble);
});

test("a peer that says nothing is given up; one that only lives is kept", async () => {
  const silent = await open();
  const lively = await open();
  const beat = setInterval(() => lively.raw.send(encodeCredit(0)), HEARTBEAT_TICK_MS);
  await eventually(() => expect(silent.ends).toEqual([{ type: "silent" }]));
  clearInterval(beat);
  expect(lively.ends).toEqual([]);
}, 20_000);

test("after a sleep two silent ticks are enough, and what was under way before is no sign of life", async () => {
  const silent = await open();
  const lively = await open();
  let heartbeats = 0;
  silent.raw.addEventListener("message", () => (heartbeats += 1));
  wallMs += 60_000;
  const beat = setInterval(() => lively.raw.send(encodeCredit(0)), HEARTBEAT_TICK_MS / 4);
  await eventually(() => expect(heartbeats).toBe(1));
  silent.raw.send(encodeCredit(0));
  await eventually(() => expect(silent.ends).toEqual([{ type: "silent" }]));
  clearInterval(beat);
  // One in the tick that found it asleep, one in the next; the third gave up.
  expect(heartbeats).toBe(2);
  expect(lively.ends).toEqual([]);
}, 20_000);

test("without credit a sender sends the window, then waits with a bounded queue", async () => {
  const { frames, raw } = await open();
  const reader = new FrameRecordReader();
  const received: Uint8Array[] = [];
  raw.addEventListener("message", ({ data }) => {
    for (const record of reader.push(data.subarray())) {
      if (record.type === "frame") received.push(record.bytes);
    }
  });
  const frame = new Uint8Array(65_536);
  let accepted = 0;
  const sending = (async () => {
    for (let i = 0; i < 40; i++) {
      await frames.send(frame);
      accepted++;
    }
  })();
  const windowFrames = Math.floor(LINK_WINDOW_BYTES / frameCost(frame));
  await eventually(() => expect(received.length).toBe(windowFrames));
  expect(accepted).toBe(windowFrames + Math.floor(LINK_QUEUE_BYTES_MAX / frameCost(frame)));
  raw.send(encodeCredit(3 * frameCost(frame)));
  await eventually(() => expect(received.length).toBe(windowFrames + 3));
  // The end lets everyone go who waits.
  frames.close();
  await sending;
  expect(accepted).toBe(40);
});
