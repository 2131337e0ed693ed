/**
 * What the log holds, per author and stream, in memory: contiguous head, what lies beyond a gap,
 * how far it is settled, and who waits for whom. Costs the number of authors, not of changesets.
 *
 * The *frontier* is the set of maximal settled versions: settled heads that no other author's
 * settled changeset depends on (docs/PROTOCOL.md, rule L9).
 *
 * @module
 */

import type { Dependency, Stream } from "../protocol/changeset.ts";
import {
  fromHex,
  HASH_BYTES,
  type HeaderHash,
  headerHash,
  type PublicKey,
  publicKey,
  type SiteId,
  siteId,
  ZERO_HASH,
} from "../protocol/ids.ts";
import { BEYOND_CHANGESETS_MAX, BEYOND_RANGES_MAX } from "../protocol/limits.ts";
import {
  type AuthorStream,
  authorStream,
  HEAD_HASH_BYTES,
  type VectorEntry,
  type VersionRange,
} from "../protocol/version-vector.ts";
import type { Engine } from "./engine.ts";

export interface Chain {
  /** `rowmesh_author.id` */
  readonly author: number;
  readonly site: SiteId;
  readonly key: PublicKey;
  readonly stream: Stream;
  /** The highest version without a gap before it; 0 when none. */
  head: number;
  headHash: HeaderHash;
  /** The highest version that is merged or void. */
  settled: number;
  settledHash: HeaderHash;
  /** The highest of its versions that another author's settled changeset depends on. */
  listed: number;
  /** Of the own chain: changesets up to here are known to others, or may be. */
  released: number;
  /** Held beyond the gap after `head`: ascending, disjoint, apart. */
  beyond: VersionRange[];
}

export interface Chains {
  readonly all: () => IterableIterator<Chain>;
  readonly count: () => number;
  readonly get: (site: SiteId, stream: Stream) => Chain | undefined;
  /** The author is known to the log from then on. */
  readonly add: (engine: Engine, site: SiteId, key: PublicKey, stream: Stream) => Chain;
  readonly authorOf: (site: SiteId) => PublicKey | null;
  /** To be called after every change of a chain: its vector entry is new, and it is to be saved. */
  readonly touch: (chain: Chain) => void;
  /** Writes the touched chains, into the transaction that is open. */
  readonly save: (engine: Engine) => void;
  /** The entries touched since the last call. */
  readonly takeChanged: () => VectorEntry[];
  readonly vector: () => readonly VectorEntry[];
  /** Marks the next version as settled, with the causes it names. */
  readonly settle: (chain: Chain, hash: HeaderHash, dependencies: readonly Dependency[]) => void;
  /** Maximal settled versions of others than `self`, ascending by site. */
  readonly frontier: (self: SiteId) => Dependency[];
}

const streamByte = (stream: Stream): number => (stream === "data" ? 0 : 1);

/**
 * Reads them from the file. `released` is the own chain's watermark: what lies above it is known to
 * nobody else, so a vector does not claim it.
 */
export function loadChains(engine: Engine, own: SiteId, released: () => OwnHead): Chains {
  const byKey = new Map<AuthorStream, Chain>();
  const authors = new Map<SiteId, { readonly id: number; readonly key: PublicKey }>();
  const unsaved = new Set<Chain>();
  const changed = new Set<Chain>();
  const frontier = new Set<Chain>();
  const entries = new Map<Chain, VectorEntry>();

  const known = engine.prepare("SELECT id, site, public_key FROM rowmesh_author");
  while (known.step()) {
    authors.set(siteId(known.blob(1)), { id: known.integer(0), key: publicKey(known.blob(2)) });
  }
  for (const chain of readChains(engine, authors)) {
    byKey.set(authorStream(chain), chain);
    if (chain.stream === "data" && chain.settled > chain.listed) frontier.add(chain);
  }

  const entryOf = (chain: Chain): VectorEntry => {
    const kept = entries.get(chain);
    if (kept !== undefined) return kept;
    const head = chain.site === own && chain.stream === "data" ? released() : chain;
    const entry: VectorEntry = {
      site: chain.site,
      stream: chain.stream,
      floor: 0,
      head: head.head,
      headHash: head.headHash.slice(0, 2 * HEAD_HASH_BYTES),
      beyond: [...chain.beyond],
    };
    entries.set(chain, entry);
    return entry;
  };
  const touch = (chain: Chain): void => {
    unsaved.add(chain);
    changed.add(chain);
    entries.delete(chain);
  };

  return {
    all: () => byKey.values(),
    count: () => byKey.size,
    get: (site, stream) => byKey.get(authorStream({ site, stream })),
    authorOf: (site) => authors.get(site)?.key ?? null,
    add: (into, site, key, stream) => {
      const author = authors.get(site) ?? { id: addAuthor(into, site, key), key };
      authors.set(site, author);
      const chain = newChain(author.id, site, key, stream);
      byKey.set(authorStream(chain), chain);
      return chain;
    },
    touch,
    save: (into) => {
      for (const chain of unsaved) saveChain(into, chain);
      unsaved.clear();
    },
    takeChanged: () => {
      const list = [...changed].map(entryOf);
      changed.clear();
      return list;
    },
    vector: () =>
      [...byKey.values()].map(entryOf).filter(({ head, beyond }) => head > 0 || beyond.length > 0),
    settle: (chain, hash, dependencies) => {
      chain.settled++;
      chain.settledHash = hash;
      touch(chain);
      if (chain.stream !== "data") return;
      for (const { site, version } of dependencies) {
        const cause = byKey.get(authorStream({ site, stream: "data" }));
        if (cause === undefined || cause.listed >= version) continue;
        cause.listed = version;
        unsaved.add(cause);
        if (cause.settled <= version) frontier.delete(cause);
      }
      if (chain.settled > chain.listed) frontier.add(chain);
    },
    frontier: (self) =>
      [...frontier]
        .filter(({ site }) => site !== self)
        .sort((a, b) => (a.site < b.site ? -1 : 1))
        .map(({ site, settled, settledHash }) => ({
          site,
          version: settled,
          hashPrefix: fromHex(settledHash.slice(0, 16)),
        })),
  };
}

