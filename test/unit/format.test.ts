/** The format itself: golden bytes, sizes, limits, and what each structure refuses. */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ByteReader, ByteWriter, encodeText } from "../../src/protocol/bytes.ts";
import { type ChangesetHeader, decodeHeader, encodeHeader } from "../../src/protocol/changeset.ts";
import {
  decodeBroadcast,
  decodeRun,
  encodeBroadcast,
  encodeRun,
} from "../../src/protocol/changeset-run.ts";
import { isMeshError, type MeshErrorCode } from "../../src/protocol/errors.ts";
import {
  encodeGenesisBody,
  encodeInvite,
  fromBase64Url,
  inviteLink,
  parseInviteLink,
  toBase64Url,
} from "../../src/protocol/genesis.ts";
import {
  fromHex,
  headerHash,
  meshId,
  publicKey,
  siteId,
  ZERO_HASH,
} from "../../src/protocol/ids.ts";
import {
  CHUNK_BYTES,
  CHUNKS_MAX,
  FORMAT_VERSION,
  PAYLOAD_BYTES_MAX,
  VALUE_BYTES_MAX,
  VERSION_MAX,
} from "../../src/protocol/limits.ts";
import { decodeMessage, encodeMessage, type Message } from "../../src/protocol/messages.ts";
import { decodePayload, encodePayload, readValue, writeValue } from "../../src/protocol/payload.ts";
import {
  createGoldenKeys,
  fiveColumnInsert,
  type GoldenFrame,
  goldenFrames,
  oneCellUpdate,
  oneRow,
  signChain,
  typicalBroadcast,
} from "./golden-frames.ts";

const FILE = "test/vectors/frames.json";
/**
 * SHA-256 of the names and bytes of the first so many frames. New bytes are a new format: raise
 * FORMAT_VERSION, then change this. New structures come last.
 */
const PINNED = {
  formatVersion: 1,
  sha256: {
    28: "b8a09e331666e6ea9c3eefb88b4261023fee7688e09f15435a07734bfa1ca6a7",
    36: "870fc81fdfae83bc48a0eb5bca8c3690d470552cfdefb6ce1aee7bc073eaa7ed",
  },
};

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const codeOf = (run: () => unknown): MeshErrorCode | "accepted" => {
  try {
    run();
  } catch (error) {
    if (isMeshError(error)) return error.code;
    throw error;
  }
  return "accepted";
};
const refused = (run: () => unknown): void => expect(codeOf(run)).toBe("ERR_NOT_CANONICAL");
const overLimit = (run: () => unknown): void => expect(codeOf(run)).toBe("ERR_LIMIT");

describe("golden frames", () => {
  test("[W6] every structure still has the bytes it had", async () => {
    const frames = await goldenFrames();
    if (process.env["UPDATE_VECTORS"] === "1") {
      writeFileSync(FILE, `${JSON.stringify(frames, null, 2)}\n`);
    }
    expect(JSON.parse(readFileSync(FILE, "utf8"))).toEqual(frames);
  });

  test("[W6] the golden bytes belong to this format version", () => {
    const frames = JSON.parse(readFileSync(FILE, "utf8")) as GoldenFrame[];
    const lines = frames.map(({ name, hex }) => `${name} ${hex}\n`);
    const hashOf = (count: number) =>
      createHash("sha256").update(lines.slice(0, count).join("")).digest("hex");
    const sha256 = { 28: hashOf(28), [lines.length]: hashOf(lines.length) };
    expect({ formatVersion: FORMAT_VERSION, sha256 }).toEqual(PINNED);
  });

  test("[W7] small changes are small", async () => {
    const keys = await createGoldenKeys();
    const sizes = {
      oneCellUpdate: (await typicalBroadcast(keys, oneCellUpdate)).length,
      fiveColumnInsert: (await typicalBroadcast(keys, fiveColumnInsert)).length,
    };
    // Limits of the design: 190 and 300.
    expect(sizes).toEqual({ oneCellUpdate: 167, fiveColumnInsert: 219 });
  });
});

