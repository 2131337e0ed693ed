/** What a peer says of itself and of others is shown, and believed only as far as it proves it. */
import { expect, test } from "vitest";
import { meshStatus, NO_NETWORK, type StatusSources } from "../../src/node/mesh-status.ts";
import { ERROR_REMEDIES } from "../../src/protocol/errors.ts";
import type { MeshStatus } from "../../src/node/api.ts";
import { NODE_PLATFORM } from "../../src/node/platform.ts";
import { peerIdOfPublicKey } from "../../src/node/peer-identity.ts";
import { createKeyPair } from "../../src/signing/keys.ts";
import type { LogCounts } from "../../src/db/replica-database.ts";
import type { ReplicationPeer } from "../../src/gossip/replication.ts";
import type { ReplicaReport } from "../../src/node/replica.ts";
import { CHUNK_BYTES } from "../../src/protocol/limits.ts";
import { headerHash, type SiteId, siteId } from "../../src/protocol/ids.ts";
import { ed25519, secretOf } from "../fixtures/replicas.ts";
import { NO_COUNTS } from "./log-counts.ts";

const [alice, mallory] = await Promise.all(
  [1, 2].map((number) => createKeyPair(ed25519, secretOf(number))),
);
if (alice === undefined || mallory === undefined) throw new RangeError("two keys");

const peerOf = (key: typeof alice, site: SiteId, name: string): ReplicationPeer => ({
  peer: peerIdOfPublicKey(key.publicKey),
  site,
  name,
  role: "device",
  lastHeardMs: 0,
  roundTripMs: null,
  awaitedMs: null,
  weLack: 0,
  itLacks: 0,
  lacks: [],
  sameDigest: true,
  linkedTo: [],
});

const STORAGE: MeshStatus["storage"] = {
  kind: "memory",
  durable: false,
  persisted: null,
  usageBytes: null,
  quotaBytes: null,
  eviction: "",
};

const statusWith = (
  peers: readonly ReplicationPeer[],
  forks: readonly { readonly site: SiteId; readonly version: number }[] = [],
  { incoming = [], ...counts }: Partial<LogCounts & Pick<ReplicaReport, "incoming">> = {},
  sources: Partial<StatusSources> = {},
) =>
  meshStatus({
    meshId: null,
    online: true,
    storage: STORAGE,
    tab: { role: "alone" },
    platform: NODE_PLATFORM,
    report: {
      counts: { ...NO_COUNTS, ...counts },
      incoming,
      authors: [
        {
          siteId: alice.siteId,
          publicKey: alice.publicKey,
          local: false,
          version: 3,
          lastWroteMs: null,
        },
      ],
    },
    replication: { ...NO_NETWORK, peers, forks },
    refusals: new Map(),
    links: [],
    roundTripMs: () => null,
    queue: () => ({ unsentBytes: 0, unhandledBytes: 0 }),
    nowMs: 0,
    ...sources,
  });

test("nobody names another author", () => {
  const own = peerOf(alice, alice.siteId, "Alice");
  const lie = peerOf(mallory, alice.siteId, "Administrator");
  expect(statusWith([own, lie]).authors[0]?.name).toBe("Alice");
  expect(statusWith([lie]).authors[0]?.name).toBeNull();
});

test("a name cannot rewrite the line it is shown in", () => {
  const peer = peerOf(alice, alice.siteId, "\u001b[2J\u202eAl\u0000ice\n");
  expect(statusWith([peer]).peers[0]?.name).toBe("[2JAlice");
  expect(statusWith([peer]).authors[0]?.name).toBe("[2JAlice");
  expect(statusWith([peerOf(alice, alice.siteId, "\u001b\n")]).peers[0]?.name).toBeNull();
});

test("a vector that claims another head accuses nobody", () => {
  const status = statusWith([], [{ site: alice.siteId, version: 3 }]);
  expect(status.forks).toEqual([{ siteId: alice.siteId, version: 3, headers: [] }]);
  expect(status.notices.join()).not.toMatch(/key/);
});

