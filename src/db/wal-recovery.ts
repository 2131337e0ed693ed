/**
 * Folds a write-ahead log left by a crash into its database before SQLite opens it.
 *
 * SQLite could do this itself, but cr-sqlite reads the database while it is being opened, before
 * anyone can say `locking_mode=EXCLUSIVE`, and without that mode this build (no shared memory)
 * refuses a database in WAL mode. So the database is handed over in rollback mode, complete.
 *
 * Idempotent: the log is cut only after the database is flushed; a crash in between repeats it.
 * Format: https://sqlite.org/fileformat2.html#walformat
 *
 * @module
 */

import type { FileDevice, StorageFiles } from "./storage.ts";

const WAL_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const WAL_MAGIC_LITTLE_ENDIAN = 0x377f0682;
const WAL_MAGIC_BIG_ENDIAN = 0x377f0683;
const WAL_VERSION = 3_007_000;
/** First half of a rollback journal's magic, https://sqlite.org/fileformat2.html#the_rollback_journal */
const JOURNAL_MAGIC = 0xd9d505f9;
/** Bytes 18 and 19 of the database: 1 is rollback mode, 2 is WAL. */
const MODE_OFFSET = 18;
const MODE_ROLLBACK = 1;
const MODE_WAL = 2;

export const isWal = (journal: FileDevice): boolean => {
  const magic = magicOf(journal);
  return magic === WAL_MAGIC_LITTLE_ENDIAN || magic === WAL_MAGIC_BIG_ENDIAN;
};

/** Afterwards the journal is empty, or a rollback journal that SQLite plays back when it opens. */
export const recoverWal = ({ database, journal }: StorageFiles): void => {
  if (isWal(journal)) {
    const log = readCommitted(journal);
    if (log !== null) copyPages(log, journal, database);
  }
  if (leaveWalMode(database) || isWal(journal)) database.flush();
  if (journal.size() > 0 && magicOf(journal) !== JOURNAL_MAGIC) {
    journal.truncate(0);
    journal.flush();
  }
};

interface CommittedLog {
  readonly pageBytes: number;
  /** Of the database after the last commit. */
  readonly pages: number;
  /** Where each page's newest committed content starts. */
  readonly offsetByPage: ReadonlyMap<number, number>;
}

/** Frames count up to the last one that ends a commit with the chain of checksums whole. */
const readCommitted = (journal: FileDevice): CommittedLog | null => {
  const header = readView(journal, 0, WAL_HEADER_BYTES);
  if (header === null || header.getUint32(4) !== WAL_VERSION) return null;
  const littleEndian = header.getUint32(0) === WAL_MAGIC_LITTLE_ENDIAN;
  const pageBytes = header.getUint32(8);
  const sum = new Uint32Array(2);
  addChecksum(sum, header, 0, 24, littleEndian);
  if (sum[0] !== header.getUint32(24) || sum[1] !== header.getUint32(28)) return null;

  const offsetByPage = new Map<number, number>();
  const uncommitted = new Map<number, number>();
  let pages = 0;
  const frameBytes = FRAME_HEADER_BYTES + pageBytes;
  for (let offset = WAL_HEADER_BYTES; ; offset += frameBytes) {
    const frame = readView(journal, offset, frameBytes);
    if (frame === null) break;
    const sameSalt =
      frame.getUint32(8) === header.getUint32(16) && frame.getUint32(12) === header.getUint32(20);
    addChecksum(sum, frame, 0, 8, littleEndian);
    addChecksum(sum, frame, FRAME_HEADER_BYTES, frameBytes, littleEndian);
    const isWhole = sum[0] === frame.getUint32(16) && sum[1] === frame.getUint32(20);
    if (!sameSalt || !isWhole) break;
    uncommitted.set(frame.getUint32(0), offset + FRAME_HEADER_BYTES);
    const pagesAfterCommit = frame.getUint32(4);
    if (pagesAfterCommit === 0) continue;
    pages = pagesAfterCommit;
    for (const [page, at] of uncommitted) offsetByPage.set(page, at);
    uncommitted.clear();
  }
  return pages === 0 ? null : { pageBytes, pages, offsetByPage };
};

const copyPages = (log: CommittedLog, journal: FileDevice, database: FileDevice): void => {
  const page = new Uint8Array(log.pageBytes);
  for (const [number, offset] of log.offsetByPage) {
    if (number > log.pages) continue;
    journal.read(page, offset);
    database.write(page, (number - 1) * log.pageBytes);
  }
  const size = log.pages * log.pageBytes;
  if (database.size() > size) database.truncate(size);
};

/** @returns whether the database had to be changed */
const leaveWalMode = (database: FileDevice): boolean => {
  const mode = new Uint8Array(2);
  if (database.read(mode, MODE_OFFSET) < 2 || !mode.includes(MODE_WAL)) return false;
  database.write(mode.fill(MODE_ROLLBACK), MODE_OFFSET);
  return true;
};

/** The running checksum of https://sqlite.org/fileformat2.html#checksum_algorithm */
const addChecksum = (
  sum: Uint32Array,
  view: DataView,
  start: number,
  end: number,
  littleEndian: boolean,
): void => {
  let [first, second] = sum as unknown as [number, number];
  for (let at = start; at < end; at += 8) {
    first = (first + view.getUint32(at, littleEndian) + second) >>> 0;
    second = (second + view.getUint32(at + 4, littleEndian) + first) >>> 0;
  }
  sum[0] = first;
  sum[1] = second;
};

const magicOf = (journal: FileDevice): number => readView(journal, 0, 4)?.getUint32(0) ?? 0;

/** Null when the device ends before. */
const readView = (device: FileDevice, offset: number, bytes: number): DataView | null => {
  const into = new Uint8Array(bytes);
  return device.read(into, offset) === bytes ? new DataView(into.buffer) : null;
};
