/**
 * A real mesh, and a peer that knows its join link and means harm. After every attack the honest
 * peers' tables and logs are as before, what they write next still converges, what was refused is
 * counted by code, and nothing was thrown where nobody catches it.
 */
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import type { Mesh } from "../../src/node/api.ts";
import { openHubMesh, openMesh } from "../../src/node/open-mesh-node.ts";
import { gossipTopic } from "../../src/node/gossip-broadcast.ts";
import { createWebrtcCertificate } from "../../src/node/webrtc-certificate.ts";
import { encodeBroadcast, encodeRun } from "../../src/protocol/changeset-run.ts";
import type { VerifiedChangeset } from "../../src/protocol/changeset.ts";
import type { MeshErrorCode } from "../../src/protocol/errors.ts";
import { parseInviteLink } from "../../src/protocol/genesis.ts";
import {
  fromHex,
  headerHash,
  type MeshId,
  meshId,
  type SiteId,
  siteId,
  ZERO_HASH,
} from "../../src/protocol/ids.ts";
import {
  BROADCAST_BYTES_MAX,
  CHUNK_BYTES,
  FRAME_BYTES_MAX,
  VECTOR_ENTRIES_MAX,
  VERSION_MAX,
  WANT_BYTES_MAX,
} from "../../src/protocol/limits.ts";
import { encodeMessage, type Message } from "../../src/protocol/messages.ts";
import { encodeOutline } from "../../src/protocol/outline.ts";
import type { VectorEntry } from "../../src/protocol/version-vector.ts";
import { forge, rowPayload } from "../fixtures/forge.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import {
  helloTo,
  type HostileOptions,
  type HostilePeer,
  type HostileStream,
  openHostilePeer,
} from "./hostile-peer.ts";

const schema = {
  version: 1,
  tables: ["CREATE TABLE note (id TEXT PRIMARY KEY NOT NULL, text TEXT) STRICT"],
};
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const random = createSeededRandom(7);
const uncaught: unknown[] = [];
const onUncaught = (error: unknown): void => void uncaught.push(error);

let hub: Mesh;
let alice: Mesh;
let bob: Mesh;
let link: string;
let mesh: MeshId;
let address: string;
let written = 0;
const hostiles: HostilePeer[] = [];

beforeAll(async () => {
  process.on("uncaughtException", onUncaught).on("unhandledRejection", onUncaught);
  const certificate = await createWebrtcCertificate(new Uint8Array(8).fill(1), Date.now());
  const listen = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0/ws"];
  hub = await openHubMesh(
    { name: "hub", storage: "memory" },
    { meshName: "attacked", listen, certificate },
  );
  link = await hub.invite();
  mesh = hub.status().meshId as MeshId;
  address = parseInviteLink(link).hubs.find((each) => /127.*tcp\/\d+\/p2p/.test(each)) as string;
  alice = await openMesh({ name: "alice", schema, storage: "memory", join: link });
  bob = await openMesh({ name: "bob", schema, storage: "memory", join: link });
  await honestGoOn();
});

afterEach(async () => {
  await Promise.all(hostiles.splice(0).map((each) => each.stop()));
  await honestGoOn();
  if (uncaught.length > 0) throw new AggregateError(uncaught, "nobody caught this");
});

afterAll(async () => {
  await Promise.all([hub, alice, bob].map((each) => each.close()));
  process.off("uncaughtException", onUncaught).off("unhandledRejection", onUncaught);
});

const pause = (ms: number) => new Promise((resolve) => void setTimeout(resolve, ms));

/** Until it throws no more; also in hooks, where `expect.poll` is refused. */
async function eventually<T>(check: () => T | Promise<T>, withinMs = 8_000): Promise<T> {
  const endMs = performance.now() + withinMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > endMs) throw error;
    }
    await pause(20);
  }
}

/** Both write, all agree, and nobody holds a row that these two did not write. */
async function honestGoOn(): Promise<void> {
  for (const writer of [alice, bob]) {
    await writer.db.exec("INSERT INTO note VALUES (?, ?)", [`n${written++}`, "honest"]);
  }
  await eventually(async () => {
    expect(alice.status().digest).toBe(hub.status().digest);
    expect(bob.status().digest).toBe(hub.status().digest);
    expect(await bob.stateHash()).toBe(await alice.stateHash());
    const rows = await bob.db.query("SELECT count(*) AS n FROM note WHERE text = 'honest'");
    expect(rows).toEqual([{ n: written }]);
  }, 30_000);
  expect(await alice.db.query("SELECT count(*) AS n FROM note")).toEqual([{ n: written }]);
  expect(hub.status().forks.filter(({ headers }) => headers.length > 0)).toEqual([]);
}

