/** What a peer says of itself and of others is shown, and believed only as far as it proves it. */
import { expect, test } from "vitest";
import { meshStatus, NO_NETWORK } from "../../src/node/mesh-status.ts";
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
) =>
  meshStatus({
    meshId: null,
    online: true,
    storage: STORAGE,
    tab: { role: "alone" },
    platform: NODE_PLATFORM,
    report: {
      counts: {
        held: 0,
        parked: 0,
        parkedCode: null,
        newerSchemas: [],
        void: 0,
        refusedByCode: new Map(),
        forks: [],
        formerKeys: [],
        unreleased: 0,
        ...counts,
      },
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
