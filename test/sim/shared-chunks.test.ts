/** Neighbours that fetch the same large changeset over slow lines: each brings the others what it has. */
import { expect, test } from "vitest";
import { CHUNK_BYTES } from "../../src/protocol/limits.ts";
import { agree, createRoom, replicaOf, type Room, sum } from "./database-room.ts";

const CHUNKS = 40;
const LAN = { latencyMs: 2, bytesPerMs: 10_000 };

const write = async ({ world, nodes }: Room): Promise<void> => {
  const rows = JSON.stringify(Array.from({ length: CHUNKS - 1 }, (_, i) => i));
  const sql = "INSERT INTO animal (id, photo) SELECT value, randomblob(?) FROM json_each(?)";
  await world.busy(replicaOf(nodes[0]).db.exec(sql, [CHUNK_BYTES, rows]));
};

/** Each was sent everything over its own line: `readers` times 40 chunks, in 26 s. */
test.each([
  { readers: 1, bytesPerMs: 100, sent: 1, ms: 28_000 },
  { readers: 3, bytesPerMs: 100, sent: 1.7, ms: 16_000 },
  { readers: 5, bytesPerMs: 10, sent: 1.8, ms: 110_000 },
])(
  "[AE22] a line of $bytesPerMs bytes a millisecond to each of $readers neighbours carries little twice",
  async ({ readers, bytesPerMs, sent, ms }) => {
    const room = await createRoom(41, readers + 1, "off");
    const { world, net, nodes } = room;
    try {
      await write(room);
      const ids = nodes.slice(1).map(({ device }) => device.id);
      for (const [i, a] of ids.entries()) {
        for (const b of ids.slice(i + 1)) net.connect(a, b, LAN);
      }
      const beganMs = world.clock.nowMs();
      for (const id of ids) net.connect("n0", id, { latencyMs: 20, bytesPerMs });
      await agree(room);
      const bySource = ids.map((id) => room.chunksFrom(id).get("n0") ?? 0);
      expect(bySource.reduce((total, count) => total + count)).toBeLessThanOrEqual(sent * CHUNKS);
      for (const id of ids) expect(sum(room.chunksFrom(id))).toBe(CHUNKS);
      expect(world.clock.nowMs() - beganMs).toBeLessThan(ms);
      expect(net.penalties).toEqual([]);
    } finally {
      await room.close();
    }
  },
  60_000,
);
