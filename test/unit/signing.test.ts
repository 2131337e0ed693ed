/** Rules S1 to S4, S7 and S8 of docs/PROTOCOL.md: what a signature holds together. */
import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chooseEd25519 } from "../../src/node/ed25519-webcrypto.ts";
import { encodeHeader, type SignedChangeset } from "../../src/protocol/changeset.ts";
import { type ChangesetRun, decodeRun, encodeRun } from "../../src/protocol/changeset-run.ts";
import {
  fromHex,
  headerHash,
  meshId,
  publicKey,
  toHex,
  ZERO_HASH,
} from "../../src/protocol/ids.ts";
import { CHUNK_BYTES } from "../../src/protocol/limits.ts";
import { createGenesis, verifyGenesis } from "../../src/signing/genesis.ts";
import { createKeyPair, meshIdOf, siteIdOf } from "../../src/signing/keys.ts";
import { concatBytes } from "../../src/protocol/bytes.ts";
import { chunkHash, payloadRoot, rootOfChunks } from "../../src/signing/signed-bytes.ts";
import { createSigner, verifyRun } from "../../src/signing/verified-changeset.ts";
import { createGoldenKeys, MESH, signChain } from "./golden-frames.ts";

const ed25519 = await chooseEd25519();
const keys = await createGoldenKeys();
const sha256 = (...parts: (Uint8Array | string)[]): string => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
};
const payloads = Array.from({ length: 70 }, (_, i) => new Uint8Array(i).fill(i));
const chain = await signChain(keys, payloads);
const runOf = (changesets: readonly SignedChangeset[], changes: Partial<ChangesetRun> = {}) => ({
  stream: "data" as const,
  author: keys.publicKey,
  previousHash: ZERO_HASH,
  changesets,
  ...changes,
});
const at = <Item>(items: readonly Item[], index: number): Item => {
  const item = items[index];
  if (item === undefined) throw new RangeError(`no item ${index}`);
  return item;
};
const altered = (bytes: Uint8Array, bit: number): Uint8Array => {
  const index = (bit >> 3) % bytes.length;
  return bytes.map((byte, i) => (i === index ? byte ^ (1 << (bit & 7)) : byte));
};
const refusedIn = async (changesets: SignedChangeset[], previousHash = ZERO_HASH) =>
  (await verifyRun(ed25519, runOf(changesets, { previousHash }), MESH)).refused;
const forged = (index: number) => ({ index, code: "ERR_SIGNATURE_INVALID" });
const misplaced = (index: number) => ({ index, code: "ERR_NOT_CANONICAL" });

