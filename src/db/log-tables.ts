/**
 * The tables of the log and of rowmesh itself. They live in the app's database file, so that one
 * COMMIT makes a transaction and its changeset durable together (P1).
 *
 * @module
 */

/** What became of a logged changeset, as `rowmesh_log.state`. */
export const LOG_STATES = {
  /** Waits for a predecessor or a cause. */
  held: 0,
  /** Waits for an upgrade; `code` says why. */
  parked: 1,
  /** Its rows are in the tables. */
  merged: 2,
  /** Its rows break a rule; `code` says which. Contributes nothing. */
  void: 3,
} as const;

export type LogState = keyof typeof LOG_STATES;

const NAMES = Object.keys(LOG_STATES) as LogState[];

export const logStateOf = (value: number): LogState => {
  const state = NAMES[value];
  if (state === undefined) throw new RangeError(`log state ${value}`);
  return state;
};

/** `rowmesh_meta.value` by key. */
export type MetaKey =
  | "format"
  | "secret"
  | "mesh"
  | "invite"
  | "announced"
  /** Where the chain of own changesets is: another process may not tell by the heads. */
  | "own"
  /** The keys this file had before (`src/db/new-key.ts`). */
  | "formerKeys"
  /** What the peer of that name is known to hold (`src/streams/peer-position.ts`). */
  | `peer ${string}`
  /** Of the last call that wrote for a tab, by its slot (`src/db/receipts.ts`). */
  | `receipt ${string}`;

/** Author 1 is this replica, as long as it keeps its first key and its main chain. */
export const OWN_AUTHOR = 1;

/** As `rowmesh_meta.format`: the shape of these tables. */
export const TABLES_FORMAT = 2;

/**
 * - `rowmesh_author` numbers the authors, and below 0 the branches of keys that forked.
 * - `rowmesh_chain`, per author and stream: the last changeset without a gap before it, the last
 *   settled one, and the highest version that another author's settled changeset depends on. It
 *   could be computed from the log; kept, so that opening costs the authors and not the history.
 *   `released` is the own chain's watermark: changesets up to it may be known to others. `base` is
 *   where a branch leaves another chain.
 * - `rowmesh_log`, in order of arrival. `merged` numbers the merged ones in merge order. The payload
 *   comes last, so that nothing else needs to read across it; of a large one it holds the chunks'
 *   hashes, and `chunks` says under which number they are in `rowmesh_chunk`.
 * - `rowmesh_incoming`: outlines of large changesets of which chunks are missing.
 */
export const CREATE_LOG_TABLES = `
CREATE TABLE rowmesh_meta (key TEXT PRIMARY KEY NOT NULL, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE rowmesh_schema (
  version INTEGER PRIMARY KEY NOT NULL, hash TEXT NOT NULL, statements TEXT NOT NULL) STRICT;
CREATE TABLE rowmesh_author (
  id INTEGER PRIMARY KEY NOT NULL, site BLOB NOT NULL, branch BLOB NOT NULL,
  public_key BLOB NOT NULL, UNIQUE (site, branch)) STRICT;
CREATE TABLE rowmesh_chain (
  author INTEGER NOT NULL, stream INTEGER NOT NULL,
  head INTEGER NOT NULL, head_hash BLOB NOT NULL,
  settled INTEGER NOT NULL, settled_hash BLOB NOT NULL, listed INTEGER NOT NULL,
  released INTEGER NOT NULL, base INTEGER NOT NULL, base_hash BLOB NOT NULL,
  PRIMARY KEY (author, stream)) STRICT, WITHOUT ROWID;
CREATE TABLE rowmesh_log (
  id INTEGER PRIMARY KEY NOT NULL,
  author INTEGER NOT NULL, stream INTEGER NOT NULL, version INTEGER NOT NULL,
  state INTEGER NOT NULL, code TEXT, merged INTEGER,
  header_hash BLOB NOT NULL, previous_hash BLOB NOT NULL,
  header BLOB NOT NULL, signature BLOB NOT NULL, chunks INTEGER, payload BLOB NOT NULL) STRICT;
CREATE UNIQUE INDEX rowmesh_log_version ON rowmesh_log (author, stream, version, header_hash);
CREATE UNIQUE INDEX rowmesh_log_merged ON rowmesh_log (merged) WHERE merged IS NOT NULL;
CREATE INDEX rowmesh_log_branch ON rowmesh_log (header_hash) WHERE author < 0;
CREATE INDEX rowmesh_log_code ON rowmesh_log (code) WHERE code IS NOT NULL;
CREATE TABLE rowmesh_chunk (
  id INTEGER PRIMARY KEY NOT NULL,
  payload INTEGER NOT NULL, chunk INTEGER NOT NULL, bytes BLOB NOT NULL,
  UNIQUE (payload, chunk)) STRICT;
CREATE TABLE rowmesh_incoming (
  payload INTEGER PRIMARY KEY NOT NULL, public_key BLOB NOT NULL,
  header_hash BLOB NOT NULL UNIQUE, previous_hash BLOB NOT NULL,
  header BLOB NOT NULL, signature BLOB NOT NULL, chunk_hashes BLOB NOT NULL) STRICT;
`;
