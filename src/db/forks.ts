/**
 * Proofs of forks: headers that one key signed against the chain this replica follows. Kept for
 * people and for later; nothing is merged from here (docs/PROTOCOL.md, rule L4).
 *
 * @module
 */

import type { VerifiedChangeset } from "../protocol/changeset.ts";
import { fromHex, type HeaderHash, headerHash, type SiteId, siteId } from "../protocol/ids.ts";
import { CHUNK_BYTES } from "../protocol/limits.ts";
import type { Chain } from "./chains.ts";
import type { Engine } from "./engine.ts";
import { streamByteOf } from "./log.ts";

/** Two or more headers for one version, or one whose predecessor is not the one held here. */
export interface ForkProof {
  readonly siteId: SiteId;
  readonly version: number;
  /** The one this replica follows first, when it holds that version. */
  readonly headers: readonly HeaderHash[];
}

/** Per author: a proof needs two, and a cheat has no claim to our disk. */
const PROOFS_MAX = 8;

type Proof = Pick<
  VerifiedChangeset,
  "header" | "headerBytes" | "signature" | "payload" | "headerHash" | "previousHash"
>;

/** A large payload is left out. @returns whether it was kept, and new */
export function keepProof(engine: Engine, chain: Chain, proof: Proof): boolean {
  const count = engine.prepare("SELECT count(*) FROM rowmesh_fork WHERE author = ?");
  count.bindInteger(1, chain.author);
  count.step();
  const kept = count.integer(0);
  count.reset();
  if (kept >= PROOFS_MAX) return false;
  const insert = engine.prepare(
    "INSERT OR IGNORE INTO rowmesh_fork VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
  );
  insert.bindStored([
    BigInt(chain.author),
    BigInt(streamByteOf(chain.stream)),
    BigInt(proof.header.version),
    fromHex(proof.headerHash),
    fromHex(proof.previousHash),
    proof.headerBytes,
    proof.signature,
    proof.payload.length > CHUNK_BYTES ? null : proof.payload,
  ]);
  insert.run();
  return engine.changes() > 0;
}

export function readForks(engine: Engine): ForkProof[] {
  const forks = new Map<string, { siteId: SiteId; version: number; headers: HeaderHash[] }>();
  const proofs = engine.prepare(
    "SELECT a.site, f.version, f.header_hash, l.header_hash FROM rowmesh_fork f JOIN rowmesh_author a ON a.id = f.author LEFT JOIN rowmesh_log l ON l.author = f.author AND l.stream = f.stream AND l.version = f.version AND l.state <> 4 ORDER BY 1, 2",
  );
  while (proofs.step()) {
    const site = siteId(proofs.blob(0));
    const version = proofs.integer(1);
    const fork = forks.get(`${site}/${version}`) ?? { siteId: site, version, headers: [] };
    forks.set(`${site}/${version}`, fork);
    const ours = proofs.blob(3);
    if (fork.headers.length === 0 && ours.length > 0) fork.headers.push(headerHash(ours));
    fork.headers.push(headerHash(proofs.blob(2)));
  }
  return [...forks.values()];
}
