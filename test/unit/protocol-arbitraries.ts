/** Every structure of `src/protocol`, with the values that break naive codecs drawn often. */
import * as fc from "fast-check";
import type { ChangesetHeader, Encoding, SignedChangeset } from "../../src/protocol/changeset.ts";
import type { Broadcast, ChangesetRun } from "../../src/protocol/changeset-run.ts";
import { compareDependencies, encodeHeader } from "../../src/protocol/changeset.ts";
import type { GenesisBody, Invite } from "../../src/protocol/genesis.ts";
import { encodeGenesisBody } from "../../src/protocol/genesis.ts";
import { headerHash, meshId, publicKey, siteId, ZERO_HASH } from "../../src/protocol/ids.ts";
import {
  CHUNK_BYTES,
  CHUNKS_MAX,
  CLOCK_MAX,
  COLUMNS_MAX,
  PAYLOAD_BYTES_MAX,
  SCHEMA_VERSION_MAX,
  TABLES_MAX,
  VERSION_MAX,
  WALL_CLOCK_MS_MAX,
} from "../../src/protocol/limits.ts";
import type { Message } from "../../src/protocol/messages.ts";
import { chunkCount, type ChangesetOutline } from "../../src/protocol/outline.ts";
import type { CellChange, ChangesetPayload, RowChanges } from "../../src/protocol/payload.ts";
import type { StreamPackage, StreamPosition } from "../../src/protocol/stream-packet.ts";
import { authorStream } from "../../src/protocol/version-vector.ts";
import type { HttpMessage } from "../../src/streams/http-message.ts";
import type { StoredValue } from "../../src/protocol/values.ts";
import type {
  ChangesetRange,
  VectorEntry,
  VersionRange,
} from "../../src/protocol/version-vector.ts";

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const hex = (length: number) => bytes(length).map((value) => Buffer.from(value).toString("hex"));
const number = (max: number, min = 0) =>
  fc.oneof(
    fc.maxSafeInteger().map((n) => min + (Math.abs(n) % (max - min + 1))),
    fc.constantFrom(min, max, Math.min(max, 127), Math.min(max, 128), Math.min(max, 16_384)),
    fc.integer({ min, max: Math.min(max, min + 300) }),
  );

const INT64 = 2n ** 63n;
const integer = fc.oneof(
  fc.bigInt({ min: -INT64, max: INT64 - 1n }),
  fc.constantFrom(0n, 1n, -1n, 127n, 128n, -128n, -129n, 255n, 256n, 2n ** 53n + 1n),
  fc.constantFrom(-INT64, INT64 - 1n, 32_767n, 32_768n, -32_768n, -32_769n),
);
const real = fc.oneof(
  fc.double({ noNaN: true }),
  fc.constantFrom(0, -0, 5, Infinity, -Infinity, Number.MIN_VALUE, -Number.MIN_VALUE),
  fc.constantFrom(Number.MAX_VALUE, 2.225_073_858_507_201e-308, 2 ** 53),
);
const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 50 }),
  fc.constantFrom("", "\0", "a\0b", "\ufeff", "\ufeff\ufeffx", "𝄞", "é", "e\u0301", "\uffff"),
  fc.constantFrom("x".repeat(30), "x".repeat(31), "x".repeat(159), "ß".repeat(16), "x".repeat(300)),
);
const blob = fc.oneof(fc.uint8Array({ maxLength: 80 }), fc.constant(new Uint8Array()));
export const storedValue: fc.Arbitrary<StoredValue> = fc.oneof(
  fc.constant(null),
  integer,
  real,
  text,
  blob,
);

const byNumber = (a: number, b: number): number => a - b;
const numbers = (maxLength: number, max: number) =>
  fc
    .uniqueArray(fc.nat(max - 1), { maxLength })
    .map((values) => values.sort(byNumber) as readonly number[]);

const cellsOf = (columns: readonly number[]): fc.Arbitrary<CellChange[]> =>
  fc.tuple(
    ...columns.map((column) =>
      fc.record({
        column: fc.constant(column),
        columnVersion: number(CLOCK_MAX, 1),
        value: storedValue,
      }),
    ),
  );
const row: fc.Arbitrary<RowChanges> = fc
  .tuple(fc.uint8Array({ maxLength: 40 }), number(CLOCK_MAX, 1), numbers(6, COLUMNS_MAX))
  .chain(([primaryKey, causalLength, columns]) =>
    fc.tuple(fc.boolean(), cellsOf(columns)).map(([flag, cells]) => {
      const alive = causalLength % 2 === 1;
      const sentinel = alive ? flag || cells.length === 0 : true;
      return { primaryKey, causalLength, sentinel, cells: alive ? cells : [] };
    }),
  );
const rows = fc
  .uniqueArray(row, {
    minLength: 1,
    maxLength: 4,
    selector: ({ primaryKey }) => Buffer.from(primaryKey).toString("hex"),
  })
  .map((list) => list.sort((a, b) => Buffer.compare(a.primaryKey, b.primaryKey)));