async function hostile(changes: Partial<HostileOptions> = {}): Promise<HostilePeer> {
  const peer = await openHostilePeer({ address, topic: gossipTopic(mesh), ...changes });
  hostiles.push(peer);
  return peer;
}

const ownSite = siteId("ee".repeat(16));
const greeting = (digest = "00".repeat(32)): Message => ({ ...helloTo(mesh, ownSite), digest });

async function greeted(peer: HostilePeer): Promise<HostileStream> {
  const stream = await peer.open();
  stream.say(greeting());
  await eventually(() => expect(stream.heard.map(({ type }) => type)).toContain("hello"));
  return stream;
}

const refused = (code: MeshErrorCode): number =>
  hub.status().refusals.find((each) => each.code === code)?.count ?? 0;

/** Counted here, and counted since. */
function counting(code: MeshErrorCode): () => number {
  const before = refused(code);
  return () => refused(code) - before;
}

const dropped = (peer: HostilePeer): Promise<void> =>
  eventually(() => expect(peer.connection.status).not.toBe("open"), 10_000);

async function shutOut(peer: HostilePeer): Promise<void> {
  await dropped(peer);
  const again = await peer.redial().catch(() => null);
  await eventually(() => expect(again?.status ?? "refused").not.toBe("open"));
}

const entry = (site: SiteId, head: number): VectorEntry => ({
  site,
  stream: "data",
  floor: 0,
  head,
  headHash: "ab".repeat(16),
  beyond: [],
});
const invented = (): SiteId => siteId(random.bytes(16));
const honestSites = (): SiteId[] => [hub.siteId, alice.siteId, bob.siteId];
const all = (site: SiteId) => ({ site, stream: "data" as const, first: 1, last: VERSION_MAX });

/** One of each, as an honest peer would send it. */
const MESSAGES = (): Message[] => [
  greeting(),
  { type: "digest", digest: "11".repeat(32) },
  { type: "vector", part: "first", entries: [entry(invented(), 9)] },
  { type: "want", want: 1, bytesMax: WANT_BYTES_MAX, ranges: [all(alice.siteId)] },
  { type: "run", want: 1, run: new Uint8Array(200) },
  { type: "outline", want: 1, outline: new Uint8Array(200) },
  {
    type: "wantChunks",
    want: 1,
    site: alice.siteId,
    stream: "data",
    version: 1,
    headerHash: headerHash("22".repeat(32)),
    chunks: [{ first: 0, last: 1_023 }],
  },
  { type: "chunk", want: 1, index: 0, bytes: new Uint8Array(CHUNK_BYTES) },
  { type: "served", want: 1, complete: true },
  { type: "neighbours", peers: ["not a peer id", "", "../../p2p-circuit/ip4/10.0.0.1/tcp/80"] },
];

test("damaged, cut and padded frames of every kind", async () => {
  const malformed = counting("ERR_NOT_CANONICAL");
  for (const message of MESSAGES()) {
    const peer = await hostile();
    const whole = encodeMessage(message);
    for (let i = 0; peer.connection.status === "open" && i < 200; i++) {
      const stream = i % 20 === 0 ? await peer.open().catch(() => null) : null;
      if (stream === null && i % 20 === 0) break;
      if (stream === null) continue;
      if (message.type !== "hello") stream.say(greeting());
      for (let j = 0; j < 20; j++) {
        const frame = whole.slice();
        frame[random.below(frame.length)] = random.below(256);
        stream.frame(frame);
        stream.frame(whole.subarray(0, 1 + random.below(whole.length)));
        stream.frame(new Uint8Array([...whole, 0]));
        stream.frame(random.bytes(1 + random.below(300)));
      }
      await pause(20);
    }
    await shutOut(peer);
  }
  expect(malformed()).toBeGreaterThan(20);
});

