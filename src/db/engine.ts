/**
 * A typed, synchronous SQLite engine over one cr-sqlite WebAssembly instance and one
 * {@link StorageFiles}. It never waits: whoever shares one arranges turns.
 *
 * Any WebAssembly trap (cr-sqlite panics on some malformed keys) leaves the instance's stack
 * unbalanced, and correct SQL fails later; so the first one ends the engine (ERR_ENGINE_TRAP).
 * The storage is unharmed, as after a crash: open another engine on it.
 *
 * @module
 */

import { isMeshError, MeshError } from "../protocol/errors.ts";
import { createHeap, type Heap } from "./heap.ts";
import {
  assertTextAllowed,
  forbidden,
  type GateWatch,
  skipBlanksAndComments,
  type StatementAccess,
  watchStatement,
} from "./sql-gate.ts";
import { meshErrorOf, SQLITE_INTERRUPT, SQLITE_OK } from "./sqlite-error.ts";
import { createSqliteModule, type Pointer, type SqliteModule } from "./sqlite-wasm.ts";
import { createStatement, type Statement, type StatementHost } from "./statement.ts";
import type { Storage, StorageFiles } from "./storage.ts";
import { createVfs, DATABASE_NAME } from "./vfs.ts";
import { recoverWal } from "./wal-recovery.ts";

const SQLITE_OPEN_READWRITE = 0x2;
const SQLITE_OPEN_CREATE = 0x4;
const VFS_NAME = "rowmesh";
/** A check for a deadline costs a call out of the WebAssembly; this many steps take about 100 µs. */
const INTERRUPT_CHECK_STEPS = 10_000;
const GATED_STATEMENTS_MAX = 64;
/** https://sqlite.org/c3ref/c_limit_attached.html */
const SQLITE_LIMIT_LENGTH = 0;
/**
 * Of one value or row: twice the largest changeset. Several hundred MB would exhaust the
 * WebAssembly's memory, which never shrinks again.
 */
const VALUE_BYTES_MAX = 134_217_728;
/** cr-sqlite's own tables in a new database take 6 to 8 pages. */
const UNFINISHED_BYTES_MAX = 131_072;

export interface EngineOptions {
  /** Compiled once, shared by all engines: `wasm-node.ts`, `wasm-browser.ts`. */
  readonly wasm: WebAssembly.Module;
  readonly files: StorageFiles;
  /** Of the storage that gave the files. */
  readonly atomicity: Storage["atomicity"];
}

export interface GatedStatement extends StatementAccess {
  readonly statement: Statement;
}

export interface Engine {
  /** Runs trusted SQL, any number of statements. Forgets the gated ones: it may have been DDL. */
  readonly exec: (sql: string) => void;
  /** Trusted SQL. One statement per text, kept until the engine closes or it is finalized. */
  readonly prepare: (sql: string) => Statement;
  /**
   * One statement of an app, through the gate. The least recently used are finalized beyond 64:
   * use it before the next call. @throws ERR_SQL, ERR_SQL_FORBIDDEN
   */
  readonly prepareGated: (sql: string) => GatedStatement;
  /** False inside a transaction. SQLite ends one by itself after some errors: ask after each. */
  readonly autocommit: () => boolean;
  /** Rows that the last INSERT, UPDATE or DELETE changed, triggers not counted. */
  readonly changes: () => number;
  /**
   * Asked every 100 µs or so of running SQL; a non-null answer interrupts the statement, which
   * throws it. Null takes the check away.
   */
  readonly interruptWith: (check: (() => MeshError | null) | null) => void;
  /** True after a trap: every call throws ERR_ENGINE_TRAP. */
  readonly trapped: () => boolean;
  /** Rolls back what is open, finalizes all statements. The storage's devices stay open. Idempotent. */
  readonly close: () => void;
}

/** @throws ERR_DATABASE_CORRUPT, ERR_STORAGE_LOST, ERR_STORAGE_FULL */
export const openEngine = async (options: EngineOptions): Promise<Engine> => {
  const { files } = options;
  recoverWal(files);
  try {
    return await openRecovered(options);
  } catch (error) {
    if (!isUnfinishedSetUp(error, files)) throw error;
  }
  for (const device of [files.journal, files.database]) {
    device.truncate(0);
    device.flush();
  }
  return openRecovered(options);
};

/**
 * cr-sqlite sets a new database up in several transactions; after a crash between them it refuses
 * what it finds. No one has opened such a database before, so there is nothing to lose.
 */
const isUnfinishedSetUp = (error: unknown, { database }: StorageFiles): boolean =>
  error instanceof MeshError &&
  error.message.includes("created with cr-sqlite version 0") &&
  database.size() <= UNFINISHED_BYTES_MAX;