export interface OwnHead {
  readonly head: number;
  readonly headHash: HeaderHash;
}

/** Whether one more version fits beyond the gap: bounded in number and in ranges. */
export function addBeyond(chain: Chain, version: number): "added" | "full" {
  const { beyond } = chain;
  const count = beyond.reduce((sum, { first, last }) => sum + last - first + 1, 0);
  if (count >= BEYOND_CHANGESETS_MAX) return "full";
  let at = beyond.length;
  while (at > 0 && (beyond[at - 1] as VersionRange).first > version) at--;
  const before = beyond[at - 1];
  const after = beyond[at];
  const joinsBefore = before !== undefined && before.last + 1 === version;
  const joinsAfter = after !== undefined && after.first - 1 === version;
  if (!joinsBefore && !joinsAfter && beyond.length >= BEYOND_RANGES_MAX) return "full";
  const first = joinsBefore ? before.first : version;
  const last = joinsAfter ? after.last : version;
  const start = joinsBefore ? at - 1 : at;
  beyond.splice(start, (joinsBefore ? 1 : 0) + (joinsAfter ? 1 : 0), { first, last });
  return "added";
}

export const isBeyond = (chain: Chain, version: number): boolean =>
  chain.beyond.some(({ first, last }) => first <= version && version <= last);

/** Takes the first version off, which closed the gap. */
export function takeBeyond(chain: Chain): void {
  const [range] = chain.beyond;
  if (range === undefined) return;
  if (range.first === range.last) chain.beyond.shift();
  else chain.beyond[0] = { first: range.first + 1, last: range.last };
}

const newChain = (author: number, site: SiteId, key: PublicKey, stream: Stream): Chain => ({
  author,
  site,
  key,
  stream,
  head: 0,
  headHash: ZERO_HASH,
  settled: 0,
  settledHash: ZERO_HASH,
  listed: 0,
  released: 0,
  beyond: [],
});

function addAuthor(engine: Engine, site: SiteId, key: PublicKey): number {
  const insert = engine.prepare(
    "INSERT INTO rowmesh_author (site, public_key) VALUES (?, ?) RETURNING id",
  );
  insert.bindStored([fromHex(site), fromHex(key)]);
  insert.step();
  const id = insert.integer(0);
  insert.reset();
  return id;
}

function saveChain(engine: Engine, chain: Chain): void {
  const save = engine.prepare(
    "INSERT OR REPLACE INTO rowmesh_chain VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
  );
  save.bindInteger(1, chain.author);
  save.bindInteger(2, streamByte(chain.stream));
  save.bindInteger(3, chain.head);
  save.bindBlob(4, fromHex(chain.headHash));
  save.bindInteger(5, chain.settled);
  save.bindBlob(6, fromHex(chain.settledHash));
  save.bindInteger(7, chain.listed);
  save.bindInteger(8, chain.released);
  save.run();
}

function readChains(
  engine: Engine,
  authors: ReadonlyMap<SiteId, { readonly id: number; readonly key: PublicKey }>,
): Chain[] {
  const byId = new Map([...authors].map(([site, { id, key }]) => [id, { site, key }]));
  const chains: Chain[] = [];
  const rows = engine.prepare("SELECT * FROM rowmesh_chain");
  while (rows.step()) {
    const author = byId.get(rows.integer(0));
    if (author === undefined) continue;
    const stream = rows.integer(1) === 0 ? "data" : "membership";
    const chain = newChain(rows.integer(0), author.site, author.key, stream);
    chain.head = rows.integer(2);
    chain.headHash = hashAt(rows.blob(3));
    chain.settled = rows.integer(4);
    chain.settledHash = hashAt(rows.blob(5));
    chain.listed = rows.integer(6);
    chain.released = rows.integer(7);
    chains.push(chain);
  }
  const beyond = engine.prepare(
    "SELECT version FROM rowmesh_log WHERE author = ? AND stream = ? AND version > ? AND state <> 4 ORDER BY version",
  );
  for (const chain of chains) {
    beyond.bindStored([BigInt(chain.author), BigInt(streamByte(chain.stream)), BigInt(chain.head)]);
    while (beyond.step()) addBeyond(chain, beyond.integer(0));
  }
  return chains;
}

const hashAt = (bytes: Uint8Array): HeaderHash =>
  headerHash(bytes.length === HASH_BYTES ? bytes : ZERO_HASH);
