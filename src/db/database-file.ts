/**
 * The one connection to the replica's file, and its recovery: after a trap or a failed storage
 * commit the engine in memory is garbage or ahead of the disk; another one is opened on what is
 * durable.
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";
import { fromHex, type SiteId, toHex } from "../protocol/ids.ts";
import type { Signer } from "../seams.ts";
import { type Engine, openEngine } from "./engine.ts";
import { CREATE_LOG_TABLES, type MetaKey, OWN_AUTHOR, TABLES_FORMAT } from "./log-tables.ts";
import type { Storage } from "./storage.ts";
import type { StoredValue } from "../protocol/values.ts";

/**
 * Given the secret kept in the file, or null for a new one, answers with the secret to keep and its
 * signer.
 */
export type IdentitySource = (
  stored: Uint8Array | null,
) => Promise<{ readonly secret: Uint8Array; readonly signer: Signer }>;

export interface DatabaseFile {
  /** Changes with {@link DatabaseFile.reopen}: ask each time. */
  readonly engine: () => Engine;
  /**
   * Runs `work` in one SQLite transaction and makes it durable. When anything fails nothing
   * happened: rolled back, sync bit cleared, or reopened when the engine cannot be trusted.
   */
  readonly transact: <T>(work: (engine: Engine) => T | Promise<T>) => Promise<T>;
  /** Opens another engine when this one cannot be used. */
  readonly recover: () => Promise<void>;
  /** Opens another engine: cr-sqlite keeps the site id it opened with. */
  readonly reopen: () => Promise<void>;
  readonly usable: () => boolean;
  /** What was read from the file is to be read again; called after every reopening. One listener. */
  readonly onReopened: (listener: () => void) => void;
  /** Switches to another generation of the storage, written by `rebuild`. */
  readonly switchTo: (generation: number) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** A new or kept database, with rowmesh's tables and this replica's site id in it. */
export async function openDatabaseFile(
  storage: Storage,
  wasm: WebAssembly.Module,
  identity: IdentitySource,
): Promise<{ readonly file: DatabaseFile; readonly signer: Signer }> {
  let engine = await openGeneration(storage, wasm, storage.generation());
  let signer: Signer;
  try {
    const isNew = !hasTables(engine);
    const stored = isNew ? null : (readMeta(engine, "secret") as Uint8Array);
    const answer = await identity(stored);
    ({ signer } = answer);
    if (isNew) {
      installIdentity(engine, answer.secret, signer);
      await storage.commit();
      // cr-sqlite keeps the site id it opened with.
      engine.close();
      engine = await openGeneration(storage, wasm, storage.generation());
    }
    assertIdentity(engine, signer.siteId);
  } catch (error) {
    engine.close();
    throw error;
  }

  // Until a reopening succeeds every call tries again: a full disk may have room by then.
  let broken = false;
  let closed = false;
  let reopened: (() => void) | null = null;
  const reopen = async (): Promise<void> => {
    broken = true;
    engine.close();
    engine = await openGeneration(storage, wasm, storage.generation());
    broken = false;
    reopened?.();
  };
  const recover = async (): Promise<void> => {
    if (broken || engine.trapped()) await reopen();
  };
  const rollBack = async (): Promise<void> => {
    if (engine.trapped()) return reopen();
    try {
      if (!engine.autocommit()) engine.prepare("ROLLBACK").run();
      clearSyncBit(engine);
    } catch {
      await reopen();
    }
  };
  const file: DatabaseFile = {
    engine: () => engine,
    recover,
    reopen,
    usable: () => !closed && !broken && !engine.trapped(),
    onReopened: (listener) => {
      reopened = listener;
    },
    transact: async (work) => {
      await recover();
      let result;
      try {
        engine.prepare("BEGIN IMMEDIATE").run();
        result = await work(engine);
        if (engine.autocommit()) {
          throw new MeshError("ERR_SQL", "SQLite rolled the transaction back by itself");
        }
        engine.prepare("COMMIT").run();
      } catch (error) {
        await rollBack();
        throw error;
      }
      try {
        await storage.commit();
      } catch (error) {
        await reopen();
        throw error;
      }
      return result;
    },
    switchTo: async (generation) => {
      // Its devices go with the old generation.
      broken = true;
      engine.close();
      await storage.switchTo(generation);
      await reopen();
    },
    close: async () => {
      closed = true;
      engine.close();
      await storage.close();
    },
  };
  return { file, signer };
}

/** Every error inside a merge may leave it set, and then local writes go untracked (facts of cr-sqlite 0.16). */
export const clearSyncBit = (engine: Engine): void =>
  engine.prepare("SELECT crsql_internal_sync_bit(0)").run();

export const syncBit = (engine: Engine): number => {
  const statement = engine.prepare("SELECT crsql_internal_sync_bit()");
  statement.step();
  const bit = statement.integer(0);
  statement.reset();
  return bit;
};

export const openGeneration = async (
  storage: Storage,
  wasm: WebAssembly.Module,
  generation: number,
): Promise<Engine> => {
  const files = await storage.openFiles(generation);
  return openEngine({ wasm, files, atomicity: storage.atomicity });
};

export const readMeta = (engine: Engine, key: MetaKey): StoredValue => {
  const statement = engine.prepare("SELECT value FROM rowmesh_meta WHERE key = ?");
  statement.bindText(1, key);
  const value = statement.step() ? statement.stored(0) : null;
  statement.reset();
  return value;
};

export const writeMeta = (engine: Engine, key: MetaKey, value: StoredValue): void => {
  const statement = engine.prepare("INSERT OR REPLACE INTO rowmesh_meta VALUES (?, ?)");
  statement.bindStored([key, value]);
  statement.run();
};

const hasTables = (engine: Engine): boolean => {
  const statement = engine.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'rowmesh_meta'");
  const found = statement.step();
  statement.reset();
  return found;
};

/** The site id before anything is written: cr-sqlite would keep a random one otherwise. */
export function installIdentity(engine: Engine, secret: Uint8Array, signer: Signer): void {
  const site = fromHex(signer.siteId);
  engine.exec("BEGIN IMMEDIATE");
  engine.exec(CREATE_LOG_TABLES);
  const ordinal = engine.prepare("UPDATE crsql_site_id SET site_id = ? WHERE ordinal = 0");
  ordinal.bindStored([site]);
  ordinal.run();
  const author = engine.prepare("INSERT INTO rowmesh_author VALUES (?, ?, x'', ?)");
  author.bindStored([BigInt(OWN_AUTHOR), site, fromHex(signer.publicKey)]);
  author.run();
  writeMeta(engine, "format", BigInt(TABLES_FORMAT));
  writeMeta(engine, "secret", secret);
  engine.exec("COMMIT");
}

/**
 * Another key for the file, inside an open transaction; what the old one signed stays its own. The
 * clocks of rows written here name the new site from then on, which nothing reads (facts of
 * cr-sqlite 0.16: sites in clocks differ from replica to replica anyway). After COMMIT the file is
 * to be reopened.
 */
export function replaceIdentity(
  engine: Engine,
  former: SiteId,
  secret: Uint8Array,
  signer: Signer,
): void {
  const site = fromHex(signer.siteId);
  const own = engine.prepare("UPDATE crsql_site_id SET site_id = ? WHERE ordinal = 0");
  own.bindStored([site]);
  own.run();
  const other = engine.prepare("INSERT INTO crsql_site_id (site_id) VALUES (?)");
  other.bindStored([fromHex(former)]);
  other.run();
  const author = engine.prepare(
    "INSERT INTO rowmesh_author (site, branch, public_key) VALUES (?, x'', ?) RETURNING id",
  );
  author.bindStored([site, fromHex(signer.publicKey)]);
  author.step();
  writeMeta(engine, "own", author.bigint(0));
  author.reset();
  writeMeta(engine, "secret", secret);
}

function assertIdentity(engine: Engine, site: SiteId): void {
  const format = readMeta(engine, "format");
  if (format !== BigInt(TABLES_FORMAT)) {
    throw new MeshError("ERR_UNKNOWN_FORMAT", `database of format ${String(format)}`);
  }
  const statement = engine.prepare("SELECT crsql_site_id()");
  statement.step();
  const own = toHex(statement.blob(0));
  statement.reset();
  if (own !== site) {
    throw new MeshError("ERR_OPTION_INVALID", `the database belongs to site ${own}, not ${site}`);
  }
}