describe("runs", () => {
  test("[S1] a run is what its author signed, however it travelled", async () => {
    const arrived = decodeRun(encodeRun(runOf(chain)));
    const { verified, refused } = await verifyRun(ed25519, arrived, MESH);
    expect(refused).toBe(null);
    expect(verified).toEqual(chain);
  });

  test("[S1] no bit of mesh, predecessor, payload, header or signature can change", async () => {
    const parts = ["mesh", "previousHash", "payload", "headerBytes", "signature"] as const;
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...parts), fc.nat(100_000), async (part, bit) => {
        const changeset = at(chain, 40);
        const previous = at(chain, 39).headerHash;
        const bytes = { ...changeset, mesh: fromHex(MESH), previousHash: fromHex(previous) };
        const damaged = { ...bytes, [part]: altered(bytes[part], bit) };
        const { mesh, previousHash, payload, headerBytes, signature } = damaged;
        const one = { ...changeset, payload, headerBytes, signature };
        const run = runOf([one], { previousHash: headerHash(previousHash) });
        const { verified, refused } = await verifyRun(ed25519, run, meshId(mesh));
        expect({ verified, refused }).toEqual({ verified: [], refused: forged(0) });
      }),
      { numRuns: 200 },
    );
  });

  test("[S2] a site id proves its key", async () => {
    expect(keys.siteId).toBe(sha256("rowmesh site 1", fromHex(keys.publicKey)).slice(0, 32));
    const other = await createKeyPair(ed25519, new Uint8Array(32).fill(0x12));
    // Signed by `other` over a header that names the victim's site.
    const stolen = await signChain({ ...other, siteId: keys.siteId }, [Uint8Array.of(1)]);
    const run = runOf(stolen, { author: other.publicKey });
    expect((await verifyRun(ed25519, run, MESH)).refused).toEqual(forged(0));
    expect(siteIdOf(other.publicKey)).not.toBe(keys.siteId);
    await expect(createKeyPair(ed25519, new Uint8Array(31))).rejects.toThrow(RangeError);
  });

  test("[S3] what precedes the first bad changeset is kept, what follows it is not judged", async () => {
    for (const index of [0, 1, 63, 64, 69]) {
      const bad = chain.map((changeset, i) =>
        i === index
          ? Object.assign({}, changeset, { signature: altered(changeset.signature, 9) })
          : changeset,
      );
      const { verified, refused } = await verifyRun(ed25519, runOf(bad), MESH);
      expect(refused).toEqual(forged(index));
      expect(verified).toEqual(chain.slice(0, index));
    }
  });

  test("[S3] the chain holds: no gap, no order but one, no beginning in the middle", async () => {
    const [one, two, three] = [at(chain, 0), at(chain, 1), at(chain, 2)];
    expect(await refusedIn([one, three])).toEqual(misplaced(1));
    expect(await refusedIn([two, one])).toEqual(misplaced(0));
    expect(await refusedIn([two])).toEqual(misplaced(0));
    expect(await refusedIn([one], two.headerHash)).toEqual(misplaced(0));
    expect(await refusedIn([two], three.headerHash)).toEqual(forged(0));
    expect(await refusedIn([two, three], one.headerHash)).toBe(null);
    // The same author's version 2 of another history: right version, wrong predecessor.
    const [, branch] = await signChain(keys, [Uint8Array.of(9), Uint8Array.of(9)]);
    expect(await refusedIn([one, at([branch], 0) as SignedChangeset])).toEqual(forged(1));
    const short = { ...one, header: { ...one.header, payloadBytes: 5 } };
    expect(await refusedIn([short])).toEqual(misplaced(0));
    expect(await refusedIn([{ ...one, header: { ...one.header, stream: "membership" } }])).toEqual(
      misplaced(0),
    );
    const keyless = { ...one, header: { ...one.header, publicKey: null } };
    expect(await refusedIn([keyless])).toEqual(misplaced(0));
  });

  test("[S8] the header hash names the message, not the signature", async () => {
    const [one] = chain;
    const message = Buffer.concat([
      Buffer.from("rowmesh changeset 1"),
      fromHex(MESH),
      fromHex(ZERO_HASH),
      payloadRoot(at(payloads, 0)),
      at(chain, 0).headerBytes,
    ]);
    expect(one?.headerHash).toBe(sha256(message));
    expect(one?.previousHash).toBe(ZERO_HASH);
    expect(at(chain, 1).previousHash).toBe(one?.headerHash);
    const key = fromHex(keys.publicKey);
    expect(await ed25519.verify(at(chain, 0).signature, message, key)).toBe(true);
  });

  test("a signer refuses what its caller got wrong", async () => {
    const signer = createSigner(ed25519, keys);
    const { header, headerBytes, payload, previousHash } = at(chain, 1);
    const right = { header, headerBytes, payload, previousHash };
    expect((await signer.sign(right, MESH)).headerHash).toBe(at(chain, 1).headerHash);
    const encoded = (changes: Partial<typeof header>) => {
      const changed = { ...header, ...changes };
      return { ...right, header: changed, headerBytes: encodeHeader(changed) };
    };
    const wrong = [
      encoded({ site: siteIdOf(publicKey("11".repeat(32))) }),
      encoded({ publicKey: keys.publicKey }),
      encoded({ payloadBytes: 2 }),
      { ...right, previousHash: ZERO_HASH },
      { ...right, headerBytes: altered(headerBytes, 30) },
    ];
    for (const changeset of wrong) {
      await expect(signer.sign(changeset, MESH)).rejects.toThrow(RangeError);
    }
  });
});

/** No two chunks alike. */
const filled = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) + 7 * (i >> 16)) & 0xff);
const whole = (payload: Uint8Array): string => sha256(Uint8Array.of(0), payload);
const listed = (payload: Uint8Array): string => {
  const hashes: Uint8Array[] = [];
  for (let offset = 0; offset < payload.length; offset += CHUNK_BYTES) {
    const chunk = payload.subarray(offset, offset + CHUNK_BYTES);
    hashes.push(fromHex(sha256(Uint8Array.of(2), chunk)));
  }
  return sha256(Uint8Array.of(1, 0, 0, 0, hashes.length), ...hashes);
};

