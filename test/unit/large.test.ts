/** A changeset above one chunk, from its author's file into another's: outline first, chunk by chunk. */
import { afterEach, describe, expect, test } from "vitest";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import type { ReplicaDatabase } from "../../src/db/replica-database.ts";
import type { HeaderHash } from "../../src/protocol/ids.ts";
import {
  CHUNK_BYTES,
  INCOMING_MAX,
  INCOMING_PER_AUTHOR_MAX,
  INCOMING_STALLED_MS,
  PAYLOAD_BYTES_MAX,
} from "../../src/protocol/limits.ts";
import { decodeOutline, encodeOutline } from "../../src/protocol/outline.ts";
import type { IngestItem } from "../../src/seams.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { forge } from "../fixtures/forge.ts";
import { openReplica, pull } from "../fixtures/replicas.ts";
import {
  chunkOf,
  expectOutline,
  indexesOf,
  outlinesOf,
  queueOf,
  writeRows,
} from "./large-changesets.ts";

const opened: ReplicaDatabase[] = [];
const open = async (...options: Parameters<typeof openReplica>): Promise<ReplicaDatabase> => {
  const db = await openReplica(...options);
  opened.push(db);
  return db;
};
afterEach(async () => {
  for (const db of opened.splice(0)) await db.close();
});

const verdictsOf = (lists: readonly (readonly { readonly verdict: string }[])[]): string[] =>
  lists.flat().map(({ verdict }) => verdict);

/** Of two chunks, by an author who signed it. */
const outlineBy = async (author: number, fill: number): Promise<IngestItem> => {
  const large = await forge(author, new Uint8Array(CHUNK_BYTES + 1).fill(fill));
  const { header, chunkHashes } = large;
  if (chunkHashes === null) throw new RangeError("two chunks");
  const bytes = encodeOutline({ ...large, stream: header.stream, chunkHashes });
  return { type: "outline", bytes };
};