describe("limits", () => {
  test("[W3] a claimed size or count is refused before anything is allocated for it", () => {
    const huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    const run = encodeRunOf(bytes());
    const before = process.memoryUsage.rss();
    overLimit(() => decodePayload(bytes(1, 0, 0, ...huge)));
    overLimit(() => decodePayload(bytes(1, 0, 0, 1, 0, ...huge)));
    overLimit(() => decodePayload(bytes(1, 0, 0, 1, 0, 0, ...huge)));
    overLimit(() => readValue(new ByteReader(bytes(3 + 8 * 31, ...huge))));
    overLimit(() => decodeMessage(bytes(3, 1, ...huge)));
    overLimit(() => decodeMessage(bytes(4, 1, 1, ...huge)));
    overLimit(() => decodeMessage(bytes(8, ...huge)));
    overLimit(() => decodeMessage(new Uint8Array(256 * 1024 + 1)));
    overLimit(() => decodeBroadcast(new Uint8Array(16 * 1024 + 1)));
    overLimit(() => decodeRun(bytes(...run.subarray(0, 66), ...huge)));
    // The largest counts the limits allow, with nothing behind them.
    refused(() => decodePayload(bytes(1, 0, 0, 50, 0, 0x80, 0x80, 0x80, 0x08)));
    refused(() => readValue(new ByteReader(bytes(4 + 8 * 31, 0x80, 0x80, 0x3e))));
    refused(() => decodeMessage(bytes(3, 1, 0x80, 0x10)));
    refused(() => decodeRun(bytes(...run.subarray(0, 66), 0x80, 0x20)));
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 1024 * 1024);
  });

  test("[W3] a writer refuses what a reader would", () => {
    overLimit(() => writeValue(new ByteWriter(), "x".repeat(VALUE_BYTES_MAX + 1)));
    const mebibyte = new Uint8Array(VALUE_BYTES_MAX);
    const tooLarge = oneRow(Array.from({ length: 62 }, () => mebibyte));
    const table = tooLarge.tables[0];
    const row = table?.rows[0];
    if (row === undefined) throw new RangeError("one row");
    const second = { ...row, primaryKey: Uint8Array.of(2) };
    const payload = { ...tooLarge, tables: [{ table: 0, rows: [row, second] }] };
    expect(codeOf(() => encodePayload(payload))).toBe("ERR_TRANSACTION_TOO_LARGE");
    overLimit(() => decodePayload(new Uint8Array(PAYLOAD_BYTES_MAX + 1)));
    const name = "ß".repeat(65);
    const founder = publicKey("11".repeat(32));
    const random = new Uint8Array(16);
    overLimit(() => encodeGenesisBody({ policy: "open", founder, random, name }));
    expect(() => writeValue(new ByteWriter(), 2n ** 63n)).toThrow(RangeError);
    expect(() => writeValue(new ByteWriter(), Number.NaN)).toThrow(RangeError);
  });
});

function value(hex: string): unknown {
  const reader = new ByteReader(fromHex(hex));
  const read = readValue(reader);
  reader.end();
  return read;
}

describe("values", () => {
  test("[W4] a value keeps its storage class", () => {
    expect(value("01")).toBe(0n);
    expect(value("0905")).toBe(5n);
    expect(value("024014000000000000")).toBe(5);
    expect(value("028000000000000000")).toBe(-0);
    expect(value("03")).toBe("");
    expect(value("04")).toEqual(new Uint8Array());
    expect(value("00")).toBe(null);
  });

  test("[W4] one encoding each: minimal integers, no NaN, no stray tag bits", () => {
    for (const hex of ["0900", "110005", "11ffff", "4900000000000000000000"])
      refused(() => value(hex));
    for (const hex of ["027ff8000000000000", "02fff0000000000001"]) refused(() => value(hex));
    for (const hex of ["08", "0a4014000000000000", "05", "06", "07", "0d"])
      refused(() => value(hex));
    expect(value("1100ff")).toBe(255n);
  });

  test("[W5] text is well-formed UTF-8, byte order mark and NUL kept", () => {
    expect(value("1befbbbf")).toBe("\ufeff");
    expect(value("33efbbbfefbbbf")).toBe("\ufeff\ufeff");
    expect(value("1b610062")).toBe("a\0b");
    expect(value("23f09d849e")).toBe("𝄞");
    const malformed = [
      "0b80",
      "13c080",
      "1beda080",
      "33eda0b4edb49e",
      "23f4908080",
      "13c3",
      "0bff",
    ];
    for (const hex of malformed) refused(() => value(hex));
    for (const lone of ["\ud800", "a\udc00", "\udc00\ud800"]) refused(() => encodeText(lone));
    expect(encodeText("𝄞")).toEqual(fromHex("f09d849e"));
    for (const [text, hex] of [
      ["\u007f", "0b7f"],
      ["\u0080", "13c280"],
      ["é", "13c3a9"],
    ] as const) {
      const writer = new ByteWriter();
      writeValue(writer, text);
      expect(writer.finish()).toEqual(fromHex(hex));
      expect(value(hex)).toBe(text);
    }
  });
});

