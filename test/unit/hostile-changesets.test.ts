/**
 * Every item of what cr-sqlite 0.16 was found to trap on, to accept and corrupt, or to answer with a
 * stuck sync bit; each as a changeset that a hostile author has properly signed.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ReplicaDatabase } from "../../src/db/replica-database.ts";
import { packKey } from "../../src/db/packed-key.ts";
import { ByteWriter, encodeText } from "../../src/protocol/bytes.ts";
import { fromHex } from "../../src/protocol/ids.ts";
import { CLOCK_MAX, VALUE_BYTES_MAX } from "../../src/protocol/limits.ts";
import type { CellChange, RowChanges } from "../../src/protocol/payload.ts";
import type { StoredValue } from "../../src/protocol/values.ts";
import type { IngestOutcome } from "../../src/seams.ts";
import { forge, type ForgeOptions, payloadOf, rowPayload } from "../fixtures/forge.ts";
import { openReplica, pull } from "../fixtures/replicas.ts";

let author = 5000;
let victim: ReplicaDatabase;
let other: ReplicaDatabase;

beforeAll(async () => {
  victim = await openReplica(1);
  other = await openReplica(2);
  await victim.exec("INSERT INTO animal (id, name, legs) VALUES ('a', 'fox', 4)");
  await pull(victim, other);
});

afterAll(async () => {
  await victim.close();
  await other.close();
});

const ANIMAL = 0;
const SIGHTING = 1;
const TAG = 2;
const NAME = 1;
const LEGS = 2;
const WEIGHT = 3;
const COUNT = 2;
const A = packKey(["a"]);
const POND = packKey([3n, "pond"]);
const cell = (column: number, value: StoredValue, columnVersion = 9): CellChange => ({
  column,
  columnVersion,
  value,
});
const animal = (row: Partial<RowChanges>): Uint8Array =>
  rowPayload(ANIMAL, { primaryKey: A, cells: [cell(NAME, "evil")], ...row });
const key = (hex: string): Uint8Array => animal({ primaryKey: fromHex(hex) });
const sightingKey = (hex: string): Uint8Array =>
  rowPayload(SIGHTING, { primaryKey: fromHex(hex), cells: [cell(COUNT, 1n)] });
/** Payload bytes by hand, for what `encodePayload` would not write. */
const raw = (write: (writer: ByteWriter) => void): Uint8Array => {
  const writer = new ByteWriter().varint(1).u8(0).varint(0);
  write(writer);
  return writer.finish();
};
const rawRow = (write: (writer: ByteWriter) => void): Uint8Array =>
  raw((writer) => write(writer.varint(1).varint(ANIMAL).varint(0).sized(A)));

const VOID: IngestOutcome = { verdict: "void", code: "ERR_ROWS_INVALID" };
const NEWER: IngestOutcome = { verdict: "parked", code: "ERR_SCHEMA_NEWER" };
const UNKNOWN_ENCODING: IngestOutcome = { verdict: "parked", code: "ERR_ENCODING_UNKNOWN" };

