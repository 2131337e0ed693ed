/** Large transactions over links that are cut, between devices that end: what is sent twice, and who sends. */
import { expect, test } from "vitest";
import { CHUNK_BYTES, WANT_CHUNKS_MAX } from "../../src/protocol/limits.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import type { SimNode } from "../../src/testing/sim-node.ts";
import { encodeRun } from "../../src/protocol/changeset-run.ts";
import type { VerifiedChangeset } from "../../src/protocol/changeset.ts";
import { SIM_MESH } from "../../src/testing/identities.ts";
import { forge } from "../fixtures/forge.ts";
import { agree, createRoom, replicaOf, type Room, sum } from "./database-room.ts";

const CHUNKS = 40;
/** 40 chunks take 26 s. */
const SLOW = { latencyMs: 20, bytesPerMs: 100 };
const LAN = { latencyMs: 2, bytesPerMs: 10_000 };

/** One transaction of so many chunks, and a few bytes. */
const writeLarge = ({ world }: Room, node: SimNode | undefined): Promise<number> =>
  world.busy(
    replicaOf(node).db.exec(
      "INSERT INTO animal (id, photo) SELECT ?2 || value, randomblob(?1) FROM json_each(?3)",
      [CHUNK_BYTES, "large ", JSON.stringify(Array.from({ length: CHUNKS - 1 }, (_, i) => i))],
    ),
  );

const rowsOf = async (node: SimNode | undefined, like: string): Promise<number> => {
  const sql = "SELECT count(*) AS n FROM animal WHERE id LIKE ?";
  const [row] = await replicaOf(node).db.query<{ n: number }>(sql, [like]);
  return row?.n ?? 0;
};

test.each([1, 2, 3])(
  "[AE19] cut or ended at any point it goes on where it was: seed %i",
  async (seed) => {
    const room = await createRoom(seed, 2, seed % 2 === 0 ? "on" : "off");
    const { world, net, nodes } = room;
    const random = createSeededRandom(seed + 100);
    const [author, reader] = nodes;
    let cuts = 0;
    try {
      await writeLarge(room, author);
      while (cuts < 12) {
        net.connect("n0", "n1", SLOW);
        await world.runUntil(world.clock.nowMs() + 500 + random.below(6_000), () => false);
        if (reader?.drive()?.status().digest === author?.drive()?.status().digest) break;
        net.cut("n0", "n1");
        cuts++;
        const ended = [author, reader][random.below(3)];
        if (ended !== undefined) {
          ended.crash();
          await world.busy(ended.start());
        }
        await world.runUntil(world.clock.nowMs() + 1_000, () => false);
      }
      net.connect("n0", "n1", LAN);
      await agree(room);
      const sent = sum(room.chunksFrom("n1"));
      expect(cuts).toBeGreaterThan(2);
      expect(sent).toBeGreaterThanOrEqual(CHUNKS);
      // What was on its way is sent again: one want's chunks at most for each cut.
      expect(sent).toBeLessThanOrEqual(CHUNKS + 1 + cuts * WANT_CHUNKS_MAX);
      expect(net.penalties).toEqual([]);
    } finally {
      await room.close();
    }
  },
  60_000,
);

test("[AE19] several who hold it give their share, and no chunk crosses twice", async () => {
  const room = await createRoom(7, 4, "off");
  const { net, nodes } = room;
  try {
    await writeLarge(room, nodes[0]);
    net.connect("n0", "n1", LAN);
    net.connect("n0", "n2", LAN);
    await agree({ ...room, nodes: nodes.slice(0, 3) });
    for (const holder of ["n0", "n1", "n2"]) net.connect(holder, "n3", SLOW);
    await agree(room);
    const counts = room.chunksFrom("n3");
    expect(sum(counts)).toBe(CHUNKS);
    expect([...counts.keys()].sort()).toEqual(["n0", "n1", "n2"]);
    for (const count of counts.values()) expect(count).toBeGreaterThanOrEqual(CHUNKS / 8);
  } finally {
    await room.close();
  }
}, 60_000);