const SITE = siteId("20".repeat(16));
const plainHeader: ChangesetHeader = {
  kind: "data",
  stream: "data",
  encoding: { type: "plain" },
  site: SITE,
  version: 2,
  publicKey: null,
  payloadBytes: 0,
  dependencies: [],
};

const decoded = (changes: Partial<ChangesetHeader>) => (): unknown =>
  decodeHeader(encodeHeader({ ...plainHeader, ...changes }));
const cause = (byte: string) => ({
  site: siteId(byte.repeat(16)),
  version: 1,
  hashPrefix: new Uint8Array(8),
});

describe("headers, runs, rows", () => {
  test("[W8] dependencies ascend and name each changeset once", () => {
    expect(codeOf(decoded({ dependencies: [cause("10"), cause("30")] }))).toBe("accepted");
    refused(decoded({ dependencies: [cause("30"), cause("10")] }));
    refused(decoded({ dependencies: [cause("10"), cause("10")] }));
    const later = { ...cause("10"), version: cause("10").version + 1 };
    expect(codeOf(decoded({ dependencies: [cause("10"), later] }))).toBe("accepted");
    refused(decoded({ dependencies: [later, cause("10")] }));
    refused(decoded({ dependencies: [{ ...cause("10"), version: 0 }] }));
    const many = (count: number) =>
      Array.from({ length: count }, (_, i) => cause((0x40 + i).toString(16)));
    expect(codeOf(decoded({ dependencies: many(64) }))).toBe("accepted");
    overLimit(decoded({ dependencies: many(65) }));
  });

  test("[W8] version 1 carries the key, no other does; kind and stream agree", () => {
    const key = publicKey("11".repeat(32));
    expect(codeOf(decoded({ version: 1, publicKey: key }))).toBe("accepted");
    refused(decoded({ version: 1 }));
    expect(codeOf(decoded({ publicKey: key }))).not.toBe("accepted");
    refused(decoded({ version: 0 }));
    refused(decoded({ kind: "membership" }));
    refused(decoded({ stream: "membership" }));
    refused(decoded({ kind: "checkpoint", stream: "membership" }));
    for (const flags of [3, 0x18, 0x20, 0x80]) {
      const flagged = encodeHeader(plainHeader);
      flagged[1] = flags;
      refused(() => decodeHeader(flagged));
    }
  });

  test("[W11] another format is told apart from damage", () => {
    const newer = encodeHeader(plainHeader);
    newer[0] = FORMAT_VERSION + 1;
    expect(codeOf(() => decodeHeader(newer))).toBe("ERR_UNKNOWN_FORMAT");
    expect(codeOf(() => decodeMessage(Uint8Array.of(1, 2)))).toBe("ERR_UNKNOWN_FORMAT");
  });

  test("[W9] a run is consecutive changesets of one author from a known predecessor", async () => {
    const keys = await createGoldenKeys();
    const [one, two, three] = await signChain(
      keys,
      [1, 2, 3].map((n) => Uint8Array.of(n)),
    );
    if (one === undefined || two === undefined || three === undefined)
      throw new RangeError("three");
    const run = { stream: "data", author: keys.publicKey, previousHash: ZERO_HASH } as const;
    const decodes = (changes: Partial<Parameters<typeof encodeRun>[0]>) => (): unknown =>
      decodeRun(encodeRun({ ...run, changesets: [one, two, three], ...changes }));
    expect(codeOf(decodes({}))).toBe("accepted");
    refused(decodes({ changesets: [one, three] }));
    refused(decodes({ changesets: [two, one] }));
    refused(decodes({ stream: "membership" }));
    refused(decodes({ author: publicKey("12".repeat(32)) }));
    refused(decodes({ previousHash: one.headerHash }));
    refused(decodes({ changesets: [two, three] }));
    expect(codeOf(decodes({ previousHash: one.headerHash, changesets: [two] }))).toBe("accepted");
    const [other] = await signChain({ ...keys, siteId: SITE }, [Uint8Array.of(2)], {
      first: 2,
      previous: one.headerHash,
    });
    if (other === undefined) throw new RangeError("one");
    refused(decodes({ changesets: [one, other] }));
    const prefix = new Uint8Array(8).fill(1);
    refused(() => decodeBroadcast(encodeBroadcast({ previousHashPrefix: prefix, changeset: one })));
    expect(() => encodeRun({ ...run, changesets: [] })).toThrow(RangeError);
    const encoded = encodeRun({ ...run, changesets: [one] });
    refused(() => decodeRun(bytes(...encoded.subarray(0, 66), 0)));
    refused(() => decodeRun(bytes(4, ...encoded.subarray(1))));
  });

  test("[W12] rows and cells ascend, liveness and cells agree", () => {
    const [table] = oneRow(["a", "b"]).tables;
    const row = table?.rows[0];
    if (table === undefined || row === undefined) throw new RangeError("one row");
    const decodes = (rows: readonly (typeof row)[]) => (): unknown =>
      decodePayload(encodePayload({ ...oneRow([]), tables: [{ table: 0, rows }] }));
    const after = { ...row, primaryKey: Uint8Array.of(2) };
    expect(codeOf(decodes([row, after]))).toBe("accepted");
    refused(decodes([after, row]));
    refused(decodes([row, row]));
    refused(decodes([{ ...row, causalLength: 0 }]));
    refused(decodes([{ ...row, causalLength: 2, sentinel: true }]));
    refused(decodes([{ ...row, causalLength: 2, cells: [] }]));
    refused(decodes([{ ...row, cells: [] }]));
    const [cell] = row.cells;
    if (cell === undefined) throw new RangeError("two cells");
    refused(decodes([{ ...row, cells: [{ ...cell, columnVersion: 0 }] }]));
    overLimit(decodes([{ ...row, cells: [{ ...cell, column: 63 }] }]));
    const inTable = (number: number) => (): unknown =>
      decodePayload(encodePayload({ ...oneRow([]), tables: [{ table: number, rows: [row] }] }));
    expect(codeOf(inTable(49))).toBe("accepted");
    overLimit(inTable(50));
    refused(() => decodePayload(encodePayload({ ...oneRow(["a"]), schemaVersion: 0 })));
  });
});