const cases: [string, Uint8Array, IngestOutcome, ForgeOptions?][] = [
  // Traps of the WebAssembly.
  ["key NULL", key("0105"), VOID],
  ["key of no bytes", key(""), VOID],
  ["INTEGER key of 9 bytes", sightingKey("02490101010101010101010b0461"), VOID],
  ["TEXT key with 9 length bytes", key("014b00000000000000000161"), VOID],
  ["BLOB key with 31 length bytes", key(`01fc${"00".repeat(40)}`), VOID],
  ["TEXT key with 31 length bytes", key(`01fb${"00".repeat(40)}`), VOID],
  ["INTEGER key with 31 bytes", key(`01f9${"01".repeat(40)}`), VOID],
  // Errors, some with the sync bit left set.
  ["truncated key", key("010b05616263"), VOID],
  ["key of type 0", key("0100"), VOID],
  ["key of type 6", key("0106"), VOID],
  ["key of type 7", key("0107"), VOID],
  ["REAL key", key("01023ff8000000000000"), VOID],
  ["too many key columns", key("020b01610b0162"), VOID],
  ["key of no columns", key("00"), VOID],
  ["255 key columns", key("ff"), VOID],
  ["TEXT for an INTEGER key", sightingKey("020b01310b0161"), VOID],
  ["REAL for an INTEGER key", sightingKey("02023ff80000000000000b0161"), VOID],
  ["BLOB for an INTEGER key", sightingKey("020c01310b0161"), VOID],
  ["BLOB key with 9 length bytes", sightingKey("024c00000000000000000161"), VOID],
  ["BLOB for a TEXT key", key("010c0161"), VOID],
  ["fewer columns than the key", sightingKey("010903"), VOID],
  ["NULL in a composite key", sightingKey("02090305"), VOID],
  // Aliases of one row.
  ["bytes after the key", key("010b016100"), VOID],
  ["INTEGER key not minimal", sightingKey("021100030b0161"), VOID],
  ["INTEGER key 0 in one byte", sightingKey("0209000b0161"), VOID],
  ["INTEGER key 5 in 8 bytes", sightingKey("024100000000000000050b0161"), VOID],
  ["TEXT key with a long length", key("0113000161"), VOID],
  ["empty TEXT key with a length", key("010b00"), VOID],
  ["key of malformed UTF-8", key("010b01ff"), VOID],
  ["key above 4 KiB", animal({ primaryKey: packKey(["x".repeat(4096)]) }), VOID],
  // Columns and tables.
  ["a key column as cell", animal({ cells: [cell(0, "b")] }), VOID],
  ["unknown column", animal({ cells: [cell(5, 1n)] }), VOID],
  ["unknown table", rowPayload(3, { primaryKey: A, cells: [cell(NAME, "x")] }), VOID],
  [
    "a cell in a table of keys only",
    rowPayload(TAG, { primaryKey: packKey([new Uint8Array(1)]), cells: [cell(1, 1n)] }),
    VOID,
  ],
  ["table number 50", rowPayload(50, { primaryKey: A, cells: [cell(NAME, "x")] }), VOID],
  ["column number 63", animal({ cells: [cell(63, 1n)] }), VOID],
  // Values.
  ["TEXT for INTEGER", animal({ cells: [cell(LEGS, "4")] }), VOID],
  ["REAL for INTEGER", animal({ cells: [cell(LEGS, 4)] }), VOID],
  ["INTEGER for REAL", animal({ cells: [cell(WEIGHT, 4n)] }), VOID],
  ["BLOB for TEXT", animal({ cells: [cell(NAME, Uint8Array.of(97))] }), VOID],
  [
    "NULL for NOT NULL",
    rowPayload(SIGHTING, { primaryKey: POND, cells: [cell(COUNT, null)] }),
    VOID,
  ],
  ["a broken CHECK", rowPayload(SIGHTING, { primaryKey: POND, cells: [cell(COUNT, -1n)] }), VOID],
  ["−0.0", animal({ cells: [cell(WEIGHT, -0)] }), VOID],
  [
    "NaN",
    rawRow((w) =>
      w.varint(1).varint(2).varint(WEIGHT).varint(1).u8(2).raw(fromHex("7ff8000000000000")),
    ),
    VOID,
  ],
  [
    "text of malformed UTF-8",
    rawRow((w) =>
      w
        .varint(1)
        .varint(2)
        .varint(NAME)
        .varint(1)
        .u8(3 + 8)
        .u8(0xff),
    ),
    VOID,
  ],
  [
    "a surrogate in UTF-8",
    rawRow((w) =>
      w
        .varint(1)
        .varint(2)
        .varint(NAME)
        .varint(1)
        .u8(3 + 24)
        .raw(fromHex("eda080")),
    ),
    VOID,
  ],
  [
    "a value above 1 MiB",
    rawRow((w) =>
      w
        .varint(1)
        .varint(2)
        .varint(NAME)
        .varint(1)
        .u8(3 + 8 * 31)
        .varint(VALUE_BYTES_MAX - 30)
        .raw(new Uint8Array(VALUE_BYTES_MAX + 1).fill(97)),
    ),
    VOID,
  ],
  // Clocks.
  ["causal length 0", rawRow((w) => w.varint(0).varint(2).varint(0).varint(1).u8(0)), VOID],
  ["causal length 2^40 + 1", animal({ causalLength: CLOCK_MAX + 1 }), VOID],
  ["causal length 2^53 − 1", animal({ causalLength: Number.MAX_SAFE_INTEGER }), VOID],
  ["col version 0", animal({ cells: [cell(NAME, "x", 0)] }), VOID],
  ["col version 2^40 + 1", animal({ cells: [cell(NAME, "x", CLOCK_MAX + 1)] }), VOID],
  ["a dead row with cells", animal({ causalLength: 2 }), VOID],
  ["a dead row with cells and sentinel", animal({ causalLength: 4, sentinel: true }), VOID],
  ["a dead row without sentinel", animal({ causalLength: 2, cells: [] }), VOID],
  ["a live row with nothing", animal({ cells: [] }), VOID],
  // Structure.
  // A cell twice, or out of order, has no bytes: columns are differences from the one before.
  [
    "one row twice",
    payloadOf([
      {
        table: ANIMAL,
        rows: [1, 2].map((version) => ({
          primaryKey: A,
          causalLength: 1,
          sentinel: false,
          cells: [cell(NAME, "x", version)],
        })),
      },
    ]),
    VOID,
  ],
  [
    "rows out of order",
    payloadOf([
      {
        table: ANIMAL,
        rows: ["b", "a"].map((id) => ({
          primaryKey: packKey([id]),
          causalLength: 1,
          sentinel: false,
          cells: [cell(NAME, "x")],
        })),
      },
    ]),
    VOID,
  ],
  [
    "fewer rows than announced",
    raw((w) =>
      w
        .varint(1)
        .varint(ANIMAL)
        .varint(2 ** 24),
    ),
    VOID,
  ],
  ["bytes after the payload", new Uint8Array([...animal({}), 0]), VOID],
  ["no bytes at all", new Uint8Array(0), VOID],
  ["schema version 0", payloadOf([], 0), VOID],
  ["schema version 2^31", payloadOf([], 2 ** 31), VOID],
  ["text instead of a payload", encodeText("DROP TABLE animal; --"), VOID],
  // What an older replica cannot judge.
  ["a newer schema", payloadOf([], 2), NEWER],
  [
    "a newer schema with unreadable rows",
    new Uint8Array([...payloadOf([], 2).slice(0, -1), 9, 9, 9]),
    NEWER,
  ],
  [
    "another schema under this version",
    payloadOf([], 1, "ab".repeat(32)),
    { verdict: "parked", code: "ERR_SCHEMA_MISMATCH" },
  ],
  ["deflated", animal({}), UNKNOWN_ENCODING, { encoding: { type: "deflated" } }],
  [
    "sealed",
    animal({}),
    UNKNOWN_ENCODING,
    { encoding: { type: "sealed", keyId: new Uint8Array(8) } },
  ],
  ["a checkpoint", animal({}), UNKNOWN_ENCODING, { kind: "checkpoint" }],
  ["membership", animal({}), UNKNOWN_ENCODING, { kind: "membership" }],
];

