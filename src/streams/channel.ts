/**
 * Both halves of a stream over one channel: whatever carries whole messages in order, both ways
 * (docs/STREAMS.md, rules T13 and T14). Each side begins with its position; then packages and their
 * receipts cross until one side closes.
 * ```
 * hello    u8 1 │ position
 * package  u8 2 │ varint number │ package
 * receipt  u8 3 │ varint number │ position
 * ```
 *
 * @module
 */

import { ByteReader, ByteWriter, notCanonical } from "../protocol/bytes.ts";
import { isMeshError, MeshError, type MeshErrorCode } from "../protocol/errors.ts";
import { CHANNEL_PACKAGES_MAX, PACKAGE_BYTES_MAX } from "../protocol/limits.ts";
import type { OutboundPackage, OutboundStreamOptions, Streams } from "./streams.ts";

/** What a carrier does for a session. */
export interface Channel {
  /** One message. Throws or drops it when the other end is gone. */
  readonly send: (message: Uint8Array) => void;
  /** One listener for each; called after this returns. */
  readonly listen: (onMessage: (message: Uint8Array) => void, onClose: () => void) => void;
  /** Idempotent. */
  readonly close: () => void;
}

export interface SyncOptions extends Pick<
  OutboundStreamOptions,
  "excludeSites" | "localOnly" | "bytesMax" | "signal"
> {
  /** The other end's name: what it is known to hold is kept in the database under it. */
  readonly peer?: string;
}

export interface SyncSummary {
  /** Changesets that the other end has answered for. */
  readonly sent: number;
  /** Changesets looked at here; the refused ones among them. */
  readonly received: number;
  readonly refused: number;
  /** Why the session ended, when the other end broke its rules or this one failed; else null. */
  readonly code: MeshErrorCode | null;
}

export interface SyncSession {
  /** Resolves when the session is over, for whatever reason; never rejects. */
  readonly ended: Promise<SyncSummary>;
  /** Resolves as `ended` does. */
  readonly close: () => Promise<SyncSummary>;
}

const HELLO = 1;
const PACKAGE = 2;
const RECEIPT = 3;
/** A package with its number. */
const MESSAGE_BYTES_MAX = PACKAGE_BYTES_MAX + 16;
/** Messages that came and were not looked at: hello, packages, and as many receipts. */
const MESSAGES_WAITING_MAX = 2 * CHANNEL_PACKAGES_MAX + 1;

export function syncOver(streams: Streams, channel: Channel, options: SyncOptions): SyncSession {
  const { peer = {}, signal, ...outboundOptions } = options;
  const inbound = streams.inboundStream({ from: peer });
  const stop = new AbortController();
  const unanswered = new Map<number, OutboundPackage>();
  const summary = { sent: 0, received: 0, refused: 0, code: null as MeshErrorCode | null };
  let greeted = false;
  let waiting = 0;
  let turn: Promise<void> = Promise.resolve();
  let sending: Promise<void> = Promise.resolve();
  let roomy: (() => void) | null = null;
  const over = new Promise<void>((resolve) => {
    stop.signal.addEventListener("abort", () => resolve());
  });

  function end(cause: unknown): void {
    if (stop.signal.aborted) return;
    if (cause !== null) summary.code = isMeshError(cause) ? cause.code : "ERR_INTERNAL";
    stop.abort();
    roomy?.();
    channel.close();
  }
  const close = (): void => end(null);

  async function send(since: Uint8Array): Promise<void> {
    const out = streams.outboundStream({
      ...outboundOptions,
      to: peer,
      since,
      signal: stop.signal,
    });
    let number = 0;
    for await (const each of out) {
      if (stop.signal.aborted) return;
      number++;
      unanswered.set(number, each);
      channel.send(message(PACKAGE, each.bytes, number));
      if (unanswered.size < CHANNEL_PACKAGES_MAX) continue;
      await new Promise<void>((resolve) => {
        roomy = resolve;
      });
    }
    // The mesh was closed.
    end(null);
  }

  async function handle(bytes: Uint8Array): Promise<void> {
    const reader = new ByteReader(bytes);
    const kind = reader.u8();
    if (kind === HELLO && !greeted) {
      greeted = true;
      sending = send(rest(reader)).catch(end);
      return;
    }
    if (!greeted) throw notCanonical("no hello");
    const number = reader.varint(Number.MAX_SAFE_INTEGER);
    if (kind === PACKAGE) {
      const { outcomes, receipt } = await inbound.accept(rest(reader));
      summary.received += outcomes.length;
      summary.refused += outcomes.filter(({ verdict }) => verdict === "refused").length;
      channel.send(message(RECEIPT, receipt.bytes, number));
      return;
    }
    const answered = unanswered.get(number);
    if (kind !== RECEIPT || answered === undefined) throw notCanonical("no such message");
    unanswered.delete(number);
    await answered.ack(rest(reader));
    summary.sent += answered.changesets;
    roomy?.();
    roomy = null;
  }

  function receive(bytes: Uint8Array): void {
    if (bytes.length > MESSAGE_BYTES_MAX || ++waiting > MESSAGES_WAITING_MAX) {
      end(new MeshError("ERR_LIMIT", "more than was agreed on"));
      return;
    }
    turn = turn
      .then(async () => {
        if (!stop.signal.aborted) await handle(bytes);
      })
      .catch(end)
      .finally(() => {
        waiting--;
      });
  }

  async function start(): Promise<void> {
    const { bytes } = await inbound.position();
    if (!stop.signal.aborted) channel.send(message(HELLO, bytes));
  }

  channel.listen(receive, close);
  if (signal?.aborted === true) close();
  signal?.addEventListener("abort", close, { once: true });
  start().catch(end);
  const ended = over.then(async () => {
    signal?.removeEventListener("abort", close);
    await Promise.allSettled([turn, sending]);
    return { ...summary };
  });
  return {
    ended,
    close: () => {
      close();
      return ended;
    },
  };
}

const rest = (reader: ByteReader): Uint8Array => reader.raw(reader.remaining);

function message(kind: number, bytes: Uint8Array, number?: number): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(bytes.length + 16).u8(kind);
  if (number !== undefined) writer.varint(number);
  return writer.raw(bytes).finish();
}