const openRecovered = async (options: EngineOptions): Promise<Engine> => {
  const wasm = await createSqliteModule(options.wasm);
  const heap = createHeap(wasm);
  const state: EngineState = {
    wasm,
    heap,
    db: 0,
    fault: null,
    trap: null,
    closed: false,
    interrupt: null,
  };
  const vfs = createVfs(VFS_NAME, options.files, (fault) => {
    state.fault = fault;
  });
  wasm.registerVFS(vfs, false);
  openDatabase(state);
  const engine = createEngine(state);
  try {
    engine.exec(PRAGMAS_BY_ATOMICITY[options.atomicity]);
  } catch (error) {
    engine.close();
    throw error;
  }
  return engine;
};

/** Measured in docs/decisions/0003-storage-and-pragmas.md. */
const PRAGMAS_BY_ATOMICITY = {
  file: "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=4000; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-8000",
  commit:
    "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-8000",
} as const;

interface EngineState {
  readonly wasm: SqliteModule;
  readonly heap: Heap;
  db: Pointer;
  /** What a device threw during the last call into the WebAssembly; SQLite swallows some. */
  fault: unknown;
  trap: unknown;
  closed: boolean;
  interrupt: { readonly check: () => MeshError | null; answer: MeshError | null } | null;
}

const openDatabase = (state: EngineState): void => {
  const { wasm, heap } = state;
  const name = heap.allocateText(DATABASE_NAME);
  const vfsName = heap.allocateText(VFS_NAME);
  const out = wasm._malloc(4);
  const resultCode = guard(state, () =>
    wasm._sqlite3_open_v2(
      name.pointer,
      out,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
      vfsName.pointer,
    ),
  );
  state.db = heap.pointerAt(out);
  for (const pointer of [name.pointer, vfsName.pointer, out]) wasm._free(pointer);
  if (resultCode !== SQLITE_OK) throw failure(state, resultCode);
};

const createEngine = (state: EngineState): Engine => {
  const { wasm, heap } = state;
  const statements = new Set<Statement>();
  const trustedByText = new Map<string, Statement>();

  const host: StatementHost = {
    wasm,
    heap,
    guarded: (run) => guard(state, run),
    failure: (resultCode) => failure(state, resultCode),
    onFinalize: (statement) => {
      statements.delete(statement);
      if (trustedByText.get(statement.sql) === statement) trustedByText.delete(statement.sql);
    },
  };
  const compileStatement = (sql: string): Statement => {
    assertAlive(state);
    const statement = compile(state, host, sql);
    statements.add(statement);
    return statement;
  };
  const gated = createGatedStatements(compileStatement);

  installHooks(state, gated.watch);
  wasm._sqlite3_limit(state.db, SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX);
  return {
    exec: (sql) => {
      assertAlive(state);
      gated.forget();
      const text = heap.allocateText(sql);
      const resultCode = guard(state, () => wasm._sqlite3_exec(state.db, text.pointer, 0, 0, 0));
      wasm._free(text.pointer);
      if (resultCode !== SQLITE_OK) throw failure(state, resultCode);
    },
    prepare: (sql) => {
      const known = trustedByText.get(sql);
      if (known !== undefined) {
        known.reset();
        return known;
      }
      const statement = compileStatement(sql);
      trustedByText.set(sql, statement);
      return statement;
    },
    prepareGated: gated.prepare,
    autocommit: () => {
      assertAlive(state);
      return wasm._sqlite3_get_autocommit(state.db) !== 0;
    },
    changes: () => {
      assertAlive(state);
      return wasm._sqlite3_changes(state.db);
    },
    interruptWith: (check) => {
      state.interrupt = check === null ? null : { check, answer: null };
    },
    trapped: () => state.trap !== null,
    close: () => {
      if (state.closed) return;
      try {
        if (state.trap === null) closeDatabase(state, statements);
      } catch (error) {
        // A trap while closing: the instance is garbage either way, the files are as after a crash.
        if (!isMeshError(error, "ERR_ENGINE_TRAP")) throw error;
      } finally {
        state.closed = true;
      }
    },
  };
};

interface GatedStatements {
  readonly prepare: (sql: string) => GatedStatement;
  readonly forget: () => void;
  /** While an app's statement is being compiled: who watches it. */
  readonly watch: () => GateWatch | null;
}

