/**
 * One of everything, with fixed keys: what `test/vectors/frames.json` holds as bytes. Signatures
 * are noble's, which are deterministic.
 */
import {
  type ChangesetHeader,
  encodeHeader,
  type Dependency,
  type VerifiedChangeset,
} from "../../src/protocol/changeset.ts";
import { encodeBroadcast, encodeRun } from "../../src/protocol/changeset-run.ts";
import { encodeInvite, inviteLink } from "../../src/protocol/genesis.ts";
import { encodeOutline } from "../../src/protocol/outline.ts";
import { fromHex, headerHash, meshId, siteId, toHex, ZERO_HASH } from "../../src/protocol/ids.ts";
import { encodeMessage, type Message } from "../../src/protocol/messages.ts";
import { type ChangesetPayload, encodePayload } from "../../src/protocol/payload.ts";
import type { StoredValue } from "../../src/protocol/values.ts";
import { createGenesis } from "../../src/signing/genesis.ts";
import { createKeyPair, type KeyPair, meshIdOf } from "../../src/signing/keys.ts";
import { createNobleEd25519 } from "../../src/signing/ed25519-noble.ts";
import { createSigner } from "../../src/signing/verified-changeset.ts";

export interface GoldenFrame {
  readonly name: string;
  readonly hex: string;
}

const ed25519 = createNobleEd25519({ pause: () => Promise.resolve() });
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
export const MESH = meshId("5a".repeat(32));
const OTHER_SITE = siteId("c0ffee00c0ffee00c0ffee00c0ffee00");
const DEPENDENCY: Dependency = {
  site: OTHER_SITE,
  version: 300,
  hashPrefix: fromHex("0102030405060708"),
};
/** 2026-11-20. */
const WALL_CLOCK_MS = 1_795_132_800_000;
/** A 16-byte text key as `crsql_pack_columns` packs it. */
const KEY = Uint8Array.of(1, 0x0b, 16, ...utf8("0123456789abcdef"));
const TEN_BYTES = "0123456789";

/** One row of the first table, its columns 1, 2, … set to `values`. */
export const oneRow = (values: readonly StoredValue[], columnVersion = 1): ChangesetPayload => ({
  schemaVersion: 1,
  schemaHash: null,
  wallClockMs: WALL_CLOCK_MS,
  tables: [
    {
      table: 0,
      rows: [
        {
          primaryKey: KEY,
          causalLength: 1,
          sentinel: false,
          cells: values.map((value, i) => ({ column: 1 + i, columnVersion, value })),
        },
      ],
    },
  ],
});

export const createGoldenKeys = (): Promise<KeyPair> =>
  createKeyPair(ed25519, new Uint8Array(32).fill(0x11));

/** Signs payloads one after the other as versions `first`, `first + 1`, … */
export async function signChain(
  keys: KeyPair,
  payloads: readonly Uint8Array[],
  { mesh = MESH, first = 1, previous = ZERO_HASH, dependencies = [] as readonly Dependency[] } = {},
): Promise<VerifiedChangeset[]> {
  const signer = createSigner(ed25519, keys);
  const signed: VerifiedChangeset[] = [];
  let previousHash = previous;
  for (const [i, payload] of payloads.entries()) {
    const version = first + i;
    const header = {
      kind: "data",
      stream: "data",
      encoding: { type: "plain" },
      site: keys.siteId,
      version,
      publicKey: version === 1 ? keys.publicKey : null,
      payloadBytes: payload.length,
      dependencies,
    } as const;
    const headerBytes = encodeHeader(header);
    const changeset = await signer.sign({ header, headerBytes, payload, previousHash }, mesh);
    signed.push(changeset);
    previousHash = changeset.headerHash;
  }
  return signed;
}

/** A typical changeset, as gossip carries it: version 300 with one dependency. */
export async function typicalBroadcast(
  keys: KeyPair,
  payload: ChangesetPayload,
): Promise<Uint8Array> {
  const previous = headerHash("ab".repeat(32));
  const dependencies = [DEPENDENCY];
  const [changeset] = await signChain(keys, [encodePayload(payload)], {
    first: 300,
    previous,
    dependencies,
  });
  if (changeset === undefined) throw new RangeError("one payload, one changeset");
  return encodeBroadcast({ previousHashPrefix: fromHex(previous).subarray(0, 8), changeset });
}

