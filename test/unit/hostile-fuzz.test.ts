/** Honest payloads, bent at random and signed by a hostile author, among honest work in any order. */
import { expect, test } from "vitest";
import type { ReplicaDatabase } from "../../src/db/replica-database.ts";
import { checkSchema } from "../../src/db/check-schema.ts";
import { packKey } from "../../src/db/packed-key.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import type { VerifiedChangeset } from "../../src/protocol/changeset.ts";
import { CLOCK_MAX } from "../../src/protocol/limits.ts";
import {
  type CellChange,
  type ChangesetPayload,
  decodePayload,
  encodePayload,
  type RowChanges,
} from "../../src/protocol/payload.ts";
import type { StoredValue } from "../../src/protocol/values.ts";
import type { Random } from "../../src/seams.ts";
import { forge, rowPayload } from "../fixtures/forge.ts";
import { randomTransaction } from "../../src/testing/random-work.ts";
import { ANIMALS, changesetsOf, openReplica, syncAll } from "../fixtures/replicas.ts";
import { mergeIntoModel, type ModelTables } from "../../src/testing/merge-model.ts";
import { rowsOf, rowsOfModel } from "../../src/testing/shown-rows.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";

const VALUES: readonly StoredValue[] = [
  null,
  0n,
  -1n,
  2n ** 63n - 1n,
  1.5,
  -0,
  "",
  "x",
  new Uint8Array(1),
];
/** Not up to the limit of 2^40: there a row can no longer be written, as the next test shows. */
const CLOCKS = [1, 2, 3, 4, 5, 7, 2 ** 39, 2 ** 39 + 1, 2 ** 41];
const pick = <T>(random: Random, list: readonly T[]): T => list[random.below(list.length)] as T;

const bendCell = (random: Random, cell: CellChange): CellChange => {
  switch (random.below(4)) {
    case 0:
      return { ...cell, value: pick(random, VALUES) };
    case 1:
      return { ...cell, columnVersion: pick(random, CLOCKS) };
    case 2:
      return { ...cell, column: cell.column + random.below(2) };
    default:
      return cell;
  }
};

const bendRow = (random: Random, row: RowChanges): RowChanges => {
  const cells = row.cells
    .filter(() => random.below(4) > 0)
    .map((cell) => (random.below(3) === 0 ? bendCell(random, cell) : cell));
  const ascending = cells.filter(
    (cell, at) => at === 0 || cell.column > (cells[at - 1]?.column ?? 0),
  );
  switch (random.below(4)) {
    case 0:
      return { ...row, causalLength: pick(random, CLOCKS), cells: ascending };
    case 1:
      return { ...row, sentinel: random.below(2) === 0, cells: ascending };
    case 2: {
      const causalLength = 2 * (1 + random.below(3));
      return { ...row, causalLength, sentinel: true, cells: [] };
    }
    default:
      return { ...row, cells: ascending };
  }
};

/** Half of them are still valid; of the others some do not even decode. */
function bend(random: Random, payload: ChangesetPayload): Uint8Array {
  const tables = payload.tables.map(({ table, rows }) => ({
    table,
    rows: rows.map((row) => bendRow(random, row)),
  }));
  const bytes = encodePayload({ ...payload, schemaHash: null, tables });
  if (random.below(4) === 0) bytes[random.below(bytes.length)] = random.below(256);
  return bytes;
}

const shuffled = <T>(random: Random, list: readonly T[]): T[] => {
  const copy = [...list];
  for (let at = copy.length - 1; at > 0; at--) {
    const other = random.below(at + 1);
    [copy[at], copy[other]] = [copy[other] as T, copy[at] as T];
  }
  return copy;
};

/** The hostile author's chain, made of bent copies of what honest ones wrote so far. */
async function forgeChain(
  random: Random,
  author: number,
  replicas: readonly ReplicaDatabase[],
): Promise<VerifiedChangeset[]> {
  const honest: ChangesetPayload[] = [];
  for (const replica of replicas) {
    for (const { payload } of await changesetsOf(replica, replica.signer.siteId)) {
      honest.push(decodePayload(payload));
    }
  }
  const chain: VerifiedChangeset[] = [];
  for (let version = 1; version <= 12; version++) {
    const previous = chain.at(-1);
    const options = previous === undefined ? {} : { previousHash: previous.headerHash };
    const payload = bend(random, pick(random, honest));
    chain.push(await forge(author, payload, { version, ...options }));
  }
  return chain;
}

test.each(Array.from({ length: 10 }, (_, at) => at + 1))(
  "[M4] [M6] a hostile author among honest ones: alike everywhere, as the model says (seed %i)",
  async (seed) => {
    const random = createSeededRandom(seed);
    const schema = await checkSchema(ANIMALS, await compileSqliteInNode());
    const numbers = [0, 1, 2].map((at) => 10_000 + 10 * seed + at);
    const replicas = await Promise.all(numbers.map(async (number) => openReplica(number)));
    const writeSome = async (): Promise<void> => {
      for (const replica of replicas) {
        for (let work = random.below(6); work > 0; work--) await randomTransaction(replica, random);
      }
    };
    await writeSome();
    // At least one to bend.
    await replicas[0]?.exec(
      "INSERT INTO animal (id, legs) VALUES ('a', 4) ON CONFLICT DO UPDATE SET legs = coalesce(legs, 0) / 2 + 3",
    );
    const chain = await forgeChain(random, 10_005 + 10 * seed, replicas);
    for (const replica of replicas) await replica.append(shuffled(random, chain));
    await writeSome();
    await syncAll(replicas);
    await writeSome();
    await syncAll(replicas);
    const [first] = replicas as [ReplicaDatabase];
    const model: ModelTables = new Map();
    const merged = new Set<string>();
    const { held, parked } = first.counts();
    const total = first.vector().reduce((sum, { head }) => sum + head, 0);
    const events = first.events();
    for (let count = total - held - parked - first.counts().void; count > 0; count--) {
      merged.add((await events.next()).value?.headerHash ?? "");
    }
    for (const { site } of first.vector()) {
      for (const { payload, headerHash } of await changesetsOf(first, site)) {
        if (merged.has(headerHash)) mergeIntoModel(model, decodePayload(payload));
      }
    }
    expect(await rowsOf(first, schema)).toEqual(rowsOfModel(model, schema));
    const hash = await first.stateHash();
    for (const replica of replicas) {
      expect(await replica.stateHash()).toBe(hash);
      expect(replica.counts()).toMatchObject({
        held,
        parked,
        void: first.counts().void,
        forks: [],
      });
      await replica.rebuild();
      expect(await replica.stateHash()).toBe(hash);
    }
    for (const replica of replicas) await replica.close();
  },
  30_000,
);

test("[L10] a row whose clock a hostile author drove to the limit is refused at the writer, only it", async () => {
  const [a, b] = await Promise.all([openReplica(10_001), openReplica(10_002)]);
  const row = {
    primaryKey: packKey(["x"]),
    causalLength: CLOCK_MAX,
    sentinel: true,
    cells: [],
  };
  expect(await a.append([await forge(10_003, rowPayload(0, row))])).toEqual([
    { verdict: "applied" },
  ]);
  const insert = "INSERT INTO animal (id) VALUES (?)";
  await expect(a.exec(insert, ["x"])).rejects.toMatchObject({ code: "ERR_ROWS_INVALID" });
  await a.exec(insert, ["y"]);
  await syncAll([a, b]);
  expect(await b.query("SELECT id FROM animal")).toEqual([{ id: "y" }]);
  expect(await b.stateHash()).toBe(await a.stateHash());
  await a.close();
  await b.close();
});