const message = (given: Message) => (): unknown => decodeMessage(encodeMessage(given));

describe("messages", () => {
  test("[W13] ranges, wants and chunks name what can exist", () => {
    const wanting = (first: number, last: number, want = 1) =>
      message({
        type: "want",
        want,
        bytesMax: 0,
        ranges: [{ site: SITE, stream: "data", first, last }],
      });
    expect(codeOf(wanting(1, VERSION_MAX))).toBe("accepted");
    refused(wanting(0, 3));
    refused(wanting(2, VERSION_MAX + 1));
    refused(wanting(1, 1, 0));
    const wantingChunks = (first: number, last: number, version = 1, want = 1) =>
      message({
        type: "wantChunks",
        want,
        site: SITE,
        stream: "data",
        version,
        headerHash: headerHash("77".repeat(32)),
        chunks: [{ first, last }],
      });
    expect(codeOf(wantingChunks(0, CHUNKS_MAX - 1))).toBe("accepted");
    overLimit(wantingChunks(1, CHUNKS_MAX));
    refused(wantingChunks(0, 0, 0));
    refused(wantingChunks(0, 0, 1, 0));
    const chunk = (index: number, length: number) =>
      message({ type: "chunk", want: 1, index, bytes: new Uint8Array(length) });
    expect(codeOf(chunk(CHUNKS_MAX - 1, CHUNK_BYTES))).toBe("accepted");
    overLimit(chunk(CHUNKS_MAX, 1));
    overLimit(chunk(0, CHUNK_BYTES + 1));
    refused(chunk(0, 0));
    const digest = "d1".repeat(32);
    const name = "ß".repeat(65);
    const mesh = meshId("5a".repeat(32));
    overLimit(message({ type: "hello", mesh, site: SITE, role: "hub", name, digest }));
    const flagged = encodeMessage({ type: "served", want: 1, complete: true });
    flagged[2] = 2;
    refused(() => decodeMessage(flagged));
    for (const type of [0, 11, 255]) refused(() => decodeMessage(bytes(type)));
    const run = new Uint8Array(256 * 1024);
    expect(() => encodeMessage({ type: "run", want: 1, run })).toThrow(RangeError);
  });
});