export const oneCellUpdate: ChangesetPayload = oneRow([TEN_BYTES], 7);
export const fiveColumnInsert: ChangesetPayload = oneRow(
  Array.from({ length: 5 }, () => TEN_BYTES),
);

const integers = [0n, 1n, -1n, 127n, 128n, -128n, -129n, 2n ** 53n + 1n, 2n ** 63n - 1n];
const reals = [0, -0, 5, 0.1, Infinity, -Infinity, Number.MIN_VALUE];
const texts = ["", "a\0b", "\ufeffbom", "𝄞", "x".repeat(30), "x".repeat(31), "x".repeat(200)];
const blobs = [new Uint8Array(), Uint8Array.of(0, 255), new Uint8Array(31).fill(7)];
const values: readonly StoredValue[] = [
  null,
  -(2n ** 63n),
  ...integers,
  ...reals,
  ...texts,
  ...blobs,
];

function namedPayloads(): readonly (readonly [string, ChangesetPayload])[] {
  const deleted = { primaryKey: KEY, causalLength: 2, sentinel: true, cells: [] };
  const revived = { ...deleted, primaryKey: Uint8Array.of(1, 9, 200), causalLength: 3 };
  return [
    ["payload: every storage class", oneRow(values)],
    ["payload: no rows", { ...oneRow([]), tables: [] }],
    [
      "payload: first under a schema, two tables, a delete, a resurrection",
      {
        schemaVersion: 2,
        schemaHash: "cd".repeat(32),
        wallClockMs: 0,
        tables: [
          { table: 0, rows: [deleted, revived] },
          { table: 49, rows: [{ ...deleted, causalLength: 2 ** 40 }] },
        ],
      },
    ],
  ];
}

function messages(run: Uint8Array, site: KeyPair["siteId"]): readonly Message[] {
  const entry = { site, stream: "data", floor: 0, head: 7, headHash: "07".repeat(16) } as const;
  const nothing = { site: OTHER_SITE, stream: "membership", floor: 0, head: 0 } as const;
  const beyond = [
    { first: 9, last: 9 },
    { first: 11, last: 400 },
  ];
  const digest = "d1".repeat(32);
  return [
    { type: "hello", mesh: MESH, site, role: "hub", name: "büro", digest },
    { type: "digest", digest },
    {
      type: "vector",
      part: "first",
      entries: [
        { ...entry, beyond },
        { ...nothing, headHash: "00".repeat(16), beyond: [{ first: 2, last: 3 }] },
      ],
    },
    { type: "vector", part: "more", entries: [] },
    {
      type: "want",
      want: 1,
      bytesMax: 1024 * 1024,
      ranges: [{ site, stream: "data", first: 8, last: 300 }],
    },
    { type: "run", want: 1, run },
    { type: "served", want: 1, complete: true },
    { type: "neighbours", peers: ["12D3KooWFirst", "12D3KooWSecond"] },
  ];
}