test.each(["on", "off"] as const)(
  "[AE20] what is small overtakes what is large, with gossip %s",
  async (gossip) => {
    const room = await createRoom(8, 3, gossip);
    const { world, net, nodes } = room;
    try {
      await writeLarge(room, nodes[0]);
      net.connect("n0", "n1", SLOW);
      net.connect("n0", "n2", SLOW);
      await world.runUntil(world.clock.nowMs() + 5_000, () => false);
      const before = sum(room.chunksFrom("n2"));
      expect(before).toBeGreaterThan(1);
      // Of one who lacks the large one too: else it would be a cause of the small one.
      await world.busy(replicaOf(nodes[1]).db.exec("INSERT INTO animal (id) VALUES ('small one')"));
      for (let i = 0; i < 600 && (await rowsOf(nodes[2], "small%")) === 0; i++) {
        await world.runUntil(world.clock.nowMs() + 100, () => false);
      }
      expect(await rowsOf(nodes[2], "small%")).toBe(1);
      expect(await rowsOf(nodes[2], "large%")).toBe(0);
      // By gossip nothing is before it; else what was on its way there and back.
      const meanwhile = sum(room.chunksFrom("n2")) - before;
      expect(meanwhile).toBeLessThanOrEqual(2 * WANT_CHUNKS_MAX);
      expect(before + meanwhile).toBeLessThan(CHUNKS);
      await agree(room);
    } finally {
      await room.close();
    }
  },
  60_000,
);

test.each([1, 2])(
  "[AE19] large ones that follow one another keep %i link(s) busy and cost few outlines each",
  async (holders) => {
    const photos = 60;
    const room = await createRoom(9, holders + 1, "off");
    const { world, net, nodes } = room;
    try {
      const { db } = replicaOf(nodes[0]);
      for (let i = 0; i < photos; i++) {
        const write = "INSERT INTO animal (id, photo) VALUES (?, randomblob(?))";
        await world.busy(db.exec(write, [`photo ${i}`, i % 4 === 3 ? 100 : 3 * CHUNK_BYTES]));
      }
      const reader = `n${holders}`;
      if (holders === 2) net.connect("n0", "n1", LAN);
      if (holders === 2) await agree({ ...room, nodes: nodes.slice(0, 2) });
      const outlines = room.outlines();
      const chunks = 4 * (photos - photos / 4);
      const beganMs = world.clock.nowMs();
      for (let i = 0; i < holders; i++) net.connect(`n${i}`, reader, LAN);
      await agree(room);
      expect(sum(room.chunksFrom(reader))).toBe(chunks);
      expect(room.outlines() - outlines).toBeLessThan(holders * 10 * photos);
      // 1.2 s on one link of the LAN, were there nothing to wait for.
      expect(world.clock.nowMs() - beganMs).toBeLessThan(10_000);
      expect(net.penalties).toEqual([]);
    } finally {
      await room.close();
    }
  },
  60_000,
);

const bytesOf = (size: number, fill: number) => new Uint8Array(size).fill(fill);

test.each([0, 1])(
  "[AE19] what follows a large one on branch %i of a fork is fetched when it has come, and little of it twice",
  async (which) => {
    const room = await createRoom(10, 2, "off");
    const { world, net, nodes } = room;
    const put = async (changeset: VerifiedChangeset): Promise<VerifiedChangeset> => {
      const { author, previousHash, header } = changeset;
      const run = encodeRun({
        stream: header.stream,
        author,
        previousHash,
        changesets: [changeset],
      });
      const [outcomes] = await world.busy(
        replicaOf(nodes[0]).ingest([{ type: "run", bytes: run }]),
      );
      expect(["void", "parked", "held"]).toContain(outcomes?.[0]?.verdict);
      return changeset;
    };
    try {
      const first = { mesh: SIM_MESH };
      const branches = [
        await put(await forge(1_000, bytesOf(100, 1), first)),
        await put(await forge(1_000, bytesOf(100, 2), first)),
      ].sort((a, b) => (a.headerHash < b.headerHash ? -1 : 1));
      let last = branches[which] as VerifiedChangeset;
      for (let version = 2; version <= 101; version++) {
        const payload = bytesOf(version === 51 ? CHUNKS * CHUNK_BYTES : 5_000, version);
        const after = { mesh: SIM_MESH, version, previousHash: last.headerHash };
        last = await put(await forge(1_000, payload, after));
      }
      net.connect("n0", "n1", SLOW);
      await agree(room);
      expect(sum(room.chunksFrom("n1"))).toBe(CHUNKS);
      expect(room.runBytes()).toBeLessThan(2 * 100 * 5_000);
    } finally {
      await room.close();
    }
  },
  60_000,
);