test("who alone asks for an upgrade is named, after what most devices ask for", () => {
  const own = peerOf(alice, alice.siteId, "Alice");
  const others = ["bb", "cc"].map((byte) => siteId(byte.repeat(16)));
  const newerSchemas: LogCounts["newerSchemas"] = [
    { version: 2, changesets: 1, authors: [alice.siteId] },
    { version: 3, changesets: 7, authors: others },
    ...[4, 5, 6].map((version) => ({ version, changesets: 1, authors: others.slice(1) })),
  ];
  const parkedCode = "ERR_SCHEMA_NEWER";
  const status = statusWith([own], [], { parked: 11, parkedCode, newerSchemas });
  expect(status.waiting).toMatchObject({ parked: 11, newerSchemas });
  expect(status.converged).toBe(false);
  expect(status.notices.slice(0, 4)).toEqual([
    "7 changes wait for schema version 3, named by 2 devices: upgrade the app.",
    "1 change waits for schema version 2, named by one device alone, Alice: upgrade the app.",
    "1 change waits for schema version 4, named by one device alone, cccccccc: upgrade the app.",
    expect.not.stringContaining("schema version"),
  ]);
  const other = statusWith([own], [], { parked: 12, parkedCode: "ERR_ENGINE_TRAP", newerSchemas });
  expect(other.notices[3]).toBe(ERROR_REMEDIES.ERR_ENGINE_TRAP);
});

test("a large changeset under way says whose it is and how much of it is here", () => {
  const payloadBytes = 10 * CHUNK_BYTES - 1_000;
  const status = statusWith([], [], {
    incoming: [
      {
        site: alice.siteId,
        stream: "data",
        version: 4,
        headerHash: headerHash("77".repeat(32)),
        payloadBytes,
        missing: [
          { first: 2, last: 3 },
          { first: 9, last: 9 },
        ],
      },
    ],
  });
  const bytes = 7 * CHUNK_BYTES;
  const large = { siteId: alice.siteId, version: 4, bytes, totalBytes: payloadBytes };
  expect(status.incoming).toEqual([large]);
  expect(status.notices).toContain("A large change is arriving: 0.5 of 0.7 MB.");
});

test("whom a peer lacks what of is said by name, where the author proved one", () => {
  const own = peerOf(alice, alice.siteId, "Alice");
  const lacks = [
    { site: alice.siteId, weLack: 0, itLacks: 3 },
    { site: mallory.siteId, weLack: 1, itLacks: 0 },
  ];
  const other = { ...peerOf(mallory, alice.siteId, "Alice"), lacks, linkedTo: ["x", "y"] };
  const { peers } = statusWith([own, other]);
  expect(peers.find(({ peerId }) => peerId === other.peer)).toMatchObject({
    lacks: [
      { siteId: alice.siteId, name: "Alice", weLack: 0, itLacks: 3 },
      { siteId: mallory.siteId, name: null, weLack: 1, itLacks: 0 },
    ],
    linkedTo: ["x", "y"],
  });
});

test.each([
  { quality: "good", link: "webrtc", heard: 60_000, trip: 1_000, unsent: 0 },
  { quality: "good", link: "webrtc", heard: 10_001, asked: 10_000, unsent: 0 },
  { quality: "good", link: "webrtc", heard: 10_000, asked: 60_000, unsent: 0 },
  { quality: "silent", link: "webrtc", heard: 10_001, asked: 10_001, trip: 3, unsent: 0 },
  { quality: "slow", link: "webrtc", heard: 10_001, asked: 10_001, trip: 3, unsent: 1 },
  { quality: "slow", link: "webrtc", heard: 10, trip: 1_001, unsent: 0 },
  { quality: "slow", link: "websocket", heard: 10, trip: 201, unsent: 262_144 },
  { quality: "good", link: "websocket", heard: 10, trip: 200, unsent: 1e6 },
  { quality: "good", link: "websocket", heard: 10, unsent: 1e6 },
  { quality: null, link: "webrtc", heard: null, asked: 60_000, trip: 3, unsent: 0 },
  { quality: null, link: "relayed", heard: 10, trip: 3, unsent: 0 },
] as const)(
  "$link heard $heard ms ago, asked $asked, round trip $trip, unsent $unsent: $quality",
  (given) => {
    const nowMs = 100_000;
    const peer = {
      ...peerOf(alice, alice.siteId, "Alice"),
      lastHeardMs: given.heard === null ? null : nowMs - given.heard,
      awaitedMs: "asked" in given ? nowMs - given.asked : null,
    };
    const queue = { unsentBytes: given.unsent, unhandledBytes: 7 };
    const { peers, queues } = statusWith(
      [peer],
      [],
      {},
      {
        links: [{ id: peer.peer, link: given.link }],
        roundTripMs: () => ("trip" in given ? given.trip : null),
        queue: () => queue,
        replication: { ...NO_NETWORK, peers: [peer], intakeBytes: 9 },
        nowMs,
      },
    );
    expect(peers).toMatchObject([{ quality: given.quality, queue }]);
    expect(queues).toEqual({ intakeBytes: 9, ...queue });
  },
);