test.each(cases)("[M4] %s", async (_name, payload, expected, options) => {
  const before = await victim.stateHash();
  const changeset = await forge(author++, payload, options);
  expect(await victim.append([changeset])).toEqual([expected]);
  expect(await victim.append([changeset])).toEqual([{ verdict: "known" }]);
  expect(await victim.stateHash()).toBe(before);
  // Logged and forwarded all the same; others judge alike.
  expect(victim.hashOf(changeset.header.site, changeset.header.stream, 1)).toBe(
    changeset.headerHash,
  );
  expect(await other.append([changeset])).toEqual([expected]);
  // The engine is sound: the next local write is tracked and reaches the other.
  await victim.exec("UPDATE animal SET legs = legs + 1 WHERE id = 'a'");
  expect(await pull(victim, other)).toContainEqual({ verdict: "applied" });
  expect(await other.stateHash()).toBe(await victim.stateHash());
  expect(await other.stateHash()).not.toBe(before);
});

test("[M4] hostile changesets among honest ones: counted by code, waiting for nothing else", async () => {
  const counts = victim.counts();
  const voided = cases.filter(([, , outcome]) => outcome.verdict === "void").length;
  expect(counts.void).toBe(voided);
  expect(counts.refusedByCode.get("ERR_ROWS_INVALID")).toBe(voided);
  expect(counts.refusedByCode.get("ERR_SCHEMA_MISMATCH")).toBe(1);
  expect(counts.held).toBe(0);
  const hash = await victim.stateHash();
  await victim.rebuild();
  expect(await victim.stateHash()).toBe(hash);
});

test("[M5] some cells of a re-inserted row, in any order, leave replicas alike", async () => {
  const hashes = new Set<string>();
  const first = author;
  author += 3;
  const changesets = await Promise.all([
    forge(first, animal({ causalLength: 3, cells: [cell(NAME, "partly", 1)] })),
    forge(first + 1, animal({ causalLength: 2, sentinel: true, cells: [] })),
    forge(first + 2, animal({ cells: [cell(LEGS, 8n, 7), cell(WEIGHT, 1.5, 7)] })),
  ]);
  for (const order of [
    [0, 1, 2],
    [2, 1, 0],
    [1, 0, 2],
    [2, 0, 1],
    [0, 2, 1],
    [1, 2, 0],
  ]) {
    const replica = await openReplica(3);
    await pull(victim, replica);
    for (const at of order) await replica.append([changesets[at] as (typeof changesets)[0]]);
    hashes.add(await replica.stateHash());
    await replica.close();
  }
  expect(hashes.size).toBe(1);
});

test("[M4] a cell at the cap of its clock: only its update is refused, the next write is tracked", async () => {
  const replica = await openReplica(4);
  const peer = await openReplica(5);
  const full = animal({ cells: [cell(NAME, "capped", CLOCK_MAX), cell(LEGS, 1n, 1)] });
  expect(await replica.append([await forge(author++, full)])).toEqual([{ verdict: "applied" }]);
  const before = await replica.stateHash();
  await expect(replica.exec("UPDATE animal SET name = 'mine'")).rejects.toMatchObject({
    code: "ERR_ROWS_INVALID",
  });
  expect(await replica.stateHash()).toBe(before);
  await replica.exec("UPDATE animal SET legs = 4");
  await pull(replica, peer);
  expect(await peer.query("SELECT name, legs FROM animal")).toEqual([{ name: "capped", legs: 4 }]);
  await replica.close();
  await peer.close();
});
