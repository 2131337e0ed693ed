/** A large changeset that is whole and waits outside of the log, while others want its place. */
import { expect, test } from "vitest";
import { openReplicaDatabase } from "../../src/db/open-replica-database.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import type { VerifiedChangeset, VerifiedOutline } from "../../src/protocol/changeset.ts";
import { encodeHeader } from "../../src/protocol/changeset.ts";
import { ZERO_HASH } from "../../src/protocol/ids.ts";
import {
  CHUNK_BYTES,
  CHUNKS_MAX,
  INCOMING_SHARES,
  INCOMING_STALLED_MS,
  PAYLOAD_BYTES_MAX,
} from "../../src/protocol/limits.ts";
import { decodeOutline, encodeOutline } from "../../src/protocol/outline.ts";
import { createKeyPair } from "../../src/signing/keys.ts";
import { createSigner, verifyOutline } from "../../src/signing/verified-changeset.ts";
import { forge, payloadOf } from "../fixtures/forge.ts";
import { ed25519, INVITE, MESH, openReplica, secretOf, signerOf } from "../fixtures/replicas.ts";
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

/** Of 64 MiB, every chunk of it the same. */
async function largestBy(author: number, chunk: Uint8Array): Promise<VerifiedOutline> {
  const signer = await signerOf(author);
  const header = {
    kind: "data" as const,
    stream: "data" as const,
    encoding: { type: "plain" as const },
    site: signer.siteId,
    version: 1,
    publicKey: signer.publicKey,
    payloadBytes: PAYLOAD_BYTES_MAX,
    dependencies: [],
  };
  const hash = signer.chunkHash(chunk);
  const chunkHashes = new Uint8Array(CHUNKS_MAX * hash.length);
  for (let at = 0; at < chunkHashes.length; at += hash.length) chunkHashes.set(hash, at);
  const headerBytes = encodeHeader(header);
  return signer.signOutline({ header, headerBytes, previousHash: ZERO_HASH, chunkHashes }, MESH);
}

test("[L17] a chunk a minute holds no place, a sixtieth does", async () => {
  let nowMs = 0;
  const carol = await openReplica(3, { clock: { nowMs: () => nowMs, wallClockMs: () => 0 } });
  const queue = queueOf(carol);
  const chunk = new Uint8Array(CHUNK_BYTES);
  // 256 MiB: all that there is room for.
  const giants = await Promise.all([1, 2, 3, 4].map((at) => largestBy(200 + at, chunk)));
  await carol.appendOutlines(giants);
  const honest = [
    { type: "outline" as const, bytes: outlineOf(await forge(100, payloadFilled(1))) },
  ];
  expect(await queue.ingest(honest)).toEqual([[{ verdict: "later", code: "ERR_BUSY" }]]);
  const share = Math.ceil(CHUNKS_MAX / INCOMING_SHARES);
  for (const [at, { headerHash }] of giants.entries()) {
    for (let index = 0; index < (at === 0 ? 1 : share); index++) {
      nowMs += 1;
      await queue.ingest([{ type: "chunk", headerHash, index, bytes: chunk }]);
    }
  }
  nowMs = INCOMING_STALLED_MS;
  expect(await queue.ingest(honest)).toEqual([[{ verdict: "incomplete" }]]);
  const kept = carol.incoming().map(({ headerHash }) => headerHash);
  expect(kept.slice(0, 3)).toEqual(giants.slice(1).map(({ headerHash }) => headerHash));
  await carol.close();
});

test("[L15] what is whole and cannot be logged is tried again when its author's log changed, not else", async () => {
  const memory = createMemoryStorage();
  let commits = 0;
  const storage = {
    ...memory,
    commit: async () => {
      commits++;
      await memory.commit();
    },
  };
  const carol = await openReplica(3, { storage });
  const queue = queueOf(carol);
  const first = await forge(100, payloadOf([]));
  const second = await forge(100, payloadOf([]), { version: 2, previousHash: first.headerHash });
  const after = { version: 3, previousHash: second.headerHash };
  const waiting = await Promise.all([1, 2].map((fill) => forge(100, payloadFilled(fill), after)));
  for (const each of waiting) await queue.ingest([{ type: "outline", bytes: outlineOf(each) }]);
  // Which branch they follow is not here.
  await carol.append([first, await forge(100, payloadOf([], 2))]);
  for (const { headerHash, payload } of waiting) {
    const chunks = [payload.subarray(0, CHUNK_BYTES), payload.subarray(CHUNK_BYTES)];
    for (const [index, bytes] of chunks.entries()) {
      await queue.ingest([{ type: "chunk", headerHash, index, bytes }]);
    }
  }
  const before = commits;
  for (let author = 200; author < 220; author++) {
    await carol.append([await forge(author, payloadOf([]))]);
  }
  // It was one more for each that waits: up to 64 for every changeset of anybody.
  expect(commits - before).toBe(20);
  await carol.append([second]);
  expect(carol.incoming()).toEqual([]);
  const { site } = first.header;
  const heads = carol.vector().filter((entry) => entry.site === site);
  expect(heads.map(({ head }) => head).sort((a, b) => a - b)).toEqual([1, 3, 3]);
  await carol.close();
});