export async function goldenFrames(): Promise<GoldenFrame[]> {
  const keys = await createGoldenKeys();
  const frames: GoldenFrame[] = [];
  const add = (name: string, bytes: Uint8Array): void => {
    frames.push({ name, hex: toHex(bytes) });
  };
  for (const [name, payload] of namedPayloads()) add(name, encodePayload(payload));

  const genesis = await createGenesis(ed25519, keys, {
    policy: "open",
    random: new Uint8Array(16).fill(0x22),
    name: "herons",
  });
  add("genesis body", genesis.bodyBytes);
  add("mesh id", fromHex(meshIdOf(genesis.bodyBytes)));
  const invite = { genesis, hubs: ["/ip4/192.168.1.2/udp/4001/webrtc-direct"] };
  add("invite", encodeInvite(invite));
  add("invite link", utf8(inviteLink(invite, "https://rowmesh.example/#old")));

  add("site id", fromHex(keys.siteId));
  const small = encodePayload(oneRow(["heron"]));
  const chain = await signChain(keys, [small, new Uint8Array(), small]);
  const [large] = await signChain(keys, [new Uint8Array(64 * 1024 + 1).fill(3)]);
  for (const changeset of chain) {
    add(`header, version ${changeset.header.version}`, changeset.headerBytes);
    add(`header hash, version ${changeset.header.version}`, fromHex(changeset.headerHash));
  }
  if (large !== undefined) {
    add("signature over a payload of two chunks", large.signature);
    add("header hash over a payload of two chunks", fromHex(large.headerHash));
  }
  const header = {
    kind: "membership",
    stream: "membership",
    encoding: { type: "sealed", keyId: new Uint8Array(8).fill(9) },
    site: keys.siteId,
    version: 2 ** 48,
    publicKey: null,
    payloadBytes: 64 * 1024 * 1024,
    dependencies: [DEPENDENCY, { ...DEPENDENCY, site: siteId("ff".repeat(16)), version: 1 }],
  } as const;
  add("header: membership, sealed, two causes", encodeHeader(header));

  const run = encodeRun({
    stream: "data",
    author: keys.publicKey,
    previousHash: ZERO_HASH,
    changesets: chain,
  });
  add("run", run);
  add("broadcast: one-cell update", await typicalBroadcast(keys, oneCellUpdate));
  add("broadcast: five-column insert", await typicalBroadcast(keys, fiveColumnInsert));
  for (const message of messages(run, keys.siteId)) {
    add(`message: ${message.type}`, encodeMessage(message));
  }
  for (const [name, bytes] of branchFrames(keys, chain)) add(name, bytes);
  for (const [name, bytes] of chunkFrames(large as VerifiedChangeset)) add(name, bytes);
  return frames;
}

/** How a large changeset travels. */
function chunkFrames(large: VerifiedChangeset): readonly (readonly [string, Uint8Array])[] {
  const { header, headerHash: hash, chunkHashes } = large;
  if (chunkHashes === null) throw new RangeError("two chunks");
  const { site, stream, version } = header;
  const outline = encodeOutline({ ...large, stream, chunkHashes });
  const chunks = [
    { first: 0, last: 0 },
    { first: 2, last: 9 },
  ];
  const of = { site, stream, version, headerHash: hash };
  const chunk = Uint8Array.of(1, 2, 3);
  return [
    ["outline", outline],
    ["message: outline", encodeMessage({ type: "outline", want: 2, outline })],
    ["message: wantChunks", encodeMessage({ type: "wantChunks", want: 3, ...of, chunks })],
    ["message: chunk", encodeMessage({ type: "chunk", want: 3, index: 300, bytes: chunk })],
  ];
}

/** What a key that forked adds. */
function branchFrames(
  { siteId: site, publicKey: author }: KeyPair,
  chain: readonly VerifiedChangeset[],
): readonly (readonly [string, Uint8Array])[] {
  const [, second, third] = chain;
  if (second === undefined || third === undefined) throw new RangeError("three changesets");
  const branch = second.headerHash.slice(0, 32);
  const name = { site, stream: "data", branch } as const;
  const headHash = third.headerHash.slice(0, 32);
  const header: ChangesetHeader = {
    kind: "data",
    stream: "data",
    encoding: { type: "plain" },
    site,
    version: 4,
    publicKey: null,
    payloadBytes: 0,
    dependencies: [
      { site, version: 2, hashPrefix: fromHex("0102030405060708") },
      { site, version: 2, hashPrefix: fromHex("0102030405060709") },
    ],
  };
  return [
    ["header: two branches of the author as causes", encodeHeader(header)],
    [
      "run of a branch",
      encodeRun({
        stream: "data",
        branch,
        author,
        previousHash: second.previousHash,
        changesets: [second, third],
      }),
    ],
    [
      "message: vector with branches",
      encodeMessage({
        type: "vector",
        part: "first",
        entries: [
          { site, stream: "data", floor: 0, head: 2, headHash, beyond: [] },
          { ...name, floor: 1, head: 3, headHash, beyond: [] },
          { ...name, stream: "membership", floor: 0, head: 1, headHash: branch, beyond: [] },
        ],
      }),
    ],
    [
      "message: want of a branch",
      encodeMessage({
        type: "want",
        want: 3,
        bytesMax: 1024,
        ranges: [{ ...name, first: 2, last: 3 }],
      }),
    ],
  ];
}