describe("payload root", () => {
  test("[S4] one chunk is hashed whole, more as a list of chunk hashes", () => {
    for (const length of [0, 1, 1_000, CHUNK_BYTES - 1, CHUNK_BYTES]) {
      expect(toHex(payloadRoot(filled(length)))).toBe(whole(filled(length)));
    }
    for (const length of [CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 1, 1_000_000]) {
      expect(toHex(payloadRoot(filled(length)))).toBe(listed(filled(length)));
    }
    const two = filled(CHUNK_BYTES + 9);
    const hashes = [two.subarray(0, CHUNK_BYTES), two.subarray(CHUNK_BYTES)].map(chunkHash);
    expect(rootOfChunks(concatBytes(hashes))).toEqual(payloadRoot(two));
  });

  test("[S4] a large payload is held together bit by bit", async () => {
    const [large] = await signChain(keys, [filled(3 * CHUNK_BYTES - 5)]);
    if (large === undefined) throw new RangeError("one");
    expect((await verifyRun(ed25519, runOf([large]), MESH)).refused).toBe(null);
    for (const bit of [0, 8 * CHUNK_BYTES - 1, 8 * CHUNK_BYTES, 8 * large.payload.length - 1]) {
      const damaged = { ...large, payload: altered(large.payload, bit) };
      expect((await verifyRun(ed25519, runOf([damaged]), MESH)).refused).toEqual(forged(0));
    }
    const swapped = large.payload.slice();
    swapped.set(large.payload.subarray(0, CHUNK_BYTES), CHUNK_BYTES);
    swapped.set(large.payload.subarray(CHUNK_BYTES, 2 * CHUNK_BYTES), 0);
    const reordered = { ...large, payload: swapped };
    expect((await verifyRun(ed25519, runOf([reordered]), MESH)).refused).toEqual(forged(0));
  });
});

describe("genesis", () => {
  const mesh = { policy: "open", name: "herons", random: new Uint8Array(16).fill(1) } as const;

  test("[S7] the founder signs the body; the mesh id is its hash, the signature excluded", async () => {
    const genesis = await createGenesis(ed25519, keys, mesh);
    const verified = await verifyGenesis(ed25519, genesis);
    expect(verified.mesh).toBe(sha256("rowmesh mesh 1", genesis.bodyBytes));
    expect(verified.mesh).toBe(meshIdOf(genesis.bodyBytes));
    expect(verified.body).toEqual({ ...mesh, founder: keys.publicKey });
    const random = new Uint8Array(16).fill(2);
    const other = await createGenesis(ed25519, keys, { ...mesh, random });
    expect(meshIdOf(other.bodyBytes)).not.toBe(verified.mesh);
  });

  test("[S7] an altered genesis founds nothing", async () => {
    const genesis = await createGenesis(ed25519, keys, mesh);
    const length = genesis.bodyBytes.length;
    const bits = { random: 8 * 40, founder: 8 * 5, name: 8 * (length - 1), policy: 8 };
    for (const bit of Object.values(bits)) {
      const bodyBytes = altered(genesis.bodyBytes, bit);
      await expect(verifyGenesis(ed25519, { ...genesis, bodyBytes })).rejects.toThrow(
        "ERR_SIGNATURE_INVALID",
      );
    }
    const signature = altered(genesis.signature, 77);
    await expect(verifyGenesis(ed25519, { ...genesis, signature })).rejects.toThrow(
      "ERR_SIGNATURE_INVALID",
    );
    const bodyBytes = Uint8Array.of(...genesis.bodyBytes, 0);
    await expect(verifyGenesis(ed25519, { ...genesis, bodyBytes })).rejects.toThrow(
      "ERR_NOT_CANONICAL",
    );
  });

  test("[S7] a genesis signature is no changeset signature, and the other way round", async () => {
    const genesis = await createGenesis(ed25519, keys, mesh);
    const key = fromHex(keys.publicKey);
    expect(await ed25519.verify(genesis.signature, genesis.bodyBytes, key)).toBe(false);
    const signature = await ed25519.sign(genesis.bodyBytes, keys.secretKey);
    await expect(verifyGenesis(ed25519, { ...genesis, signature })).rejects.toThrow(
      "ERR_SIGNATURE_INVALID",
    );
  });
});
