/**
 * What an app sees while a mesh suffers: whole transactions, each after its cause (P4). Every
 * transaction writes one id into two tables and names an id that it saw; now and then it is large.
 */
import { expect, test } from "vitest";
import { type SqlRunner } from "../../src/db/sql-runner.ts";
import { toHex } from "../../src/protocol/ids.ts";
import type { Write } from "../../src/testing/database-device.ts";
import { simulate } from "../../src/testing/simulate.ts";
import { seeds } from "./histories.ts";

const schema = {
  version: 1,
  tables: [
    "CREATE TABLE act (id TEXT PRIMARY KEY NOT NULL, cause TEXT) STRICT",
    "CREATE TABLE half (id TEXT PRIMARY KEY NOT NULL, filler BLOB) STRICT",
  ],
};
/** Above one chunk: travels in pieces. */
const LARGE_BYTES = 150_000;

/** Acts of which a part is missing, and those whose cause is. */
const FAULTY = `SELECT
  (SELECT count(*) FROM act WHERE id NOT IN (SELECT id FROM half)) +
  (SELECT count(*) FROM half WHERE id NOT IN (SELECT id FROM act)) AS halves,
  (SELECT count(*) FROM act WHERE cause NOT IN (SELECT id FROM act)) AS causeless`;

test.each(seeds(24))(
  "[M1] no device ever shows half a transaction, or one without its cause: seed %i",
  async (seed) => {
    let looks = 0;
    const look = async (db: Pick<SqlRunner, "query">): Promise<void> => {
      looks++;
      expect(await db.query(FAULTY)).toEqual([{ halves: 0, causeless: 0 }]);
    };
    const write: Write = async (db, random) => {
      await look(db);
      const id = toHex(random.bytes(8));
      const filler = new Uint8Array(random.below(5) === 0 ? LARGE_BYTES : 1);
      await db.transaction(async (tx) => {
        // What came last, mostly from somebody else.
        const cause = "SELECT id FROM act ORDER BY rowid DESC LIMIT 1";
        await tx.exec(`INSERT INTO act VALUES (?, (${cause}))`, [id]);
        await tx.exec("INSERT INTO half VALUES (?, ?)", [id, filler]);
      });
      await look(db);
    };
    const check = async (databases: readonly Pick<SqlRunner, "query">[]): Promise<void> => {
      for (const db of databases) await look(db);
    };
    await simulate({ seed, schema, write, check });
    expect(looks).toBeGreaterThan(5);
  },
  60_000,
);
