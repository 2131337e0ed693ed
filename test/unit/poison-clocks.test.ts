/**
 * What an insider can do with clocks, on the real engine: win one cell, or use up one key, for
 * ever; and what undoes it.
 */
import { expect, test } from "vitest";
import { packKey } from "../../src/db/packed-key.ts";
import { isMeshError } from "../../src/protocol/errors.ts";
import { CLOCK_MAX } from "../../src/protocol/limits.ts";
import { type CellChange, decodePayload, type RowChanges } from "../../src/protocol/payload.ts";
import { rowWithClocks } from "../../src/testing/byzantine-wares.ts";
import { forge, payloadOf, rowPayload } from "../fixtures/forge.ts";
import { changesetsOf, openReplica, pull, syncAll } from "../fixtures/replicas.ts";

const NAME = 1;
const LEGS = 2;
const cell = (column: number, columnVersion: number, value: CellChange["value"]): CellChange => ({
  column,
  columnVersion,
  value,
});
const fox = (changes: Partial<RowChanges>) =>
  rowPayload(0, { primaryKey: packKey(["fox"]), ...changes });

async function messageOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (isMeshError(error, "ERR_ROWS_INVALID")) return error.message;
    throw error;
  }
  throw new Error("nothing was refused");
}

test("[M14] a cell at the cap: its updates are refused with what to do; deleting and inserting the row frees it", async () => {
  const [victim, other] = [await openReplica(1), await openReplica(2)];
  await victim.exec(
    "INSERT INTO animal (id, name, legs) VALUES ('fox', 'Fix', 4), ('owl', 'Uhu', 2)",
  );
  await pull(victim, other);
  const poison = await forge(700, fox({ cells: [cell(NAME, CLOCK_MAX, "poison")] }));
  for (const each of [victim, other]) await each.append([poison]);
  const before = await victim.stateHash();
  const message = await messageOf(victim.exec("UPDATE animal SET name = 'mine' WHERE id = 'fox'"));
  expect(message).toMatch(/animal.*name.*delete the row and insert it again/);
  expect(await victim.stateHash()).toBe(before);
  // Nothing else is harmed: other cells, other rows, the counters.
  await victim.exec("UPDATE animal SET legs = 3 WHERE id = 'fox'");
  await victim.exec("UPDATE animal SET name = 'Eule' WHERE id = 'owl'");
  await victim.transaction(async (tx) => {
    await tx.exec("DELETE FROM animal WHERE id = 'fox'");
    await tx.exec("INSERT INTO animal (id, name, legs) VALUES ('fox', 'Fix', 4)");
  });
  await syncAll([victim, other]);
  await other.exec("UPDATE animal SET name = 'Felix' WHERE id = 'fox'");
  await syncAll([victim, other]);
  expect(await victim.query("SELECT id, name, legs FROM animal ORDER BY id")).toEqual([
    { id: "fox", name: "Felix", legs: 4 },
    { id: "owl", name: "Eule", legs: 2 },
  ]);
  expect(await other.stateHash()).toBe(await victim.stateHash());
  // The old poison, said again by another author, is of a life that is over.
  await victim.append([await forge(701, fox({ cells: [cell(NAME, CLOCK_MAX, "again")] }))]);
  expect(await victim.query("SELECT name FROM animal WHERE id = 'fox'")).toEqual([
    { name: "Felix" },
  ]);
  for (const each of [victim, other]) await each.close();
});

test.each([
  ["alive", CLOCK_MAX - 1],
  ["dead", CLOCK_MAX],
] as const)(
  "[M14] a key used up while %s: its row may be deleted for good, and only another key helps",
  async (state, causalLength) => {
    const [victim, other] = [await openReplica(1), await openReplica(2)];
    await victim.exec("INSERT INTO animal (id, name) VALUES ('fox', 'Fix')");
    await pull(victim, other);
    const row = { causalLength, sentinel: true };
    const poison = await forge(710, fox(row));
    for (const each of [victim, other]) await each.append([poison]);
    const rows = await victim.query("SELECT id, name FROM animal");
    expect(rows).toEqual(state === "alive" ? [{ id: "fox", name: null }] : []);
    if (state === "alive") {
      await victim.exec("UPDATE animal SET name = 'still mine'");
      await victim.exec("DELETE FROM animal");
    }
    const message = await messageOf(victim.exec("INSERT INTO animal (id) VALUES ('fox')"));
    expect(message).toMatch(/animal.*another key/);
    expect(await victim.query("SELECT id FROM animal")).toEqual([]);
    await victim.exec("INSERT INTO animal (id, name) VALUES ('fox 2', 'Fix')");
    await syncAll([victim, other]);
    expect(await other.query("SELECT id, name FROM animal")).toEqual([
      { id: "fox 2", name: "Fix" },
    ]);
    expect(await other.stateHash()).toBe(await victim.stateHash());
    for (const each of [victim, other]) await each.close();
  },
);

test("[M14] clocks beyond the cap are void everywhere, also near 2^53 and 2^63; wide values are values", async () => {
  const replica = await openReplica(1);
  await replica.exec("INSERT INTO animal (id, name) VALUES ('fox', 'Fix')");
  const key = packKey(["fox"]);
  let author = 720;
  for (const far of [
    2n ** 40n + 1n,
    2n ** 53n - 1n,
    2n ** 53n + 1n,
    2n ** 63n - 1n,
    2n ** 63n + 1n,
  ]) {
    for (const payload of [rowWithClocks(key, 1n, far, "x"), rowWithClocks(key, far, 1n, "x")]) {
      expect(await replica.append([await forge(author++, payload)])).toMatchObject([
        { verdict: "void", code: "ERR_ROWS_INVALID" },
      ]);
    }
  }
  expect(await replica.query("SELECT name FROM animal")).toEqual([{ name: "Fix" }]);
  const wide = payloadOf([
    {
      table: 0,
      rows: [2n ** 53n + 1n, 2n ** 63n - 1n].map((value, i) => ({
        primaryKey: packKey([`w${i}`]),
        causalLength: 1,
        sentinel: false,
        cells: [cell(LEGS, 1, value)],
      })),
    },
  ]);
  expect(await replica.append([await forge(author, wide)])).toEqual([{ verdict: "applied" }]);
  expect(await replica.query("SELECT legs FROM animal WHERE id LIKE 'w%' ORDER BY id")).toEqual([
    { legs: 2n ** 53n + 1n },
    { legs: 2n ** 63n - 1n },
  ]);
  // Our own clocks do not follow anybody's.
  await replica.exec("INSERT INTO animal (id, name) VALUES ('owl', 'Uhu')");
  const own = (await changesetsOf(replica, replica.signer.siteId)).at(-1);
  const [row] = decodePayload(own?.payload ?? new Uint8Array()).tables[0]?.rows ?? [];
  expect(row?.causalLength).toBe(1);
  expect(row?.cells.map(({ columnVersion }) => columnVersion)).toEqual([1, 1, 1, 1]);
  await replica.close();
});
