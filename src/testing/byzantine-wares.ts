/**
 * What a Byzantine peer signs: authentic changesets of authors it made up, most of them with rows
 * that no replica would write. Remembers which of them must contribute nothing.
 *
 * @module
 */

import { ByteWriter } from "../protocol/bytes.ts";
import {
  type ChangesetHeader,
  encodeHeader,
  type SignedChangeset,
  type VerifiedChangeset,
} from "../protocol/changeset.ts";
import { encodeBroadcast, encodeRun } from "../protocol/changeset-run.ts";
import { fromHex, type HeaderHash, type MeshId, toHex, ZERO_HASH } from "../protocol/ids.ts";
import { DEPENDENCY_HASH_BYTES } from "../protocol/limits.ts";
import {
  type AuthorStream,
  authorStream,
  type ChangesetRange,
  HEAD_HASH_BYTES,
  type VectorEntry,
} from "../protocol/version-vector.ts";
import type { Random, Signer } from "../seams.ts";
import { createKeyPair } from "../signing/keys.ts";
import { payloadRoot } from "../signing/signed-bytes.ts";
import { createSigner } from "../signing/verified-changeset.ts";
import { simEd25519 } from "./sim-ed25519.ts";

interface Author {
  readonly signer: Signer;
  readonly chain: VerifiedChangeset[];
}

type HeaderChanges = Partial<Pick<ChangesetHeader, "kind" | "encoding" | "dependencies">>;

export interface Wares {
  /** An author that nobody knows yet. */
  readonly author: () => Promise<Author>;
  /**
   * Its next changeset. "nothing": its rows break a rule, or wait for ever, and so do all that
   * follow it.
   */
  readonly sign: (
    author: Author,
    payload: Uint8Array,
    contributes: "rows" | "nothing",
    changes?: HeaderChanges,
  ) => Promise<VerifiedChangeset>;
  /** Vector entries of all authors. */
  readonly entries: () => readonly VectorEntry[];
  /** What of this range was signed here; null when nothing was. */
  readonly run: (range: ChangesetRange) => Uint8Array | null;
  /** Payload roots, 64 hex digits, of changesets that contribute nothing. */
  readonly roots: ReadonlySet<string>;
}

export function createWares(mesh: MeshId, random: Random): Wares {
  const authors = new Map<AuthorStream, Author>();
  const roots = new Set<string>();
  return {
    author: async () => {
      const signer = createSigner(simEd25519, await createKeyPair(simEd25519, random.bytes(32)));
      const author: Author = { signer, chain: [] };
      authors.set(authorStream({ site: signer.siteId, stream: "data" }), author);
      return author;
    },
    sign: async ({ signer, chain }, payload, contributes, changes = {}) => {
      const version = chain.length + 1;
      const header: ChangesetHeader = {
        kind: "data",
        stream: "data",
        encoding: { type: "plain" },
        site: signer.siteId,
        version,
        publicKey: version === 1 ? signer.publicKey : null,
        payloadBytes: payload.length,
        dependencies: [],
        ...changes,
      };
      const previousHash = chain.at(-1)?.headerHash ?? ZERO_HASH;
      const signed = await signer.sign(
        { header, headerBytes: encodeHeader(header), payload, previousHash },
        mesh,
      );
      chain.push(signed);
      if (contributes === "nothing") roots.add(toHex(payloadRoot(payload)));
      return signed;
    },
    entries: () =>
      [...authors.values()].flatMap(({ signer, chain }) => {
        const head = chain.at(-1);
        return head === undefined ? [] : [entryAt(signer, head)];
      }),
    run: (range) => {
      const author = authors.get(authorStream(range));
      const changesets = author?.chain.slice(range.first - 1, range.last) ?? [];
      return author === undefined || changesets.length === 0 ? null : runOf(author, changesets);
    },
    roots,
  };
}

function entryAt({ siteId }: Signer, { header, headerHash }: VerifiedChangeset): VectorEntry {
  const headHash = headerHash.slice(0, 2 * HEAD_HASH_BYTES);
  return { site: siteId, stream: "data", floor: 0, head: header.version, headHash, beyond: [] };
}

function runOf({ signer }: Author, changesets: readonly VerifiedChangeset[]): Uint8Array {
  const previousHash = changesets[0]?.previousHash ?? ZERO_HASH;
  return encodeRun({ stream: "data", author: signer.publicKey, previousHash, changesets });
}

export const broadcastOf = (
  changeset: SignedChangeset & { readonly previousHash: HeaderHash },
): Uint8Array =>
  encodeBroadcast({
    previousHashPrefix: fromHex(changeset.previousHash).subarray(0, DEPENDENCY_HASH_BYTES),
    changeset,
  });

/** LEB128 of any size: also of numbers that no encoder of ours would write. */
function leb128(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Uint8Array.from([...bytes, Number(rest)]);
}

/** A payload with one row of table 0 and one TEXT cell in column 1, its clocks as given. */
export function rowWithClocks(
  key: Uint8Array,
  causalLength: bigint,
  columnVersion: bigint,
  text: string,
): Uint8Array {
  return new ByteWriter()
    .varint(1)
    .u8(0)
    .varint(1)
    .varint(1)
    .varint(0)
    .varint(0)
    .sized(key)
    .raw(leb128(causalLength))
    .varint(2)
    .varint(1)
    .raw(leb128(columnVersion))
    .u8(3 + 8 * text.length)
    .ascii(text)
    .finish();
}
