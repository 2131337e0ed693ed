/**
 * What the log holds, per author and stream, in memory: contiguous head, what lies beyond a gap,
 * how far it is settled, and who waits for whom. Costs the number of authors, not of changesets.
 *
 * The *frontier* is the set of maximal settled versions: settled heads that no other author's
 * settled changeset depends on (docs/PROTOCOL.md, rule L9).
 *
 * @module
 */

import { compareDependencies, type Dependency, type Stream } from "../protocol/changeset.ts";
import {
  fromHex,
  HASH_BYTES,
  type HeaderHash,
  headerHash,
  type PublicKey,
  publicKey,
  type SiteId,
  siteId,
  toHex,
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
import { readHash } from "./log.ts";

export interface Chain {
  /** `rowmesh_author.id` */
  readonly author: number;
  readonly site: SiteId;
  readonly key: PublicKey;
  readonly stream: Stream;
  /** 32 hex digits of its first header hash; empty for the author's main chain. */
  readonly branch: string;
  /** The version after which it leaves another chain of its author; 0 for a main chain. */
  readonly base: number;
  readonly baseHash: HeaderHash;
  /** The highest version without a gap before it; `base` when none. */
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
  /** The author's main chain, or one of its branches. */
  readonly get: (site: SiteId, stream: Stream, branch?: string) => Chain | undefined;
  /** All chains of an author, the main one first. */
  readonly of: (site: SiteId, stream: Stream) => readonly Chain[];
  /** The chain that holds a changeset, also beyond a gap. */
  readonly find: (
    site: SiteId,
    stream: Stream,
    version: number,
    hashPrefix: string,
  ) => Chain | undefined;
  /** Where this replica writes. */
  readonly own: () => Chain | undefined;
  readonly moveOwn: (chain: Chain) => void;
  /** The author is known to the log from then on. */
  readonly add: (engine: Engine, site: SiteId, key: PublicKey, stream: Stream) => Chain;
  /** A branch that leaves another chain after `base`. */
  readonly addBranch: (engine: Engine, from: Chain, branch: string, base: OwnHead) => Chain;
  readonly authorOf: (site: SiteId) => PublicKey | null;
  /** To be called after every change of a chain: its vector entry is new, and it is to be saved. */
  readonly touch: (chain: Chain) => void;
  /** How often one of an author's chains was touched since they were read. */
  readonly touches: (site: SiteId, stream: Stream) => number;
  /** Writes the touched chains, into the transaction that is open. */
  readonly save: (engine: Engine) => void;
  /** The entries touched since the last call. */
  readonly takeChanged: () => VectorEntry[];
  readonly vector: () => readonly VectorEntry[];
  /** Marks the next version as settled, with the causes it names. */
  readonly settle: (chain: Chain, hash: HeaderHash, dependencies: readonly Dependency[]) => void;
  /** After a chain's versions were moved to a branch. */
  readonly moved: (chain: Chain) => void;
  /** Maximal settled versions of all chains but the own one, in a header's order. */
  readonly frontier: () => Dependency[];
}

const streamByte = (stream: Stream): number => (stream === "data" ? 0 : 1);

/**
 * Reads them from the file. `ownAuthor` is the `rowmesh_author.id` of the chain that this replica
 * writes; `released` is the own chain's watermark: what lies above it is known to
 * nobody else, so a vector does not claim it.
 */
export function loadChains(engine: Engine, ownAuthor: number, released: () => OwnHead): Chains {
  let own: Chain | undefined;
  const byKey = new Map<AuthorStream, Chain>();
  const byMain = new Map<AuthorStream, Chain[]>();
  const branchByAuthor = new Map<number, Chain>();
  const authors = new Map<SiteId, Author>();
  const unsaved = new Set<Chain>();
  const changed = new Set<Chain>();
  const frontier = new Set<Chain>();
  const entries = new Map<Chain, VectorEntry>();
  const touches = new Map<AuthorStream, number>();

  const known = readAuthors(engine);
  for (const author of known) if (author.branch === "") authors.set(author.site, author);
  const put = (chain: Chain): Chain => {
    const main = authorStream({ site: chain.site, stream: chain.stream });
    byKey.set(keyOf(chain), chain);
    const chains = byMain.get(main) ?? [];
    byMain.set(main, chains);
    if (chain.branch === "") chains.unshift(chain);
    else {
      chains.push(chain);
      branchByAuthor.set(chain.author, chain);
    }
    if (chain.author === ownAuthor && chain.stream === "data") own = chain;
    return chain;
  };
  const place = (chain: Chain): void => {
    if (chain.stream === "data" && chain.settled > chain.listed) frontier.add(chain);
    else frontier.delete(chain);
  };
  for (const chain of readChains(engine, known)) place(put(chain));

  /** However many branches there are: the main chain is looked at, and an index of all branches. */
  const find: Chains["find"] = (site, stream, version, hashPrefix) => {
    const [main, branch] = byMain.get(authorStream({ site, stream })) ?? [];
    if (main === undefined) return undefined;
    const isThere = version > main.base && (version <= main.head || isBeyond(main, version));
    const hash = isThere ? readHash(engine, main, version) : null;
    if (hash?.startsWith(hashPrefix) === true) return main;
    if (branch === undefined) return undefined;
    return findBranch(engine, hashPrefix, version)
      .flatMap((author) => branchByAuthor.get(author) ?? [])
      .find((chain) => chain.site === site && chain.stream === stream);
  };

  const entryOf = (chain: Chain): VectorEntry => {
    const kept = entries.get(chain);
    if (kept !== undefined) return kept;
    const head = chain === own ? released() : chain;
    const entry: VectorEntry = {
      site: chain.site,
      stream: chain.stream,
      ...(chain.branch === "" ? {} : { branch: chain.branch }),
      floor: chain.base,
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
    const main = authorStream({ site: chain.site, stream: chain.stream });
    touches.set(main, (touches.get(main) ?? 0) + 1);
  };

  return {
    all: () => byKey.values(),
    count: () => byKey.size,
    get: (site, stream, branch) =>
      byKey.get(authorStream(branch === undefined ? { site, stream } : { site, stream, branch })),
    of: (site, stream) => byMain.get(authorStream({ site, stream })) ?? [],
    find,
    own: () => own,
    moveOwn: (chain) => {
      own = chain;
    },
    authorOf: (site) => authors.get(site)?.key ?? null,
    add: (into, site, key, stream) => {
      const author = authors.get(site) ?? addAuthor(into, site, "", key);
      authors.set(site, author);
      return put(newChain(author, stream, NOTHING));
    },
    addBranch: (into, { site, key, stream }, branch, base) =>
      put(newChain(addAuthor(into, site, branch, key), stream, base)),
    moved: (chain) => {
      touch(chain);
      place(chain);
    },
    touch,
    touches: (site, stream) => touches.get(authorStream({ site, stream })) ?? 0,
    save: (into) => {
      for (const chain of unsaved) saveChain(into, chain);
      unsaved.clear();
    },
    takeChanged: () => {
      // A branch of which nothing is released is nobody else's business.
      const list = [...changed]
        .map(entryOf)
        .filter(({ branch, floor, head }) => branch === undefined || head > floor);
      changed.clear();
      return list;
    },
    vector: () =>
      [...byKey.values()]
        .map(entryOf)
        .filter(({ floor, head, beyond }) => head > floor || beyond.length > 0),
    settle: (chain, hash, dependencies) => {
      chain.settled++;
      chain.settledHash = hash;
      touch(chain);
      if (chain.stream !== "data") return;
      for (const { site, version, hashPrefix } of dependencies) {
        const chains = byMain.get(authorStream({ site, stream: "data" })) ?? [];
        const cause =
          chains.length < 2 ? chains[0] : find(site, "data", version, toHex(hashPrefix));
        if (cause === undefined || cause.listed >= version) continue;
        cause.listed = version;
        unsaved.add(cause);
        if (cause.settled <= version) frontier.delete(cause);
      }
      if (chain.settled > chain.listed) frontier.add(chain);
    },
    frontier: () =>
      [...frontier]
        .filter((chain) => chain !== own)
        .map(({ site, settled, settledHash }) => ({
          site,
          version: settled,
          hashPrefix: fromHex(settledHash.slice(0, 16)),
        }))
        .sort(compareDependencies),
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

interface Author {
  readonly id: number;
  readonly site: SiteId;
  readonly branch: string;
  readonly key: PublicKey;
}

const NOTHING: OwnHead = { head: 0, headHash: ZERO_HASH };

const keyOf = ({ site, stream, branch }: Chain): AuthorStream =>
  authorStream(branch === "" ? { site, stream } : { site, stream, branch });

const newChain = (author: Author, stream: Stream, { head, headHash }: OwnHead): Chain => ({
  author: author.id,
  site: author.site,
  key: author.key,
  stream,
  branch: author.branch,
  base: head,
  baseHash: headHash,
  head,
  headHash,
  settled: head,
  settledHash: headHash,
  listed: head,
  released: head,
  beyond: [],
});

function addAuthor(engine: Engine, site: SiteId, branch: string, key: PublicKey): Author {
  const insert = engine.prepare(
    branch === ""
      ? "INSERT INTO rowmesh_author (site, branch, public_key) VALUES (?, ?, ?) RETURNING id"
      : "INSERT INTO rowmesh_author (id, site, branch, public_key) VALUES ((SELECT min(0, min(id)) - 1 FROM rowmesh_author), ?, ?, ?) RETURNING id",
  );
  insert.bindStored([fromHex(site), fromHex(branch), fromHex(key)]);
  insert.step();
  const id = insert.integer(0);
  insert.reset();
  return { id, site, branch, key };
}

/** Numbers of the branches that hold a changeset of that version whose hash begins like that. */
function findBranch(engine: Engine, hashPrefix: string, version: number): readonly number[] {
  const select = engine.prepare(
    "SELECT author FROM rowmesh_log WHERE author < 0 AND header_hash BETWEEN ? AND ? AND version = ?",
  );
  const digits = 2 * HASH_BYTES;
  select.bindBlob(1, fromHex(hashPrefix.padEnd(digits, "0")));
  select.bindBlob(2, fromHex(hashPrefix.padEnd(digits, "f")));
  select.bindInteger(3, version);
  const authors: number[] = [];
  while (select.step()) authors.push(select.integer(0));
  return authors;
}

function readAuthors(engine: Engine): Author[] {
  const authors: Author[] = [];
  const rows = engine.prepare("SELECT id, site, branch, public_key FROM rowmesh_author");
  while (rows.step()) {
    authors.push({
      id: rows.integer(0),
      site: siteId(rows.blob(1)),
      branch: toHex(rows.blob(2)),
      key: publicKey(rows.blob(3)),
    });
  }
  return authors;
}

function saveChain(engine: Engine, chain: Chain): void {
  const save = engine.prepare(
    "INSERT OR REPLACE INTO rowmesh_chain VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
  );
  save.bindInteger(1, chain.author);
  save.bindInteger(2, streamByte(chain.stream));
  save.bindInteger(3, chain.head);
  save.bindBlob(4, fromHex(chain.headHash));
  save.bindInteger(5, chain.settled);
  save.bindBlob(6, fromHex(chain.settledHash));
  save.bindInteger(7, chain.listed);
  save.bindInteger(8, chain.released);
  save.bindInteger(9, chain.base);
  save.bindBlob(10, fromHex(chain.baseHash));
  save.run();
}

function readChains(engine: Engine, authors: readonly Author[]): Chain[] {
  const byId = new Map(authors.map((author) => [author.id, author]));
  const chains: Chain[] = [];
  const rows = engine.prepare("SELECT * FROM rowmesh_chain");
  while (rows.step()) {
    const author = byId.get(rows.integer(0));
    if (author === undefined) continue;
    const stream = rows.integer(1) === 0 ? "data" : "membership";
    const base = { head: rows.integer(8), headHash: hashAt(rows.blob(9)) };
    const chain = newChain(author, stream, base);
    chain.head = rows.integer(2);
    chain.headHash = hashAt(rows.blob(3));
    chain.settled = rows.integer(4);
    chain.settledHash = hashAt(rows.blob(5));
    chain.listed = rows.integer(6);
    chain.released = rows.integer(7);
    chains.push(chain);
  }
  const beyond = engine.prepare(
    "SELECT version FROM rowmesh_log WHERE author = ? AND stream = ? AND version > ? ORDER BY version",
  );
  for (const chain of chains) {
    beyond.bindStored([BigInt(chain.author), BigInt(streamByte(chain.stream)), BigInt(chain.head)]);
    while (beyond.step()) addBeyond(chain, beyond.integer(0));
  }
  return chains;
}

const hashAt = (bytes: Uint8Array): HeaderHash =>
  headerHash(bytes.length === HASH_BYTES ? bytes : ZERO_HASH);
