/** A large changeset that is whole and waits outside of the log, while others want its place. */
import { expect, test } from "vitest";
import { openReplicaDatabase } from "../../src/db/open-replica-database.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import type { VerifiedChangeset, VerifiedOutline } from "../../src/protocol/changeset.ts";
import { CHUNK_BYTES, INCOMING_STALLED_MS } from "../../src/protocol/limits.ts";
import { decodeOutline, encodeOutline } from "../../src/protocol/outline.ts";
import { createKeyPair } from "../../src/signing/keys.ts";
import { createSigner, verifyOutline } from "../../src/signing/verified-changeset.ts";
import { forge, payloadOf } from "../fixtures/forge.ts";
import { ed25519, INVITE, MESH, secretOf } from "../fixtures/replicas.ts";
import { queueOf } from "./large-changesets.ts";

const payloadFilled = (fill: number) => new Uint8Array(CHUNK_BYTES + 1).fill(fill);

const outlineOf = ({ chunkHashes, ...signed }: VerifiedChangeset): Uint8Array => {
  if (chunkHashes === null) throw new RangeError("two chunks");
  return encodeOutline({ ...signed, stream: "data", chunkHashes });
};

const verified = async (of: VerifiedChangeset): Promise<VerifiedOutline> => {
  const outline = await verifyOutline(ed25519, decodeOutline(outlineOf(of)), MESH);
  if (outline === null) throw new RangeError("signed");
  return outline;
};

test("[L17] one that gave way is not logged, however close it was", async () => {
  let nowMs = 0;
  const hub = await openReplicaDatabase({
    storage: createMemoryStorage(),
    wasm: await compileSqliteInNode(),
    schema: null,
    clock: { nowMs: () => nowMs, wallClockMs: () => 1_700_000_000_000 },
    identity: async (stored) => {
      const secret = stored ?? secretOf(3);
      return { secret, signer: createSigner(ed25519, await createKeyPair(ed25519, secret)) };
    },
  });
  await hub.bindMesh(MESH, INVITE);
  const queue = queueOf(hub);
  const first = await forge(100, payloadOf([]));
  const second = await forge(100, payloadOf([]), { version: 2, previousHash: first.headerHash });
  const after = { version: 3, previousHash: second.headerHash };
  const waiting = [
    await forge(100, payloadFilled(1), after),
    await forge(100, payloadFilled(2), after),
  ];
  for (const each of waiting) await queue.ingest([{ type: "outline", bytes: outlineOf(each) }]);
  // A fork: what follows neither of both branches waits outside of the log.
  await hub.append([first, await forge(100, payloadOf([], 2))]);
  for (const { headerHash, payload } of waiting) {
    const chunks = [payload.subarray(0, CHUNK_BYTES), payload.subarray(CHUNK_BYTES)];
    for (const [index, bytes] of chunks.entries()) {
      await queue.ingest([{ type: "chunk", headerHash, index, bytes }]);
    }
  }
  expect(hub.incoming().map(({ missing }) => missing.length)).toEqual([0, 0]);
  nowMs += INCOMING_STALLED_MS;
  const beside = { version: 2, previousHash: first.headerHash };
  const rivals = await Promise.all(
    [3, 4].map(async (fill) => verified(await forge(100, payloadFilled(fill), beside))),
  );
  // What they follow comes at last; when the first of them is logged, rivals take their places.
  const taken: Promise<unknown>[] = [];
  hub.onChange(({ entries }) => {
    if (taken.length === 0 && entries.some(({ head }) => head === 3)) {
      taken.push(hub.appendOutlines(rivals));
    }
  });
  await hub.append([second]);
  expect(await Promise.all(taken)).toEqual([
    [{ verdict: "incomplete" }, { verdict: "incomplete" }],
  ]);
  const { site } = first.header;
  const chains = hub.vector().filter((entry) => entry.site === site);
  expect(chains.map(({ head }) => head)).toEqual([3, 1]);
  // All that is claimed can be read.
  for (const { branch, head } of chains) {
    const range = { site, stream: "data" as const, first: 1, last: head };
    const named = branch === undefined ? range : { ...range, branch };
    const { runs, next } = await hub.read(named, 1_000_000);
    expect([runs.length, next]).toEqual([1, null]);
  }
  await hub.close();
});
