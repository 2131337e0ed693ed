/** Help, usage errors and `inspect`: what needs no hub. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeBroadcast, encodeRun } from "../../src/protocol/changeset-run.ts";
import { encodeHeader } from "../../src/protocol/changeset.ts";
import { encodeInvite, type Genesis, inviteLink } from "../../src/protocol/genesis.ts";
import { toHex, ZERO_HASH } from "../../src/protocol/ids.ts";
import { encodeMessage } from "../../src/protocol/messages.ts";
import { encodePayload } from "../../src/protocol/payload.ts";
import type { VerifiedChangeset } from "../../src/protocol/changeset.ts";
import { createNobleEd25519 } from "../../src/signing/ed25519-noble.ts";
import { createGenesis } from "../../src/signing/genesis.ts";
import { createKeyPair, meshIdOf } from "../../src/signing/keys.ts";
import { createSigner } from "../../src/signing/verified-changeset.ts";
import { type Ended, runCli } from "./run-cli.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "rowmesh-cli-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const inspect = async (bytes: Uint8Array, ...args: string[]): Promise<Ended> => {
  const path = join(folder, "bytes");
  writeFileSync(path, bytes);
  return runCli(["inspect", ...args, path]);
};
const said = ({ code, stdout, stderr }: Ended): unknown => {
  expect([code, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout);
};

describe("help", () => {
  test.each([
    [["--help"], "usage: rowmesh <command>"],
    [["hub", "--help"], "usage: rowmesh hub"],
    [["status", "-h"], "usage: rowmesh status"],
    [["doctor", "--help"], "usage: rowmesh doctor"],
    [["export", "--help"], "usage: rowmesh export"],
    [["import", "-h"], "usage: rowmesh import"],
    [["inspect", "--help"], "usage: rowmesh inspect"],
  ])("%j is printed on stdout", async (args, text) => {
    const { code, stdout, stderr } = await runCli(args);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toContain(text);
    expect(stdout).toContain("exit codes: 0");
  });

  test("the version is the package's", async () => {
    const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
    expect(await runCli(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
  });
});

describe("a wrong command line ends with 2, one line on stderr, and nothing started", () => {
  test.each([
    [["fly"], 'no command "fly"'],
    [["hub", "--port", "70000"], "--port must be 0 to 65533, not 70000"],
    [["hub", "--port", "-1"], "--port"],
    [["hub", "--port", "http"], "--port must be 0 to 65533, not http"],
    [["hub", "--host", "localhost"], "--host localhost is no IP address"],
    [["hub", "--site", "/nonexistent"], "--site /nonexistent is no directory"],
    [["hub", "--site", "src"], "--site src has no index.html"],
    [["hub", "--name", ""], "--name must be 1 to 128 bytes"],
    [["hub", "--name", "n".repeat(129)], "--name must be 1 to 128 bytes"],
    [["hub", "--json", "--quiet"], "--json and --quiet exclude each other"],
    [["hub", "--fly"], "'--fly'"],
    [["hub", "extra"], "'extra'"],
    [["hub", "--data", ""], "--data needs a directory"],
    [["status", "--data"], "--data"],
    [["hub", "--join", ""], "--join needs a link"],
    [["doctor", "http://hub.example/"], "hub.example is no address or name of the LAN"],
    [["doctor", "nonsense"], "nonsense is no URL"],
    [["export"], "name one file"],
    [["export", "a", "b"], "name one file"],
    [["import"], "name the files"],
    [["import", "--fly", "a"], "'--fly'"],
    [["inspect"], "name one file"],
    [["inspect", "a", "b"], "name one file"],
    [["inspect", "--as", "novel", "-"], "--as must be one of frame, run"],
  ])("%j", async (args, text) => {
    const { code, stdout, stderr } = await runCli(args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(text);
    expect(stderr).toContain("--help");
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  });

  test("no command at all: the help, on stderr", async () => {
    const { code, stdout, stderr } = await runCli([]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain("usage: rowmesh <command>");
  });
});

describe("inspect", () => {
  const ed25519 = createNobleEd25519({ pause: () => Promise.resolve() });
  let genesis: Genesis;
  let changeset: VerifiedChangeset;

  beforeAll(async () => {
    const keys = await createKeyPair(ed25519, new Uint8Array(32).fill(7));
    genesis = await createGenesis(ed25519, keys, {
      policy: "open",
      random: new Uint8Array(16),
      name: "field",
    });
    const payload = encodePayload({
      schemaVersion: 1,
      schemaHash: null,
      wallClockMs: 0,
      tables: [
        {
          table: 0,
          rows: [
            {
              primaryKey: Uint8Array.of(1, 0x09, 5),
              causalLength: 1,
              sentinel: false,
              cells: [
                { column: 1, columnVersion: 1, value: 5n },
                { column: 2, columnVersion: 1, value: 5 },
                { column: 3, columnVersion: 1, value: "heron" },
                { column: 4, columnVersion: 1, value: Uint8Array.of(255) },
                { column: 5, columnVersion: 1, value: null },
                { column: 6, columnVersion: 1, value: -Infinity },
              ],
            },
          ],
        },
      ],
    });
    const header = {
      kind: "data",
      stream: "data",
      encoding: { type: "plain" },
      site: keys.siteId,
      version: 1,
      publicKey: keys.publicKey,
      payloadBytes: payload.length,
      dependencies: [],
    } as const;
    changeset = await createSigner(ed25519, keys).sign(
      { header, headerBytes: encodeHeader(header), payload, previousHash: ZERO_HASH },
      meshIdOf(genesis.bodyBytes),
    );
  });

  const run = (): Uint8Array =>
    encodeRun({
      stream: "data",
      author: changeset.author,
      previousHash: ZERO_HASH,
      changesets: [changeset],
    });
  const link = (): string => inviteLink({ genesis, hubs: ["/ip4/10.0.0.1/tcp/1"] }, "http://h/");

  test("a run, with every storage class apart", async () => {
    expect(said(await inspect(run()))).toMatchObject({
      kind: "run",
      author: changeset.author,
      changesets: [
        {
          header: { version: 1, site: changeset.header.site },
          payload: {
            tables: [
              {
                rows: [
                  {
                    primaryKey: "010905",
                    cells: [
                      { class: "INTEGER", value: "5" },
                      { class: "REAL", value: "5" },
                      { class: "TEXT", value: "heron" },
                      { class: "BLOB", value: "ff" },
                      { class: "NULL", value: null },
                      { class: "REAL", value: "-Infinity" },
                    ],
                  },
                ],
              },
            ],
          },
        },
      ],
    });
  });

  test("a run is verified for a mesh, and refused for another", async () => {
    const verified = await inspect(run(), "--mesh", link());
    expect(said(verified)).toMatchObject({ verified: [changeset.headerHash] });
    const refused = await inspect(run(), "--mesh", "00".repeat(32));
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("ERR_SIGNATURE_INVALID");
  });

  test("frames, broadcasts, headers and payloads", async () => {
    const served = encodeMessage({ type: "served", want: 3, complete: true });
    expect(said(await inspect(served))).toEqual({
      kind: "frame",
      bytes: 3,
      message: { type: "served", want: 3, complete: true },
    });
    const frame = encodeMessage({ type: "run", want: 1, run: run() });
    expect(said(await inspect(frame))).toMatchObject({
      kind: "frame",
      message: { run: { author: changeset.author } },
    });
    const previousHashPrefix = new Uint8Array(8);
    const broadcast = encodeBroadcast({ previousHashPrefix, changeset });
    expect(said(await inspect(broadcast))).toMatchObject({ kind: "broadcast" });
    const header = await inspect(changeset.headerBytes, "--as", "header");
    expect(said(header)).toMatchObject({ kind: "header", header: { version: 1 } });
    const payload = await inspect(changeset.payload, "--as", "payload");
    expect(said(payload)).toMatchObject({ wallClock: "1970-01-01T00:00:00.000Z" });
  });

  test("a join link as an argument, in a file, on stdin, as hex and as bytes", async () => {
    const says = {
      kind: "invite",
      mesh: meshIdOf(genesis.bodyBytes),
      name: "field",
      policy: "open",
      hubs: ["/ip4/10.0.0.1/tcp/1"],
    };
    const bytes = encodeInvite({ genesis, hubs: says.hubs });
    expect(said(await runCli(["inspect", link()]))).toMatchObject(says);
    expect(said(await inspect(Buffer.from(`${link()}\n`)))).toMatchObject(says);
    expect(said(await runCli(["inspect", "-"], Buffer.from(toHex(bytes))))).toMatchObject(says);
    expect(said(await runCli(["inspect", "-"], bytes))).toMatchObject(says);
  });

  test("a genesis that its founder did not sign is shown and refused", async () => {
    const forged = { ...genesis, signature: new Uint8Array(64) };
    const { code, stdout, stderr } = await inspect(encodeInvite({ genesis: forged, hubs: [] }));
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ name: "field" });
    expect(stderr).toContain("ERR_SIGNATURE_INVALID");
  });

  test("damaged bytes are refused with a code, and print nothing", async () => {
    const damaged = run().subarray(0, -1);
    const named = await inspect(damaged, "--as", "run");
    expect([named.code, named.stdout]).toEqual([1, ""]);
    expect(named.stderr).toContain("run: ERR_NOT_CANONICAL");
    const unnamed = await inspect(Uint8Array.of(255, 254, 0));
    expect([unnamed.code, unnamed.stdout]).toEqual([1, ""]);
    expect(unnamed.stderr).toContain("frame: ERR_NOT_CANONICAL");
    expect((await inspect(new Uint8Array())).code).toBe(1);
    expect((await runCli(["inspect", "#join=????"])).code).toBe(1);
    expect((await runCli(["inspect", join(folder, "absent")])).stderr).toContain("ENOENT");
  });
});