test("records that break the framing", async () => {
  const leb = (value: number): number[] =>
    value < 128 ? [value] : [(value & 127) | 128, ...leb(value >>> 7)];
  const breaks = [
    [0x80, 0x00],
    leb(FRAME_BYTES_MAX + 1),
    [0xff, 0xff, 0xff, 0xff, 0x7f],
    [0, ...leb(1_048_577)],
    [0, ...leb(1_048_576)],
    [0, 0x80, 0x00],
    [...new Uint8Array(4_096)].map(() => 0xff),
    [0x81, 0x80, 0x80, 0x80],
  ];
  const peer = await hostile();
  for (const each of breaks) {
    const stream = await peer.open();
    stream.say(greeting());
    stream.bytes(Uint8Array.from(each));
    await eventually(() => expect(stream.stream.status).not.toBe("open"));
  }
  await shutOut(peer);
});

test("a frame begun and never ended keeps nobody from anything", async () => {
  const peer = await hostile();
  const stream = await greeted(peer);
  stream.bytes(Uint8Array.of(0xff, 0xff, 0x0f, 1, 2, 3));
  await honestGoOn();
  expect(stream.heard.length).toBeGreaterThan(0);
});

test("a hello of another mesh, a second one, and words before it", async () => {
  const [wrong, unasked] = [counting("ERR_WRONG_MESH"), counting("ERR_UNASKED")];
  const foreign = await (await hostile()).open();
  foreign.say(helloTo(meshId("cd".repeat(32)), ownSite));
  foreign.say({ type: "want", want: 1, bytesMax: WANT_BYTES_MAX, ranges: [all(alice.siteId)] });
  await eventually(() => expect(wrong()).toBeGreaterThan(0));
  const twice = await hostile();
  const stream = await greeted(twice);
  for (let i = 0; i < 20; i++) stream.say(greeting());
  await shutOut(twice);
  const early = await hostile();
  const silent = await early.open();
  for (let i = 0; i < 20; i++) silent.say({ type: "digest", digest: "22".repeat(32) });
  await shutOut(early);
  expect(unasked()).toBeGreaterThan(10);
  expect(foreign.heard.map(({ type }) => type)).not.toContain("run");
});

test(
  "vectors that lie: endless heads, other people's logs, invented authors",
  { timeout: 60_000 },
  async () => {
    const liars = await Promise.all([hostile(), hostile(), hostile()]);
    const streams = await Promise.all(liars.map(greeted));
    for (const stream of streams) {
      stream.say({
        type: "vector",
        part: "first",
        entries: honestSites()
          .sort()
          .map((site) => entry(site, VERSION_MAX)),
      });
      for (let i = 0; i < 8; i++) {
        const sites = Array.from({ length: VECTOR_ENTRIES_MAX }, invented).sort();
        stream.say({
          type: "vector",
          part: "more",
          entries: sites.map((site) => entry(site, VERSION_MAX)),
        });
      }
    }
    await eventually(() => expect(hub.status().missing).toBeGreaterThan(VECTOR_ENTRIES_MAX));
    // While they hold on to what they were asked for, and answer with what they were not.
    await honestGoOn();
    for (const stream of streams) {
      const wants = stream.heard.filter((each) => each.type === "want");
      expect(wants.length).toBeLessThanOrEqual(4);
      for (const { want } of wants) stream.say({ type: "served", want, complete: true });
    }
    await honestGoOn();
    await Promise.all(liars.map((each) => each.stop()));
    await eventually(() => expect(hub.status().missing).toBe(0));
    expect(hub.status().notices.join()).not.toMatch(/One key/);
  },
);

test("wants for everything, again and again, by a peer that reads nothing", async () => {
  const limits = counting("ERR_LIMIT");
  const peer = await hostile({ reads: "no" });
  const stream = await greeted(peer);
  for (let want = 1; want <= 200; want++) {
    stream.say({ type: "want", want, bytesMax: WANT_BYTES_MAX, ranges: honestSites().map(all) });
    stream.say({ type: "want", want, bytesMax: 0, ranges: [] });
  }
  await shutOut(peer);
  expect(limits()).toBeGreaterThan(0);
});