export const payload: fc.Arbitrary<ChangesetPayload> = fc
  .tuple(
    number(SCHEMA_VERSION_MAX, 1),
    fc.option(hex(32)),
    number(WALL_CLOCK_MS_MAX),
    numbers(3, TABLES_MAX),
  )
  .chain(([schemaVersion, schemaHash, wallClockMs, tables]) =>
    fc
      .tuple(...tables.map((table) => fc.record({ table: fc.constant(table), rows })))
      .map((changes) => ({ schemaVersion, schemaHash, wallClockMs, tables: changes })),
  );

const site = hex(16).map(siteId);
/** Of a main chain, or of a branch. */
const stream = fc.constantFrom("data" as const, "membership" as const);
const chain = fc.oneof(
  fc.record({ stream }),
  fc.record({ stream, branch: hex(16) }),
) as fc.Arbitrary<{ stream: "data" | "membership"; branch?: string }>;
const version = number(VERSION_MAX, 1);
const encoding: fc.Arbitrary<Encoding> = fc.oneof(
  fc.constantFrom({ type: "plain" } as const, { type: "deflated" } as const),
  bytes(8).map((keyId) => ({ type: "sealed", keyId }) as const),
);
const dependency = fc.record({ site, version, hashPrefix: bytes(8) });
/** Several of one author: branches of a key that forked. */
const causes = fc
  .tuple(fc.array(dependency, { maxLength: 4 }), bytes(8))
  .map(([list, other]) => list.flatMap((each) => [each, { ...each, hashPrefix: other }]))
  .map((list) =>
    list.filter((each, at) => list.findIndex((e) => compareDependencies(e, each) === 0) === at),
  );
/** Fields that depend on one another, made to agree. */
const agreeing = (drawn: Omit<ChangesetHeader, "stream">): ChangesetHeader => ({
  ...drawn,
  stream: drawn.kind === "membership" ? "membership" : "data",
  publicKey: drawn.version === 1 ? drawn.publicKey : null,
  dependencies: [...drawn.dependencies].sort(compareDependencies),
});
export const header: fc.Arbitrary<ChangesetHeader> = fc
  .record({
    kind: fc.constantFrom("data", "membership", "checkpoint"),
    encoding,
    site,
    version,
    publicKey: hex(32).map(publicKey),
    payloadBytes: number(PAYLOAD_BYTES_MAX),
    dependencies: causes,
  })
  .map(agreeing);

/** In form only: nobody signed it. */
const signedOf = (
  drawn: ChangesetHeader,
  signature: Uint8Array,
  payloadBytes: Uint8Array,
): SignedChangeset => {
  const sized = { ...drawn, payloadBytes: payloadBytes.length };
  return { header: sized, headerBytes: encodeHeader(sized), signature, payload: payloadBytes };
};
const anyPayload = fc.uint8Array({ maxLength: 60 });

export const run: fc.Arbitrary<ChangesetRun> = fc
  .record({
    chain,
    author: hex(32).map(publicKey),
    site,
    first: number(VERSION_MAX - 10, 1),
    previousHash: hex(32),
    items: fc.array(fc.tuple(header, bytes(64), anyPayload), { minLength: 1, maxLength: 4 }),
  })
  .map(({ chain: name, author, site: owner, first, previousHash, items }) => {
    const kind = name.stream === "membership" ? "membership" : "data";
    const changesets = items.map(([drawn, signature, data], i) => {
      const at = first + i;
      const fields = { kind, stream: name.stream, site: owner, version: at } as const;
      const key = at === 1 ? author : null;
      return signedOf({ ...drawn, ...fields, publicKey: key }, signature, data);
    });
    const previous = first === 1 ? ZERO_HASH : headerHash(previousHash);
    return Object.assign({ author, previousHash: previous, changesets }, name);
  });

export const broadcast: fc.Arbitrary<Broadcast> = fc
  .tuple(header, bytes(64), anyPayload, bytes(8))
  .map(([drawn, signature, data, prefix]) => ({
    previousHashPrefix: drawn.version === 1 ? new Uint8Array(8) : prefix,
    changeset: signedOf(drawn, signature, data),
  }));

/** Ascending, each at least one version from the last: gaps and lengths rather than ends. */
const rangesAfter = (head: number): fc.Arbitrary<readonly VersionRange[]> =>
  fc.array(fc.tuple(fc.nat(300), fc.nat(300)), { maxLength: 6 }).map((steps) => {
    let end = head;
    return steps.map(([gap, length]) => {
      const first = end + 2 + gap;
      end = first + length;
      return { first, last: end };
    });
  });
export const vectorEntry: fc.Arbitrary<VectorEntry> = fc
  .record({
    site,
    chain,
    head: fc.oneof(number(VERSION_MAX - 10_000), fc.constant(0)),
    floor: fc.nat(3),
    headHash: hex(16),
  })
  .chain((drawn) =>
    rangesAfter(drawn.head).map((beyond): VectorEntry => {
      const { chain: name, ...rest } = drawn;
      // A branch has its first changeset.
      const isBranch = name.branch !== undefined && drawn.head > 0;
      const floor = Math.min(drawn.floor, isBranch ? drawn.head - 1 : drawn.head);
      const headHash = drawn.head === 0 ? "00".repeat(16) : drawn.headHash;
      const named = isBranch ? name : { stream: name.stream };
      return Object.assign(rest, named, { floor, headHash, beyond });
    }),
  );