const createGatedStatements = (compileStatement: (sql: string) => Statement): GatedStatements => {
  /** Least recently used first. */
  const gatedByText = new Map<string, GatedStatement>();
  let watch: GateWatch | null = null;

  const compileGated = (sql: string): GatedStatement => {
    assertTextAllowed(sql);
    watch = watchStatement();
    const { reads, writes, refusal } = watch;
    try {
      return { statement: compileStatement(sql), reads, writes };
    } catch (error) {
      const why = refusal();
      throw why === null ? error : forbidden(why);
    } finally {
      watch = null;
    }
  };
  return {
    prepare: (sql) => {
      const known = gatedByText.get(sql);
      known?.statement.reset();
      const gated = known ?? compileGated(sql);
      gatedByText.delete(sql);
      gatedByText.set(sql, gated);
      for (const [text, { statement }] of gatedByText) {
        if (gatedByText.size <= GATED_STATEMENTS_MAX) break;
        gatedByText.delete(text);
        statement.finalize();
      }
      return gated;
    },
    forget: () => {
      for (const { statement } of gatedByText.values()) statement.finalize();
      gatedByText.clear();
    },
    watch: () => watch,
  };
};

const closeDatabase = (state: EngineState, statements: ReadonlySet<Statement>): void => {
  const { wasm, heap } = state;
  for (const statement of statements) statement.finalize();
  const text = heap.allocateText("SELECT crsql_finalize()");
  guard(state, () => wasm._sqlite3_exec(state.db, text.pointer, 0, 0, 0));
  wasm._free(text.pointer);
  const resultCode = guard(state, () => wasm._sqlite3_close(state.db));
  if (resultCode !== SQLITE_OK) throw failure(state, resultCode);
};

const installHooks = (state: EngineState, watch: () => GateWatch | null): void => {
  const { wasm, db } = state;
  // Active only while an app's statement compiles. What runs inside its step, cr-sqlite compiles
  // for itself.
  wasm.setAuthorizer(
    db,
    (_context, action, first, second, _database, innermost) =>
      watch()?.authorize(action, first, second, innermost) ?? SQLITE_OK,
    0,
  );
  wasm.progressHandler(
    db,
    INTERRUPT_CHECK_STEPS,
    () => {
      const { interrupt } = state;
      if (interrupt === null) return 0;
      interrupt.answer ??= interrupt.check();
      return interrupt.answer === null ? 0 : 1;
    },
    0,
  );
};

/** Exactly one statement. */
const compile = (state: EngineState, host: StatementHost, sql: string): Statement => {
  const { wasm, heap } = state;
  const text = heap.allocateText(sql);
  const out = wasm._malloc(8);
  const prepareAt = (at: Pointer): Pointer => {
    const bytes = text.pointer + text.bytes - at + 1;
    const resultCode = guard(state, () =>
      wasm._sqlite3_prepare_v2(state.db, at, bytes, out, out + 4),
    );
    if (resultCode !== SQLITE_OK) throw failure(state, resultCode);
    return heap.pointerAt(out);
  };
  try {
    const first = prepareAt(text.pointer);
    if (first === 0) throw new MeshError("ERR_SQL", "the statement is empty");
    const statement = createStatement(host, first, sql);
    assertNothingFollows(state, statement, heap.pointerAt(out + 4), text.pointer + text.bytes);
    return statement;
  } finally {
    if (state.trap === null) {
      wasm._free(text.pointer);
      wasm._free(out);
    }
  }
};

/** Blanks, comments and semicolons may follow. */
const assertNothingFollows = (
  state: EngineState,
  statement: Statement,
  tail: Pointer,
  end: Pointer,
): void => {
  if (skipBlanksAndComments(state.heap.text(tail, end - tail)) === "") return;
  statement.finalize();
  throw forbidden("one statement at a time: something follows the first");
};

const assertAlive = (state: EngineState): void => {
  if (state.trap !== null) throw trapError(state);
  if (state.closed) throw new MeshError("ERR_CLOSED", "the engine is closed");
};

/**
 * Whatever escapes the WebAssembly is a trap: devices and hooks never throw across it, and a stack
 * overflow arrives as a RangeError of the JavaScript engine.
 */
const guard = <T>(state: EngineState, run: () => T): T => {
  if (state.trap !== null || state.closed) assertAlive(state);
  state.fault = null;
  try {
    return run();
  } catch (error) {
    state.trap = error;
    throw trapError(state);
  }
};

const trapError = (state: EngineState): MeshError =>
  new MeshError("ERR_ENGINE_TRAP", "the WebAssembly trapped; open another engine", {
    cause: state.trap,
  });

const failure = (state: EngineState, resultCode: number): Error => {
  if (isMeshError(state.fault)) return state.fault;
  const answer = state.interrupt?.answer ?? null;
  // cr-sqlite reports an interrupt inside its own statements as a plain error.
  if (answer !== null) return answer;
  if (resultCode === SQLITE_INTERRUPT) return new MeshError("ERR_ABORTED", "interrupted");
  const message = state.heap.cString(state.wasm._sqlite3_errmsg(state.db));
  return meshErrorOf(resultCode, message);
};