test("runs, outlines, chunks and answers that nobody asked for", async () => {
  const unasked = counting("ERR_UNASKED");
  const changeset = await forge(900, rowPayload(0, { primaryKey: Uint8Array.of(1, 0x0b, 1, 97) }), {
    mesh,
  });
  const run = runOf(changeset);
  const outline = outlineOf(await forge(904, new Uint8Array(CHUNK_BYTES + 1), { mesh }));
  const says: ((stream: HostileStream, i: number) => void)[] = [
    (stream, want) => stream.say({ type: "run", want, run }),
    (stream, want) => stream.say({ type: "served", want: want + 1, complete: false }),
    (stream, want) => stream.say({ type: "outline", want, outline }),
    (stream, want) => {
      stream.say({ type: "chunk", want, index: want, bytes: new Uint8Array(CHUNK_BYTES) });
    },
  ];
  for (const say of says) {
    const peer = await hostile();
    const stream = await greeted(peer);
    // Less than a window of them: who ignores that loses the stream before all are read.
    for (let i = 0; i < 12; i++) say(stream, i);
    await shutOut(peer);
  }
  expect(unasked()).toBeGreaterThanOrEqual(4 * 8);
});

const runOf = (changeset: VerifiedChangeset): Uint8Array =>
  encodeRun({
    stream: "data",
    author: changeset.author,
    previousHash: changeset.previousHash,
    changesets: [changeset],
  });

test("an answer that is forged, and one that begins and never ends", async () => {
  const forged = counting("ERR_SIGNATURE_INVALID");
  const changeset = await forge(901, rowPayload(0, { primaryKey: Uint8Array.of(1, 0x0b, 1, 97) }), {
    mesh,
  });
  const { site } = changeset.header;
  const peer = await hostile();
  const stream = await greeted(peer);
  stream.say({ type: "vector", part: "first", entries: [entry(site, 1)] });
  const want = await asked(stream);
  stream.say({ type: "run", want, run: damagedAt(runOf(changeset), -1) });
  await eventually(() => expect(forged()).toBe(1));
  const large = await forge(905, new Uint8Array(CHUNK_BYTES + 1), { mesh });
  const stalling = await hostile();
  const other = await greeted(stalling);
  other.say({ type: "vector", part: "first", entries: [entry(large.header.site, 1)] });
  const outline = outlineOf(large);
  other.say({ type: "outline", want: await asked(other), outline: damagedAt(outline, -1) });
  await eventually(() => expect(forged()).toBe(2));
  // Else it is asked for the chunks as well, and holds them leased.
  await stalling.stop();
  const honest = await hostile();
  const again = await greeted(honest);
  again.say({ type: "vector", part: "first", entries: [entry(large.header.site, 1)] });
  const id = await asked(again);
  again.say({ type: "outline", want: id, outline });
  again.say({ type: "served", want: id, complete: true });
  const wanted = await eventually(() => {
    const found = again.heard.find(({ type }) => type === "wantChunks");
    expect(found).toMatchObject({ headerHash: large.headerHash, chunks: [{ first: 0, last: 1 }] });
    return found;
  });
  const chunk = new Uint8Array(CHUNK_BYTES).fill(1);
  if (wanted?.type === "wantChunks") {
    again.say({ type: "chunk", want: wanted.want, index: 0, bytes: chunk });
  }
  await eventually(() => expect(forged()).toBe(3));
  await honestGoOn();
});

const damagedAt = (bytes: Uint8Array, at: number): Uint8Array => {
  const damaged = bytes.slice();
  damaged.set([(damaged.at(at) ?? 0) ^ 1], damaged.length + at);
  return damaged;
};

function outlineOf(changeset: VerifiedChangeset): Uint8Array {
  const { header, chunkHashes } = changeset;
  if (chunkHashes === null) throw new RangeError("more than one chunk");
  return encodeOutline({ ...changeset, stream: header.stream, chunkHashes });
}

async function asked(stream: HostileStream): Promise<number> {
  await eventually(
    () => expect(stream.heard.some(({ type }) => type === "want")).toBe(true),
    15_000,
  );
  const want = stream.heard.find((each) => each.type === "want");
  return want?.type === "want" ? want.want : 0;
}

