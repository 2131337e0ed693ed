/** Many large changesets at once: of how many half of them may be here, and who gets a place. */
import { expect, test } from "vitest";
import type { VerifiedChangeset } from "../../src/protocol/changeset.ts";
import { encodeRun } from "../../src/protocol/changeset-run.ts";
import { CHUNK_BYTES, INCOMING_MAX } from "../../src/protocol/limits.ts";
import { decodeMessage, encodeMessage, type Message } from "../../src/protocol/messages.ts";
import { encodeOutline } from "../../src/protocol/outline.ts";
import type { VectorEntry } from "../../src/protocol/version-vector.ts";
import type { NetworkHandlers } from "../../src/seams.ts";
import { SIM_MESH } from "../../src/testing/identities.ts";
import type { SimNode } from "../../src/testing/sim-node.ts";
import { forge } from "../fixtures/forge.ts";
import { agree, createRoom, replicaOf, type Room, sum } from "./database-room.ts";

const LAN = { latencyMs: 2, bytesPerMs: 10_000 };

/** Two chunks by an author of its own. */
const forgeLarge = (author: number): Promise<VerifiedChangeset> =>
  forge(1_000 + author, new Uint8Array(2 * CHUNK_BYTES).fill(author), { mesh: SIM_MESH });

async function putAuthors({ world }: Room, node: SimNode | undefined, count: number) {
  for (let at = 0; at < count; at++) {
    const changeset = await forgeLarge(at);
    const { author, previousHash } = changeset;
    const run = encodeRun({ stream: "data", author, previousHash, changesets: [changeset] });
    await world.busy(replicaOf(node).ingest([{ type: "run", bytes: run }]));
  }
}

test("[AE21] three times as many authors as there are places: each has its turn soon", async () => {
  const authors = 3 * INCOMING_MAX;
  const room = await createRoom(31, 2, "off");
  const { world, net, nodes } = room;
  try {
    await putAuthors(room, nodes[0], authors);
    const beganMs = world.clock.nowMs();
    net.connect("n0", "n1", LAN);
    await agree(room);
    expect(sum(room.chunksFrom("n1"))).toBe(2 * authors);
    // 90 s and 1,038 outlines when who found no place was left alone for ever longer.
    expect(world.clock.nowMs() - beganMs).toBeLessThan(10_000);
    expect(room.outlines()).toBeLessThan(3 * authors);
    expect(net.penalties).toEqual([]);
  } finally {
    await room.close();
  }
}, 60_000);

/** A peer with outlines of so many authors, and no chunks. */
async function joinHoarder({ net }: Room, count: number): Promise<void> {
  const outlines = new Map<string, Uint8Array>();
  const entries: VectorEntry[] = [];
  for (let at = 0; at < count; at++) {
    const { chunkHashes, ...signed } = await forgeLarge(500 + at);
    const { site } = signed.header;
    const headHash = signed.headerHash.slice(0, 32);
    entries.push({ site, stream: "data" as const, floor: 0, head: 1, headHash, beyond: [] });
    const outline = { ...signed, stream: "data" as const, chunkHashes: chunkHashes as Uint8Array };
    outlines.set(site, encodeOutline(outline));
  }
  const network = net.join("hoarder");
  const say = (to: string, message: Message) => void network.send(to, encodeMessage(message));
  const site = entries[0]?.site;
  if (site === undefined) throw new RangeError("at least one");
  const handlers: NetworkHandlers = {
    peerUp: ({ id }) => {
      const digest = "00".repeat(32);
      say(id, { type: "hello", mesh: SIM_MESH, site, role: "device", name: "hoarder", digest });
      say(id, { type: "vector", part: "first", entries });
    },
    peerDown: () => {},
    frame: async (from, bytes) => {
      const message = decodeMessage(bytes);
      if (message.type !== "want") return;
      const { want } = message;
      for (const range of message.ranges) {
        const outline = outlines.get(range.site);
        if (outline !== undefined) say(from, { type: "outline", want, outline });
      }
      say(from, { type: "served", want, complete: true });
    },
    broadcast: async () => "accept",
  };
  await network.start(handlers);
}

test("[AE21] who brings outlines without end and no chunks keeps nobody else out", async () => {
  const room = await createRoom(32, 2, "off");
  const { world, net, nodes } = room;
  const authors = 10;
  try {
    await putAuthors(room, nodes[0], authors);
    await joinHoarder(room, 4 * INCOMING_MAX);
    net.connect("n1", "hoarder", LAN);
    await world.runUntil(world.clock.nowMs() + 5_000, () => false);
    const isFull = async () => (await replicaOf(nodes[1]).incoming()).length;
    expect(await isFull()).toBe(INCOMING_MAX / 2);
    net.connect("n0", "n1", LAN);
    // 65 s when all places were the hoarder's.
    const isHere = () => sum(room.chunksFrom("n1")) === 2 * authors;
    expect(await world.runUntil(world.clock.nowMs() + 5_000, isHere)).toBe(true);
    await world.runUntil(world.clock.nowMs() + 120_000, () => false);
    expect(await isFull()).toBeLessThan(INCOMING_MAX);
    expect(net.penalties.filter(({ peer }) => peer !== "hoarder")).toEqual([]);
  } finally {
    await room.close();
  }
}, 60_000);