describe("arriving", () => {
  test("[L15] chunks in any order and grouping, from several holders, give the transaction at once", async () => {
    const alice = await open(1);
    await writeRows(alice, 4_000);
    const bob = await open(2);
    await pull(alice, bob);
    const [bytes] = await outlinesOf(alice);
    const random = createSeededRandom(5);
    const carol = await open(3);
    const queue = queueOf(carol);
    const changes: { readonly entries: number; readonly missing: number | undefined }[] = [];
    carol.onChange(({ entries, incoming = [] }) => {
      changes.push({ entries: entries.length, missing: incoming[0]?.missing.length });
    });
    const { outcome, incoming } = await expectOutline(queue, carol, bytes as Uint8Array);
    expect(outcome).toEqual({ verdict: "incomplete" });
    const indexes = [...indexesOf(incoming)].sort(() => random.below(3) - 1);
    expect(indexes.length).toBe(Math.ceil(incoming.payloadBytes / CHUNK_BYTES));
    expect(indexes.length).toBeGreaterThan(4);
    while (indexes.length > 1) {
      const some = indexes.splice(0, 1 + random.below(Math.min(3, indexes.length - 1)));
      const from = [alice, bob][random.below(2)] as ReplicaDatabase;
      const items = await Promise.all(some.map((index) => chunkOf(from, incoming, index)));
      expect(new Set(verdictsOf(await queue.ingest(items)))).toEqual(new Set(["incomplete"]));
      expect(await carol.query("SELECT count(*) AS n FROM animal")).toEqual([{ n: 0 }]);
      expect(carol.vector()).toEqual([]);
    }
    const last = await chunkOf(bob, incoming, indexes[0] as number);
    expect(verdictsOf(await queue.ingest([last]))).toEqual(["applied"]);
    expect(carol.incoming()).toEqual([]);
    // The vector tells of it when it is whole, in the change that says so.
    expect(changes.at(-1)).toEqual({ entries: 1, missing: 0 });
    expect(changes.slice(0, -1).filter(({ entries }) => entries > 0)).toEqual([]);
    expect(carol.vector()).toEqual(alice.vector());
    expect(await carol.stateHash()).toBe(await alice.stateHash());
    // And it is served on, by what arrived, byte for byte.
    expect(await outlinesOf(alice)).toEqual([bytes]);
    const dave = await open(4);
    expect(await pull(carol, dave)).toEqual([{ verdict: "applied" }]);
    expect(await dave.stateHash()).toBe(await alice.stateHash());
  });

  test("[L15] what was committed before an end at any point is not asked for again", async () => {
    const alice = await open(1);
    await writeRows(alice, 3_000);
    const [bytes = new Uint8Array()] = await outlinesOf(alice);
    const storage = createMemoryStorage();
    let carol = await openReplica(3, { storage });
    let queue = queueOf(carol);
    const { incoming } = await expectOutline(queue, carol, bytes);
    const again: string[] = [];
    for (const index of indexesOf(incoming)) {
      const chunk = await chunkOf(alice, incoming, index);
      await queue.ingest([chunk]);
      // Without a close: as after a kill, the files are what was committed.
      carol = await openReplica(3, { storage });
      queue = queueOf(carol);
      const left = carol.incoming().flatMap(indexesOf);
      expect(left).toEqual(indexesOf(incoming).filter((each) => each > index));
      again.push(...verdictsOf(await queue.ingest([chunk, { type: "outline", bytes }])));
    }
    expect(new Set(again)).toEqual(new Set(["known"]));
    opened.push(carol);
    expect(await carol.stateHash()).toBe(await alice.stateHash());
  });

  test("[L15] a whole run, as streams carry it, ends what was half received", async () => {
    const alice = await open(1);
    await writeRows(alice, 2_000);
    const carol = await open(3);
    const queue = queueOf(carol);
    const [bytes] = await outlinesOf(alice);
    const { incoming } = await expectOutline(queue, carol, bytes as Uint8Array);
    await queue.ingest([await chunkOf(alice, incoming, 1)]);
    expect(await pull(alice, carol)).toEqual([{ verdict: "applied" }]);
    expect(carol.incoming()).toEqual([]);
    expect(verdictsOf(await queue.ingest([await chunkOf(alice, incoming, 0)]))).toEqual(["known"]);
    expect(
      verdictsOf(await queue.ingest([{ type: "outline", bytes: bytes as Uint8Array }])),
    ).toEqual(["known"]);
    expect(await carol.stateHash()).toBe(await alice.stateHash());
  });

  test("[L15] beyond a gap, and of a rewound own log, it finds its place", async () => {
    const storage = createMemoryStorage();
    const alice = await openReplica(1, { storage });
    await alice.exec("INSERT INTO animal (id) VALUES ('first')");
    await writeRows(alice, 2_000);
    await alice.exec("INSERT INTO animal (id) VALUES ('last')");
    const [bytes] = await outlinesOf(alice);
    const carol = await open(3);
    const fill = async (to: ReplicaDatabase): Promise<string[]> => {
      const queue = queueOf(to);
      const { incoming } = await expectOutline(queue, to, bytes as Uint8Array);
      const items = await Promise.all(indexesOf(incoming).map((i) => chunkOf(alice, incoming, i)));
      return verdictsOf(await queue.ingest(items));
    };
    expect(new Set(await fill(carol))).toEqual(new Set(["held"]));
    await pull(alice, carol);
    expect(await carol.stateHash()).toBe(await alice.stateHash());

    // The same key on an empty disk takes its own log back.
    const again = await open(1);
    const queue = queueOf(again);
    const later = verdictsOf(await queue.ingest([{ type: "outline", bytes: bytes as Uint8Array }]));
    expect(later).toEqual(["later"]);
    const range = { site: alice.signer.siteId, stream: "data" as const, first: 1, last: 1 };
    const { runs } = await alice.read(range, 1_000);
    expect(verdictsOf(await queue.ingest([{ type: "run", bytes: runs[0] as Uint8Array }]))).toEqual(
      ["applied"],
    );
    expect(new Set(await fill(again))).toEqual(new Set(["applied"]));
    await alice.close();
  });

  test("[L16] a chunk or an outline that is not what was signed is refused and not kept", async () => {
    const alice = await open(1);
    await writeRows(alice, 2_000);
    const carol = await open(3);
    const queue = queueOf(carol);
    const [bytes = new Uint8Array()] = await outlinesOf(alice);
    const outline = decodeOutline(bytes);
    const forgeries = [0, 31, outline.chunkHashes.length - 1].map((at) => {
      const chunkHashes = outline.chunkHashes.slice();
      chunkHashes[at] = (chunkHashes[at] ?? 0) ^ 1;
      return encodeOutline({ ...outline, chunkHashes });
    });
    for (const forged of forgeries) {
      const refused = [{ verdict: "refused", code: "ERR_SIGNATURE_INVALID" }];
      expect(await queue.ingest([{ type: "outline", bytes: forged }])).toEqual([refused]);
    }
    expect(carol.incoming()).toEqual([]);
    const { incoming } = await expectOutline(queue, carol, bytes);
    const right = await chunkOf(alice, incoming, 1);
    const wrong = right.bytes.slice();
    wrong[7] = (wrong[7] ?? 0) ^ 1;
    const items: IngestItem[] = [{ ...right, bytes: wrong }, right, { ...right, index: 0 }];
    expect(await queue.ingest(items)).toEqual([
      [{ verdict: "refused", code: "ERR_SIGNATURE_INVALID" }],
      [{ verdict: "incomplete" }],
      [{ verdict: "refused", code: "ERR_SIGNATURE_INVALID" }],
    ]);
    const left = carol.incoming().flatMap(indexesOf);
    expect(left).toEqual(indexesOf(incoming).filter((index) => index !== 1));
  });

  test("[L17] authors that sign and never deliver hold so many places, and give way when they stall", async () => {
    let nowMs = 0;
    const carol = await open(3, { clock: { nowMs: () => nowMs, wallClockMs: () => 0 } });
    const queue = queueOf(carol);
    const ofOne: string[] = [];
    for (let fill = 0; fill < 4; fill++) {
      ofOne.push(...verdictsOf(await queue.ingest([await outlineBy(100, fill)])));
    }
    expect(ofOne).toEqual([
      ...Array.from({ length: INCOMING_PER_AUTHOR_MAX }, () => "incomplete"),
      "later",
      "later",
    ]);
    for (let author = 101; author < 101 + INCOMING_MAX; author++) {
      await queue.ingest([await outlineBy(author, 1)]);
    }
    expect(carol.incoming().length).toBe(INCOMING_MAX);
    expect(await queue.ingest([await outlineBy(300, 1)])).toEqual([
      [{ verdict: "later", code: "ERR_BUSY" }],
    ]);
    // The oldest grows; of the others the next oldest gives way, and its author may try again.
    const chunk = new Uint8Array(CHUNK_BYTES);
    const [oldest, stalled] = carol.incoming();
    const headerHash = oldest?.headerHash as HeaderHash;
    nowMs = INCOMING_STALLED_MS;
    const grown: IngestItem = { type: "chunk", headerHash, index: 0, bytes: chunk };
    expect(verdictsOf(await queue.ingest([grown]))).toEqual(["incomplete"]);
    expect(verdictsOf(await queue.ingest([await outlineBy(300, 1)]))).toEqual(["incomplete"]);
    const kept = carol.incoming().map((each) => each.headerHash);
    expect(kept.length).toBe(INCOMING_MAX);
    expect(kept).toContain(headerHash);
    expect(kept).not.toContain(stalled?.headerHash);
  });
});

describe("writing", () => {
  test("[L10] a transaction above the limit is refused, says how large, and nothing of it stays", async () => {
    const alice = await open(1);
    const before = await alice.stateHash();
    const photos = PAYLOAD_BYTES_MAX / 1024 / 1024 + 1;
    const write = alice.transaction(async (tx) => {
      await tx.exec("INSERT INTO sighting (place, day) VALUES ('pond', 1)");
      await tx.exec(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO animal SELECT 'photo ' || i, NULL, NULL, NULL, zeroblob(1024 * 1024 - 100) FROM n",
        [photos],
      );
    });
    await expect(write).rejects.toMatchObject({
      code: "ERR_TRANSACTION_TOO_LARGE",
      message: expect.stringMatching(/more than 64 MiB.*after \d+ rows.*several transactions/),
    });
    expect(await alice.stateHash()).toBe(before);
    expect(alice.vector()).toEqual([]);
    await alice.exec("INSERT INTO animal (id) VALUES ('after')");
    expect(alice.vector()).toMatchObject([{ head: 1 }]);
  });
});