test(
  "gossip of garbage, too much, forgeries, and of another mesh",
  { timeout: 60_000 },
  async () => {
    const forged = counting("ERR_SIGNATURE_INVALID");
    const malformed = counting("ERR_NOT_CANONICAL");
    const payload = rowPayload(0, { primaryKey: Uint8Array.of(1, 0x0b, 1, 98) });
    const foreign = await forge(902, payload, { mesh: meshId("cd".repeat(32)) });
    const ours = encodeBroadcast({
      previousHashPrefix: new Uint8Array(8),
      changeset: await forge(903, payload, { mesh }),
    });
    // Each only once: gossip itself drops what it has seen.
    const damaged = (i: number, mask: number): Uint8Array => {
      const bytes = ours.slice();
      bytes[bytes.length - 1 - i] = (bytes[bytes.length - 1 - i] ?? 0) ^ mask;
      return bytes;
    };
    const messages: ((i: number) => Uint8Array)[] = [
      // A header longer than the message.
      () => Uint8Array.from([...random.bytes(8), 0x7f, ...random.bytes(90)]),
      () => new Uint8Array([...random.bytes(8), ...new Uint8Array(BROADCAST_BYTES_MAX)]),
      (i) => damaged(i, 1),
      (i) => {
        const replayed = encodeBroadcast({
          previousHashPrefix: new Uint8Array(8),
          changeset: foreign,
        });
        return i === 0 ? replayed : damaged(i, 2);
      },
    ];
    for (const message of messages) {
      const peer = await hostile();
      await publishing(
        peer,
        Array.from({ length: 12 }, (_, i) => message(i)),
      );
      await shutOut(peer);
    }
    expect(forged()).toBeGreaterThan(0);
    expect(malformed()).toBeGreaterThan(0);
  },
);

async function publishing(peer: HostilePeer, messages: readonly Uint8Array[]): Promise<void> {
  const topic = gossipTopic(mesh);
  await eventually(
    () => expect(peer.pubsub.getSubscribers(topic).length).toBeGreaterThan(0),
    10_000,
  );
  for (const bytes of messages) await peer.pubsub.publish(topic, bytes).catch(() => undefined);
}

test("bytes that are no gossip at all", async () => {
  const peer = await hostile();
  for (const protocol of peer.pubsub.protocols) {
    const stream = await peer.connection.newStream(protocol).catch(() => null);
    if (stream === null) continue;
    for (let i = 0; i < 10 && stream.status === "open"; i++) stream.send(random.bytes(5_000));
  }
  await pause(100);
  expect(hub.status().online).toBe(true);
});

test("an author's rows that break every rule are void for all alike, and it may not write as another", async () => {
  const peer = await hostile();
  const evil = await forge(
    904,
    rowPayload(0, { primaryKey: Uint8Array.of(9, 9, 9), sentinel: true }),
    { mesh },
  );
  const bytes = encodeBroadcast({ previousHashPrefix: new Uint8Array(8), changeset: evil });
  await publishing(peer, [bytes, bytes]);
  await eventually(() => {
    for (const each of [alice, bob]) {
      expect(each.status().refusals.map(({ code }) => code)).toContain("ERR_ROWS_INVALID");
    }
  }, 15_000);
  const stolen = await forge(905, rowPayload(0, { primaryKey: Uint8Array.of(1, 0x0b, 1, 99) }), {
    mesh,
  });
  const header = stolen.headerBytes.slice();
  header.set(fromHex(alice.siteId), 2);
  const theft = encodeBroadcast({
    previousHashPrefix: new Uint8Array(8),
    changeset: { ...stolen, headerBytes: header },
  });
  await publishing(
    peer,
    Array.from({ length: 9 }, (_, i) => Uint8Array.from([...theft.slice(0, -1), i])),
  );
  await dropped(peer);
  expect(stolen.previousHash).toBe(ZERO_HASH);
});

test("a thousand streams, each replacing the last", async () => {
  const peer = await hostile();
  for (let i = 0; i < 1_000; i++) {
    const stream = await peer.open().catch(() => null);
    if (i % 3 === 0) stream?.say(greeting());
    if (i % 5 === 0) stream?.stream.abort(new Error("gone"));
  }
  await peer.stop();
  await eventually(() => {
    expect(hub.status().peers.some(({ peerId }) => peerId === peer.id)).toBe(false);
  }, 15_000);
});

test("who comes after all this is served", async () => {
  const carol = await openMesh({ name: "carol", schema, storage: "memory", join: link });
  try {
    await eventually(async () => {
      expect(carol.status().digest).toBe(hub.status().digest);
      expect(await carol.stateHash()).toBe(await alice.stateHash());
    }, 20_000);
    expect(carol.status().refusals.map(({ code }) => code)).toEqual(["ERR_ROWS_INVALID"]);
  } finally {
    await carol.close();
  }
});
