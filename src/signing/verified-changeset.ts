/**
 * Making and checking signed changesets. The only place that makes a {@link VerifiedChangeset}:
 * who holds one knows that its author's key signed exactly these bytes for exactly this mesh after
 * exactly this predecessor (P2; rules S1 to S6 of docs/PROTOCOL.md).
 *
 * @module
 */

import { equalBytes } from "../protocol/bytes.ts";
import {
  type ChangesetHeader,
  encodeHeader,
  type UnsignedChangeset,
  type UnsignedOutline,
  type VerifiedChangeset,
  type VerifiedOutline,
} from "../protocol/changeset.ts";
import type { ChangesetRun } from "../protocol/changeset-run.ts";
import type { MeshErrorCode } from "../protocol/errors.ts";
import { fromHex, HASH_BYTES, type HeaderHash, type MeshId, ZERO_HASH } from "../protocol/ids.ts";
import { chunkCount, type ChangesetOutline } from "../protocol/outline.ts";
import type { Signer } from "../seams.ts";
import type { Ed25519 } from "./ed25519.ts";
import { type KeyPair, siteIdOf } from "./keys.ts";
import {
  chunkHash,
  chunkHashes,
  headerHashOf,
  payloadRoot,
  rootOfChunks,
  signedMessage,
} from "./signed-bytes.ts";

/** The changesets before the first bad one, and what is wrong with that one. */
export interface VerifiedRun {
  /** In order; all of the run when `refused` is null. Views into the run's bytes, not copies. */
  readonly verified: readonly VerifiedChangeset[];
  /** Never valid, here or anywhere. What follows it in the run was not judged. */
  readonly refused: { readonly index: number; readonly code: MeshErrorCode } | null;
}

/**
 * Signatures checked at once: enough to keep WebCrypto's threads busy, few enough that a run of
 * forgeries costs its receiver one batch.
 */
const BATCH = 64;

export function createSigner(ed25519: Ed25519, keys: KeyPair): Signer {
  return {
    publicKey: keys.publicKey,
    siteId: keys.siteId,
    chunkHash,
    sign: async (changeset, mesh) => {
      const { header, payload } = changeset;
      if (header.payloadBytes !== payload.length) throw new RangeError("payload size");
      const hashes = chunkHashes(payload);
      const root = hashes === null ? payloadRoot(payload) : rootOfChunks(hashes);
      return { ...(await signRoot(changeset, mesh, root)), payload, chunkHashes: hashes };
    },
    signOutline: async (outline, mesh) => {
      const { header, chunkHashes: hashes } = outline;
      if (HASH_BYTES * chunkCount(header.payloadBytes) !== hashes.length) {
        throw new RangeError("chunk hashes");
      }
      const signed = await signRoot(outline, mesh, rootOfChunks(hashes));
      return { ...signed, chunkHashes: hashes };
    },
  };

  async function signRoot(
    { header, headerBytes, previousHash }: SignedHeader,
    mesh: MeshId,
    root: Uint8Array,
  ): Promise<Omit<VerifiedOutline, "chunkHashes">> {
    assertOwn({ header, headerBytes, previousHash }, keys);
    const message = signedMessage(mesh, previousHash, root, headerBytes);
    const signature = await ed25519.sign(message, keys.secretKey);
    return {
      header,
      headerBytes,
      previousHash,
      signature,
      author: keys.publicKey,
      mesh,
      headerHash: headerHashOf(message),
      __verified: true,
    };
  }
}

type SignedHeader = Omit<UnsignedChangeset, "payload"> | Omit<UnsignedOutline, "chunkHashes">;

/** Our own bugs: nothing a peer sends comes here. */
function assertOwn({ header, headerBytes, previousHash }: SignedHeader, keys: KeyPair): void {
  const first = header.version === 1;
  if (header.site !== keys.siteId) throw new RangeError("another author's changeset");
  if (header.publicKey !== (first ? keys.publicKey : null)) throw new RangeError("public key");
  if ((previousHash === ZERO_HASH) !== first) throw new RangeError("previous hash");
  if (!equalBytes(headerBytes, encodeHeader(header))) throw new RangeError("header bytes");
}

