/**
 * Where a database lives: named generations of two files each, read and written synchronously.
 * Everything SQLite stores goes through here, so a simulated disk that tears writes, fills up or
 * vanishes is one more {@link Storage}. docs/STORAGE.md says what each backend guarantees; the
 * contract suite is test/contracts/storage.ts.
 *
 * @module
 */

/**
 * One open file. A device that runs out of room throws MeshError ERR_STORAGE_FULL, any other
 * fault ERR_STORAGE_LOST; SQLite then rolls back.
 */
export interface FileDevice {
  readonly size: () => number;
  /** Fills `into` from `offset` on. @returns bytes read: fewer at the end of the file. */
  readonly read: (into: Uint8Array, offset: number) => number;
  /** Grows the file as needed. `from` is only valid during the call. */
  readonly write: (from: Uint8Array, offset: number) => void;
  readonly truncate: (size: number) => void;
  /** Returns when all earlier writes would survive a loss of power, where the backend can promise it. */
  readonly flush: () => void;
  readonly close: () => void;
}

export interface StorageFiles {
  readonly database: FileDevice;
  readonly journal: FileDevice;
}

export type StorageKind = "opfs" | "indexeddb" | "memory" | "directory";

export interface Storage {
  readonly kind: StorageKind;
  /** Whether data outlives the process. */
  readonly durable: boolean;
  /**
   * "file": SQLite makes each COMMIT atomic and durable through `files.journal`.
   * "commit": nothing is durable before {@link Storage.commit}, which is atomic by itself.
   */
  readonly atomicity: "file" | "commit";
  /** The generation that holds the database; 0 in a new storage. */
  readonly generation: () => number;
  /**
   * The two files of a generation, created empty when absent. Closes the devices it gave out for
   * this generation before; after a failed {@link Storage.commit} it holds what was last durable.
   */
  readonly openFiles: (generation: number) => Promise<StorageFiles>;
  /**
   * To be awaited after every COMMIT, before anyone is told of it. When it fails the engine is ahead
   * of the disk: close it and start again from `openFiles`.
   * @throws ERR_STORAGE_FULL, ERR_STORAGE_LOST, ERR_STORAGE_LOCKED (another tab took over)
   */
  readonly commit: () => Promise<void>;
  /** Deletes what an earlier attempt left of a generation that is not the current one. */
  readonly discard: (generation: number) => Promise<void>;
  /**
   * Makes `generation` the one that holds the database, by one durable write, then deletes the
   * others. Its devices stay open; those of the others must be closed.
   */
  readonly switchTo: (generation: number) => Promise<void>;
  /** Closes, and deletes everything. */
  readonly destroy: () => Promise<void>;
  /** Closes all devices and lets go of the lock. Idempotent. */
  readonly close: () => Promise<void>;
}

/** @throws RangeError: the database itself is never discarded */
export const assertNotCurrent = (generation: number, current: number): void => {
  if (generation === current) throw new RangeError(`generation ${generation} is the database`);
};