test("a known peer without a link has no quality", () => {
  expect(statusWith([peerOf(alice, alice.siteId, "Alice")]).peers[0]?.quality).toBeNull();
});

/** Of a page whose browser promised nothing. */
const BROWSER: MeshStatus["storage"] = {
  ...STORAGE,
  kind: "opfs",
  durable: true,
  persisted: false,
  eviction: "The browser may delete it.",
};

test("own changes that nobody else has and the browser may delete are named first", () => {
  const unsent = { unreleased: 2 };
  const replication = { ...NO_NETWORK, unheld: 3 };
  const of = (sources: Partial<StatusSources>) =>
    statusWith([], [], unsent, { storage: BROWSER, replication, ...sources });
  expect(of({}).unsent).toBe(5);
  expect(of({}).notices).toEqual([
    "5 of your changes are known to no other device. The browser may delete it. Link this device with another one, or export a bundle.",
    "Not part of a mesh yet: invite somebody, or join.",
  ]);
  const isSaid = (sources: Partial<StatusSources>): boolean =>
    of(sources).notices.some((notice) => notice.includes("no other device"));
  expect(isSaid({ storage: { ...BROWSER, persisted: null } })).toBe(true);
  expect(isSaid({ storage: { ...BROWSER, persisted: true } })).toBe(false);
  expect(isSaid({ storage: { ...BROWSER, kind: "directory" } })).toBe(false);
  // While somebody is linked they are on their way.
  expect(isSaid({ links: [{ id: "a", link: "webrtc" }] })).toBe(false);
  expect(isSaid({ links: [{ id: "a", link: "relayed" }] })).toBe(true);
});

const isFull = (usageMb: number, quotaMb: number): boolean => {
  const storage = { ...BROWSER, usageBytes: usageMb * 1e6, quotaBytes: quotaMb * 1e6 };
  const [first = ""] = statusWith([], [], {}, { storage }).notices;
  return first.startsWith(`Storage is nearly full: ${usageMb}.0 of ${quotaMb}.0 MB`);
};

test("a disk that is nearly full is said while there is room still", () => {
  expect([isFull(901, 1_000), isFull(900, 1_000)]).toEqual([true, false]);
  // A small database on a full disk.
  expect([isFull(10, 59), isFull(10, 60)]).toEqual([true, false]);
});

test("what keeps a browser from linking, and who says nothing, is said with what to do", () => {
  const meshId = "5a".repeat(32) as NonNullable<MeshStatus["meshId"]>;
  const lack = { feature: "webrtc", effect: "No links.", remedy: "Switch it on." } as const;
  const platform = { ...NODE_PLATFORM, lacks: [lack] };
  expect(statusWith([], [], {}, { meshId, platform }).notices.slice(1)).toEqual([
    "No links. Switch it on.",
    "Looking for other devices.",
  ]);
  const browser = { ...NODE_PLATFORM, secureContext: true };
  expect(statusWith([], [], {}, { meshId, platform: browser }).notices.slice(1)).toEqual([
    "Looking for other devices.",
    "Where no hub is near, pair with a device that is.",
  ]);
  const peer = { ...peerOf(alice, alice.siteId, "Alice"), awaitedMs: 0 };
  const links = [{ id: peer.peer, link: "webrtc" }] as const;
  const nowMs = 60_000;
  expect(statusWith([peer], [], {}, { meshId, links, nowMs }).notices).toContain(
    "1 linked device says nothing any more: wake it, or bring it nearer.",
  );
});