const changesetRange: fc.Arbitrary<ChangesetRange> = fc
  .record({
    site,
    chain,
    first: number(VERSION_MAX - 1_000, 1),
    length: fc.nat(1_000),
  })
  .map(({ site: owner, chain: name, first, length }) =>
    Object.assign({ site: owner, first, last: first + length }, name),
  );

const chunkRanges = numbers(4, CHUNKS_MAX / 4).map((starts) =>
  starts.map((start) => ({ first: 4 * start, last: 4 * start + (start % 3) })),
);

/** Views of other arrays are equal to nothing: only the lengths have to agree. */
export const outline: fc.Arbitrary<ChangesetOutline> = fc
  .tuple(
    header,
    bytes(32),
    bytes(64),
    bytes(32),
    fc.integer({ min: CHUNK_BYTES + 1, max: 4 * CHUNK_BYTES }),
    fc.option(hex(16)),
  )
  .map(([drawn, key, signature, hash, payloadBytes, branch]) => {
    const author = publicKey(key);
    const isFirst = drawn.version === 1;
    const signed = Object.assign(drawn, { payloadBytes, publicKey: isFirst ? author : null });
    const drawnOutline = {
      stream: drawn.stream,
      author,
      previousHash: isFirst
        ? ZERO_HASH
        : headerHash(`77${Buffer.from(hash.subarray(1)).toString("hex")}`),
      header: signed,
      headerBytes: encodeHeader(signed),
      signature,
      chunkHashes: new Uint8Array(32 * chunkCount(payloadBytes)).fill(hash[0] ?? 0),
    };
    return branch === null ? drawnOutline : Object.assign(drawnOutline, { branch });
  });

const shortText = fc.string({ unit: "binary", maxLength: 20 });
const want = number(2 ** 32, 1);
export const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({
    type: fc.constant("hello"),
    mesh: hex(32).map(meshId),
    site,
    role: fc.constantFrom("device", "hub"),
    name: shortText,
    digest: hex(32),
  }),
  fc.record({ type: fc.constant("digest"), digest: hex(32) }),
  fc.record({
    type: fc.constant("vector"),
    part: fc.constantFrom("first", "more"),
    entries: fc.array(vectorEntry, { maxLength: 4 }),
  }),
  fc.record({
    type: fc.constant("want"),
    want,
    bytesMax: fc.nat(1024 * 1024),
    ranges: fc.array(changesetRange, { maxLength: 4 }),
  }),
  fc.record({ type: fc.constant("run"), want: number(2 ** 32), run: anyPayload }),
  fc.record({ type: fc.constant("outline"), want: number(2 ** 32), outline: anyPayload }),
  fc.record({
    type: fc.constant("wantChunks"),
    want,
    site,
    stream,
    version,
    headerHash: hex(32).map(headerHash),
    chunks: chunkRanges,
  }),
  fc.record({
    type: fc.constant("chunk"),
    want: number(2 ** 32),
    index: fc.nat(CHUNKS_MAX - 1),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 60 }),
  }),
  fc.record({ type: fc.constant("served"), want: number(2 ** 32), complete: fc.boolean() }),
  fc.record({ type: fc.constant("neighbours"), peers: fc.array(shortText, { maxLength: 5 }) }),
);

export const genesisBody: fc.Arbitrary<GenesisBody> = fc.record({
  policy: fc.constantFrom("open", "invite"),
  founder: hex(32).map(publicKey),
  random: bytes(16),
  name: shortText,
});
export const invite: fc.Arbitrary<Invite> = fc
  .tuple(genesisBody, bytes(64), fc.array(shortText, { maxLength: 4 }))
  .map(([body, signature, hubs]) => ({
    genesis: { bodyBytes: encodeGenesisBody(body), signature },
    hubs,
  }));

export const streamPackage: fc.Arbitrary<StreamPackage> = fc.record({
  mesh: hex(32).map(meshId),
  runs: fc.array(anyPayload, { minLength: 1, maxLength: 4 }),
});

export const streamPosition: fc.Arbitrary<StreamPosition> = fc.record({
  mesh: hex(32).map(meshId),
  entries: fc
    .uniqueArray(vectorEntry, { maxLength: 4, selector: authorStream })
    .map((entries) => entries.sort((a, b) => (authorStream(a) < authorStream(b) ? -1 : 1))),
});

export const key: fc.Arbitrary<StoredValue[]> = fc.tuple(integer, text, blob);

export const httpMessage: fc.Arbitrary<HttpMessage> = fc.oneof(
  fc.constant({ type: "position" } as const),
  fc.record({ type: fc.constant("push" as const), bytes: anyPayload }),
  fc.record({
    type: fc.constant("pull" as const),
    excludeSites: fc.array(site, { maxLength: 5 }),
    position: anyPayload,
  }),
);