/**
 * Checks a run's changesets in order: the key makes the site id, versions and hashes chain, sizes
 * agree, signatures hold. To check a broadcast make a run of one, with the author's key and the
 * previous hash from the log. Rejects only when the machine fails, never because of the bytes.
 */
export async function verifyRun(
  ed25519: Ed25519,
  run: ChangesetRun,
  mesh: MeshId,
): Promise<VerifiedRun> {
  const key = fromHex(run.author);
  const site = siteIdOf(run.author);
  const verified: VerifiedChangeset[] = [];
  let previousHash = run.previousHash;
  let version = run.changesets[0]?.header.version ?? 0;
  for (let start = 0; start < run.changesets.length; start += BATCH) {
    const batch: { readonly changeset: VerifiedChangeset; readonly valid: Promise<boolean> }[] = [];
    let fault: MeshErrorCode | null = null;
    for (const changeset of run.changesets.slice(start, start + BATCH)) {
      fault = faultOf(changeset.header, run, previousHash, version);
      if (changeset.header.site !== site) fault ??= "ERR_SIGNATURE_INVALID";
      if (changeset.header.payloadBytes !== changeset.payload.length) fault ??= "ERR_NOT_CANONICAL";
      if (fault !== null) break;
      const hashes = chunkHashes(changeset.payload);
      const root = hashes === null ? payloadRoot(changeset.payload) : rootOfChunks(hashes);
      const message = signedMessage(mesh, previousHash, root, changeset.headerBytes);
      const hash = headerHashOf(message);
      const { author } = run;
      batch.push({
        changeset: {
          ...changeset,
          chunkHashes: hashes,
          author,
          mesh,
          previousHash,
          headerHash: hash,
          __verified: true,
        },
        valid: ed25519.verify(changeset.signature, message, key),
      });
      previousHash = hash;
      version++;
    }
    const verdicts = await Promise.all(batch.map(({ valid }) => valid));
    const bad = verdicts.indexOf(false);
    const good = bad < 0 ? batch : batch.slice(0, bad);
    verified.push(...good.map(({ changeset }) => changeset));
    if (bad >= 0) fault = "ERR_SIGNATURE_INVALID";
    if (fault !== null) return { verified, refused: { index: verified.length, code: fault } };
  }
  return { verified, refused: null };
}

/**
 * The same for a changeset whose payload is not here: whatever chunks have the hashes of its list are
 * its own. Null when it is not what it says. Rejects only when the machine fails.
 */
export async function verifyOutline(
  ed25519: Ed25519,
  outline: ChangesetOutline,
  mesh: MeshId,
): Promise<VerifiedOutline | null> {
  const { header, headerBytes, signature, chunkHashes: hashes, author, previousHash } = outline;
  if (header.site !== siteIdOf(author)) return null;
  const message = signedMessage(mesh, previousHash, rootOfChunks(hashes), headerBytes);
  if (!(await ed25519.verify(signature, message, fromHex(author)))) return null;
  const headerHash = headerHashOf(message);
  return {
    header,
    headerBytes,
    signature,
    chunkHashes: hashes,
    author,
    mesh,
    previousHash,
    headerHash,
    __verified: true,
  };
}

/** What a header may not say at this place of this run, whoever signed it. */
function faultOf(
  header: ChangesetHeader,
  run: ChangesetRun,
  previousHash: HeaderHash,
  version: number,
): MeshErrorCode | null {
  const first = header.version === 1;
  if (header.stream !== run.stream || header.version !== version) return "ERR_NOT_CANONICAL";
  if (header.publicKey !== (first ? run.author : null)) return "ERR_NOT_CANONICAL";
  if ((previousHash === ZERO_HASH) !== first) return "ERR_NOT_CANONICAL";
  return null;
}