describe("join links", () => {
  const founder = publicKey("11".repeat(32));
  const bodyBytes = encodeGenesisBody({
    policy: "invite",
    founder,
    random: new Uint8Array(16).fill(0xfb),
    name: "Teich ✓",
  });
  const genesis = { bodyBytes, signature: new Uint8Array(64).fill(0xff) };
  const invite = { genesis, hubs: ["/ip4/10.0.0.1/tcp/80/ws", "/dns4/hub.lan/tcp/443/wss"] };

  test("[W10] link, fragment and bare code say the same", () => {
    const link = inviteLink(invite, "https://app.example/?join=no#old");
    expect(link).toMatch(/^https:\/\/app\.example\/\?join=no#join=[A-Za-z0-9_-]+$/);
    expect(parseInviteLink(link)).toEqual(invite);
    expect(parseInviteLink(link.slice(link.indexOf("#")))).toEqual(invite);
    expect(parseInviteLink(` ${toBase64Url(encodeInvite(invite))}\n`)).toEqual(invite);
  });

  test("[W10] a damaged link is refused with a code", () => {
    const link = inviteLink(invite, "https://app.example/");
    const damaged = ["", "#join=", "hello", link.slice(0, -1), `${link}A`, `${link}=`];
    damaged.push(`#join=${"A".repeat(20_000)}`, link.replace("#join=", "#join=%"));
    const trailing = { ...genesis, bodyBytes: bytes(...bodyBytes, 0) };
    damaged.push(inviteLink({ ...invite, genesis: trailing }, "https://app.example/"));
    damaged.push(inviteLink(invite, `https://${"a".repeat(16 * 1024)}.example/`));
    const hubs = Array.from({ length: 17 }, () => "/ip4/10.0.0.1/tcp/80/ws");
    damaged.push(inviteLink({ ...invite, hubs }, "https://app.example/"));
    for (const text of damaged) {
      expect(codeOf(() => parseInviteLink(text))).toBe("ERR_INVITE_INVALID");
    }
  });

  test("[W1] base64url has one form for each length", () => {
    for (let length = 0; length < 40; length++) {
      const raw = Uint8Array.from({ length }, (_, i) => (i * 37 + length) & 0xff);
      const text = toBase64Url(raw);
      expect(text).toBe(Buffer.from(raw).toString("base64url"));
      expect(fromBase64Url(text)).toEqual(raw);
    }
    for (const stray of ["A", "AB", "AAB", "AAAAA", "A=", "A+A", "A/A", "Aä"]) {
      refused(() => fromBase64Url(stray));
    }
  });
});

/** One changeset in form only, version 2. */
function encodeRunOf(payload: Uint8Array): Uint8Array {
  const header = { ...plainHeader, payloadBytes: payload.length };
  const changeset = {
    header,
    headerBytes: encodeHeader(header),
    signature: new Uint8Array(64),
    payload,
  };
  return encodeRun({
    stream: "data",
    author: publicKey("11".repeat(32)),
    previousHash: "01".repeat(32) as typeof ZERO_HASH,
    changesets: [changeset],
  });
}
