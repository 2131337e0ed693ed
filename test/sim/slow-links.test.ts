/** Links of 64 to 100 kbit/s, where a chunk is under way for longer than a silent peer is waited for. */
import { expect, test } from "vitest";
import { CHUNK_BYTES } from "../../src/protocol/limits.ts";
import type { SimNode } from "../../src/testing/sim-node.ts";
import { agree, createRoom, replicaOf, type Room, sum } from "./database-room.ts";

const CHUNKS = 16;
const SMALL = 120;
const SMALL_BYTES = 8_000;

/** One transaction of so many chunks, and so many of a few bytes. @returns their bytes */
async function write({ world }: Room, node: SimNode | undefined, name: string): Promise<number> {
  const { db } = replicaOf(node);
  for (let i = 0; i < SMALL; i++) {
    const sql = "INSERT INTO animal (id, photo) VALUES (?, randomblob(?))";
    await world.busy(db.exec(sql, [`${name} small ${i}`, SMALL_BYTES]));
  }
  const rows = JSON.stringify(Array.from({ length: CHUNKS }, (_, i) => i));
  await world.busy(
    db.exec(
      "INSERT INTO animal (id, photo) SELECT ?2 || value, randomblob(?1) FROM json_each(?3)",
      [CHUNK_BYTES, `${name} large `, rows],
    ),
  );
  return SMALL * SMALL_BYTES + CHUNKS * CHUNK_BYTES;
}

test.each([
  { bytesPerMs: 8, writers: 1 },
  { bytesPerMs: 8, writers: 2 },
  { bytesPerMs: 13, writers: 1 },
  { bytesPerMs: 10_000, writers: 2 },
])(
  "[AE7] nothing is sent twice at $bytesPerMs bytes a millisecond, $writers writing",
  async ({ bytesPerMs, writers }) => {
    const room = await createRoom(21, 2, "off");
    const { world, net, nodes } = room;
    try {
      let payloadBytes = 0;
      for (const node of nodes.slice(0, writers)) {
        payloadBytes += await write(room, node, node.device.id);
      }
      const beganMs = world.clock.nowMs();
      net.connect("n0", "n1", { latencyMs: 30, bytesPerMs });
      await agree(room, 3_600_000);
      // It was 3.3 to 3.8 at 8 bytes a millisecond while only whole frames were progress. With two
      // writing, a want waits behind the chunks that go the same way.
      const share = writers === 1 ? 1.03 : 1.1;
      expect(net.traffic.frameBytes / payloadBytes).toBeLessThan(share);
      const tookMs = world.clock.nowMs() - beganMs;
      const idealMs = payloadBytes / writers / bytesPerMs;
      expect(tookMs).toBeLessThan((writers === 1 ? 1.05 : 1.3) * idealMs + 2_000);
      expect(net.penalties).toEqual([]);
    } finally {
      await room.close();
    }
  },
  60_000,
);

test("[AE7] a holder on a fast link is asked for the rest of what one on a slow link brings", async () => {
  const room = await createRoom(22, 3, "off");
  const { world, net, nodes } = room;
  try {
    await write(room, nodes[0], "n0");
    net.connect("n0", "n1", { latencyMs: 2, bytesPerMs: 10_000 });
    await agree({ ...room, nodes: nodes.slice(0, 2) });
    net.connect("n0", "n2", { latencyMs: 30, bytesPerMs: 2 });
    net.connect("n1", "n2", { latencyMs: 30, bytesPerMs: 100 });
    const beganMs = world.clock.nowMs();
    await agree(room);
    expect(world.clock.nowMs() - beganMs).toBeLessThan(90_000);
    expect(sum(room.chunksFrom("n2"))).toBeLessThanOrEqual(CHUNKS + 6);
  } finally {
    await room.close();
  }
}, 60_000);
