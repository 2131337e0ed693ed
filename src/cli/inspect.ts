/**
 * `rowmesh inspect`: shows what some bytes say, as JSON, for whoever debugs a mesh. The bytes pass
 * through the decoders that a peer's bytes pass through, so what they refuse is refused here.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { buffer } from "node:stream/consumers";
import { parseArgs } from "node:util";
import { isMeshError, MeshError, type MeshErrorCode } from "../protocol/errors.ts";
import { fromBase64Url } from "../protocol/genesis.ts";
import { fromHex, type MeshId, meshId } from "../protocol/ids.ts";
import { parseInviteLink } from "../protocol/genesis.ts";
import { meshIdOf } from "../signing/keys.ts";
import {
  type Command,
  CommandError,
  complain,
  EXIT_FAILURE,
  EXIT_OK,
  print,
  UsageError,
} from "./command.ts";
import { INSPECTORS, type InspectedKind } from "./inspectors.ts";

const KINDS = Object.keys(INSPECTORS) as InspectedKind[];

/** Two of the largest runs. */
const INPUT_BYTES_MAX = 128 * 1024 * 1024;

export const inspectCommand: Command = {
  help: `usage: rowmesh inspect [--as KIND] [--mesh LINK] FILE
       rowmesh inspect [--as KIND] [--mesh LINK] -        (stdin)
       rowmesh inspect LINK                              (a join link)

Decodes bytes, hex, or base64url, and prints what they say as JSON. Integers and clocks beyond
2^53 and all INTEGER values are printed as text, bytes as hex.

  --as KIND     ${KINDS.join(", ")};
                default: the first of them that the bytes are
  --mesh LINK   a join link or mesh id (hex): also checks the signatures of a run

exit codes: 0 decoded (and verified), 1 refused (stderr names the code), 2 wrong command line`,
  run: async (args) => {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { as: { type: "string" }, mesh: { type: "string" } },
      allowPositionals: true,
      strict: true,
    });
    const [source] = positionals;
    if (source === undefined || positionals.length > 1) {
      throw new UsageError("name one file, one join link, or - for stdin");
    }
    const kinds = values.as === undefined ? KINDS : [kindOf(values.as)];
    const mesh = values.mesh === undefined ? null : meshOf(values.mesh);
    return inspect(await readSource(source), kinds, mesh);
  },
};

async function inspect(
  bytes: Uint8Array,
  kinds: readonly InspectedKind[],
  mesh: MeshId | null,
): Promise<number> {
  const refusals: { readonly kind: InspectedKind; readonly code: MeshErrorCode }[] = [];
  for (const kind of kinds) {
    try {
      const { says, refused } = await INSPECTORS[kind](bytes, mesh);
      print(JSON.stringify({ kind, bytes: bytes.length, ...says }, null, 2));
      if (refused === null) return EXIT_OK;
      complain(`rowmesh inspect: ${new MeshError(refused, kind).message}`);
      return EXIT_FAILURE;
    } catch (error) {
      if (!isMeshError(error)) throw error;
      refusals.push({ kind, code: error.code });
    }
  }
  const reasons = refusals.map(({ kind, code }) => `${kind}: ${code}`).join(", ");
  throw new CommandError(`refused, ${bytes.length} bytes (${reasons})`);
}

function kindOf(name: string): InspectedKind {
  const kind = KINDS.find((candidate) => candidate === name);
  if (kind === undefined) throw new UsageError(`--as must be one of ${KINDS.join(", ")}`);
  return kind;
}

/** @throws MeshError ERR_INVITE_INVALID */
const meshOf = (text: string): MeshId =>
  /^[0-9a-f]{64}$/.test(text) ? meshId(text) : meshIdOf(parseInviteLink(text).genesis.bodyBytes);

async function readSource(source: string): Promise<Uint8Array> {
  if (source.includes("#join=")) return bytesOfText(source) ?? new Uint8Array();
  const bytes = source === "-" ? await buffer(process.stdin) : readFile(source);
  if (bytes.length > INPUT_BYTES_MAX) {
    throw new CommandError(`${source} is larger than any rowmesh bytes (${bytes.length} bytes).`);
  }
  const isText = bytes.every((byte) => byte === 10 || byte === 13 || (byte >= 32 && byte < 127));
  return (isText ? bytesOfText(bytes.toString("latin1")) : null) ?? bytes;
}

function readFile(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new CommandError(`cannot read ${path} (${(error as NodeJS.ErrnoException).code}).`);
  }
}

/** Bytes that were written down: a join link, hex, or base64url. Null: it is none of these. */
function bytesOfText(text: string): Uint8Array | null {
  const code = text.trim().replace(/^.*#join=/s, "");
  try {
    return code.length % 2 === 0 && /^[0-9a-f]+$/.test(code) ? fromHex(code) : fromBase64Url(code);
  } catch {
    return null;
  }
}
