/** The machine with a hand-driven world around it: what it sends, asks and says is kept by kind. */
import type { Effect, ReplicationEvent } from "../../src/gossip/effect.ts";
import { digestOf } from "../../src/gossip/digest.ts";
import { createReplication, type Replication } from "../../src/gossip/replication.ts";
import { encodeHeader } from "../../src/protocol/changeset.ts";
import { encodeBroadcast, encodeRun } from "../../src/protocol/changeset-run.ts";
import { chunkCount, encodeOutline } from "../../src/protocol/outline.ts";
import {
  headerHash,
  meshId,
  type PeerId,
  publicKey,
  type SiteId,
  siteId,
  ZERO_HASH,
} from "../../src/protocol/ids.ts";
import { decodeMessage, encodeMessage, type Message } from "../../src/protocol/messages.ts";
import { authorStream, type VectorEntry } from "../../src/protocol/version-vector.ts";
import type { IncomingChangeset, IngestOutcome } from "../../src/seams.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";

export const mesh = meshId("5a".repeat(32));
export const siteOf = (number: number): SiteId => siteId(number.toString(16).padStart(32, "0"));
export const self = siteOf(0xffff);
const AUTHOR = publicKey("11".repeat(32));

export const entry = (site: number, head: number, hash = "aa"): VectorEntry => ({
  site: siteOf(site),
  stream: "data",
  floor: 0,
  head,
  headHash: (head === 0 ? "00" : hash).repeat(16),
  beyond: [],
});

export const digest = (entries: readonly VectorEntry[]): string =>
  digestOf(new Map(entries.map((each) => [authorStream(each), each])));

/** Bytes that look like a run of these versions; nothing in it is signed. */
export function runOf(site: number, first: number, count: number, payloadBytes = 10): Uint8Array {
  const changesets = Array.from({ length: count }, (_, i) =>
    unsigned(site, first + i, payloadBytes),
  );
  return encodeRun({ stream: "data", author: AUTHOR, previousHash: ZERO_HASH, changesets });
}

/** Bytes that look like an outline; nothing in it is signed. */
export function outlineOf(site: number, version: number, payloadBytes: number): Uint8Array {
  const { payload: _, ...signed } = unsigned(site, version, payloadBytes);
  const chunkHashes = new Uint8Array(32 * chunkCount(payloadBytes));
  const previousHash = version === 1 ? ZERO_HASH : headerHash("77".repeat(32));
  return encodeOutline({ ...signed, stream: "data", author: AUTHOR, previousHash, chunkHashes });
}

/** As the store tells of one of which these chunks are missing. */
export const incomingOf = (
  site: number,
  version: number,
  payloadBytes: number,
  first = 0,
  last: number = chunkCount(payloadBytes) - 1,
): IncomingChangeset => ({
  site: siteOf(site),
  stream: "data",
  version,
  headerHash: headerHash(`${site}${version}`.padStart(64, "9")),
  payloadBytes,
  missing: last < first ? [] : [{ first, last }],
});

export const broadcastOf = (site: number, version: number): Uint8Array =>
  encodeBroadcast({
    previousHashPrefix: new Uint8Array(8),
    changeset: unsigned(site, version, 10),
  });

function unsigned(site: number, version: number, payloadBytes: number) {
  const header = {
    kind: "data" as const,
    stream: "data" as const,
    encoding: { type: "plain" as const },
    site: siteOf(site),
    version,
    publicKey: version === 1 ? AUTHOR : null,
    payloadBytes,
    dependencies: [],
  };
  const payload = new Uint8Array(payloadBytes);
  return { header, headerBytes: encodeHeader(header), signature: new Uint8Array(64), payload };
}

type Of<Type extends Effect["type"]> = Extract<Effect, { readonly type: Type }>;

export interface Machine {
  readonly replication: Replication;
  readonly tell: (event: ReplicationEvent) => void;
  readonly frame: (from: PeerId, message: Message) => void;
  readonly bytes: (from: PeerId, bytes: Uint8Array) => void;
  /** Lets time pass, waking the machine whenever it asked for it. */
  readonly pass: (ms: number) => void;
  readonly nowMs: () => number;
  /** What was sent to the peer since the last call. */
  readonly sent: (to: PeerId) => readonly Message[];
  readonly take: <Type extends Effect["type"]>(type: Type) => readonly Of<Type>[];
  /** Answers every ingest under way alike. */
  readonly ingested: (outcome: IngestOutcome) => void;
  /** Connects the peer, which claims these entries, and answers what is asked at the start. */
  readonly connect: (peer: PeerId, entries: readonly VectorEntry[]) => void;
}

export function createMachine(vector: readonly VectorEntry[] = []): Machine {
  const replication = createReplication({
    mesh,
    site: self,
    role: "device",
    name: "self",
    vector,
    random: createSeededRandom(1),
    roundMs: 5_000,
  });
  let nowMs = 1_000;
  let wakeMs: number | null = null;
  let frames: { readonly to: PeerId; readonly message: Message }[] = [];
  let effects: Effect[] = [];
  const tickets: number[] = [];

  function tell(event: ReplicationEvent): void {
    const events: ReplicationEvent[] = [event];
    for (let next = events.shift(); next !== undefined; next = events.shift()) {
      for (const effect of replication.handle(next, nowMs)) {
        effects.push(effect);
        if (effect.type === "wake") wakeMs = effect.atMs;
        if (effect.type === "ingest") tickets.push(effect.ticket);
        if (effect.type !== "send") continue;
        const messages = effect.frames.map(decodeMessage);
        frames.push(...messages.map((message) => ({ to: effect.to, message })));
        events.push({ type: "sent", peer: effect.to });
      }
    }
  }

  function pass(ms: number): void {
    const endMs = nowMs + ms;
    while (wakeMs !== null && wakeMs <= endMs) {
      nowMs = Math.max(nowMs, wakeMs);
      wakeMs = null;
      tell({ type: "wake" });
    }
    nowMs = endMs;
  }

  const frame = (from: PeerId, message: Message) =>
    tell({ type: "frame", from, bytes: encodeMessage(message) });

  return {
    replication,
    tell,
    frame,
    bytes: (from, bytes) => tell({ type: "frame", from, bytes }),
    pass,
    nowMs: () => nowMs,
    sent: (to) => {
      const taken = frames.filter((each) => each.to === to);
      frames = frames.filter((each) => each.to !== to);
      return taken.map(({ message }) => message);
    },
    take: <Type extends Effect["type"]>(type: Type) => {
      const taken = effects.filter((each): each is Of<Type> => each.type === type);
      effects = effects.filter((each) => each.type !== type);
      return taken;
    },
    ingested: (outcome) => {
      for (const ticket of tickets.splice(0)) {
        tell({ type: "ingested", ticket, outcomes: [outcome] });
      }
    },
    connect: (peer, entries) => {
      tell({ type: "peerUp", peer });
      frame(peer, helloOf(peer, entries));
      frame(peer, { type: "vector", part: "first", entries });
    },
  };
}

export const helloOf = (peer: PeerId, entries: readonly VectorEntry[]): Message => ({
  type: "hello",
  mesh,
  site: siteOf(peer.codePointAt(0) ?? 0),
  role: "device",
  name: peer,
  digest: digest(entries),
});

export const typesOf = (messages: readonly Message[]): readonly Message["type"][] =>
  messages.map(({ type }) => type);

export const only = <Type extends Message["type"]>(
  messages: readonly Message[],
  type: Type,
): readonly Extract<Message, { readonly type: Type }>[] =>
  messages.filter((each): each is Extract<Message, { readonly type: Type }> => each.type === type);
