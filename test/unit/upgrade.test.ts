/** Devices that upgrade the app at different times, in the middle of everything. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { checkSchema } from "../../src/db/check-schema.ts";
import type { Engine } from "../../src/db/engine.ts";
import type { ReplicaDatabase } from "../../src/db/replica-database.ts";
import type { AppSchema, Schema } from "../../src/db/schema.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import type { VerifiedChangeset } from "../../src/protocol/changeset.ts";
import { toHex } from "../../src/protocol/ids.ts";
import { decodePayload } from "../../src/protocol/payload.ts";
import type { SqlValue } from "../../src/protocol/values.ts";
import type { Random } from "../../src/seams.ts";
import { isAlive, mergeIntoModel, type ModelTables } from "../../src/testing/merge-model.ts";
import { randomStatements } from "../../src/testing/random-work.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { rowsOf, rowsOfModel } from "../../src/testing/shown-rows.ts";
import {
  ANIMALS,
  ANIMALS_2,
  ANIMALS_3,
  changesetsOf,
  openReplica,
  pull,
  syncAll,
} from "../fixtures/replicas.ts";
import { openTestEngine, storedRows } from "./open-test-engine.ts";

const RUNS = Number(process.env["UPGRADE_RUNS"] ?? 12);
const REPLICAS = 3;
const VERSIONS: readonly Schema[] = [ANIMALS, ANIMALS_2, ANIMALS_3];

type Statement = readonly [sql: string, params: readonly SqlValue[]];

/** What only an app of that version says. */
const workOf = (version: number, random: Random): Statement => {
  const id = ["a", "b", ""][random.below(3)] as string;
  const tag = [new Uint8Array(0), Uint8Array.of(0)][random.below(2)] as Uint8Array;
  const number = random.below(3);
  const works: readonly (readonly Statement[])[] = [
    [
      ["UPDATE animal SET tame = 1 - tame", []],
      ["INSERT OR REPLACE INTO trap (id, place) VALUES (?, ?)", [id, `place ${number}`]],
      ["INSERT OR IGNORE INTO animal (id, tame) VALUES (?, 1)", [id]],
      ["DELETE FROM trap WHERE id = ?", [id]],
    ],
    [
      ["UPDATE animal SET speed = speed * 2 + ? WHERE id = ?", [number + 0.5, id]],
      ["INSERT INTO tag VALUES (?, 'red') ON CONFLICT DO UPDATE SET colour = colour || 'x'", [tag]],
      ["UPDATE trap SET bait = ?", [[null, 5, 5.5, "5", tag][random.below(5)] ?? null]],
      ["INSERT OR REPLACE INTO animal (id, speed, tame) VALUES (?, ?, 1)", [id, number]],
    ],
  ];
  const known = works.slice(0, version - 1).flat();
  return known[random.below(known.length)] as Statement;
};

async function write(db: ReplicaDatabase, version: number, random: Random): Promise<void> {
  const statements: Statement[] = randomStatements(random).map(({ sql, params }) => [sql, params]);
  if (version > 1) {
    const at = random.below(statements.length + 1);
    statements.splice(at, random.below(3), workOf(version, random));
  }
  await db.transaction(async (tx) => {
    for (const [sql, params] of statements) await tx.exec(sql, params);
  });
}

/** Some of what the one holds, in any order. */
async function deliver(from: ReplicaDatabase, to: ReplicaDatabase, random: Random): Promise<void> {
  const some: VerifiedChangeset[] = [];
  for (const { site } of from.vector()) some.push(...(await changesetsOf(from, site)));
  if (random.below(2) === 0) some.sort(() => random.below(3) - 1);
  await to.append(some.filter(() => random.below(4) > 0));
}

/** Causal length and column versions, by table and packed key: what later merges go by. */
function clocksOf(engine: Engine, { tables }: AppSchema): ReadonlyMap<string, unknown> {
  const clocks = new Map<string, { causalLength: bigint; cells: Record<string, bigint> }>();
  const changes = storedRows(engine, 'SELECT "table", pk, cid, col_version, cl FROM crsql_changes');
  for (const [table, key, cid, columnVersion, causalLength] of changes) {
    const number = tables.findIndex(({ name }) => name === table);
    const place = `${number}/${toHex(key as Uint8Array)}`;
    const row = clocks.get(place) ?? { causalLength: causalLength as bigint, cells: {} };
    if (cid !== "-1") row.cells[cid as string] = columnVersion as bigint;
    clocks.set(place, row);
  }
  return clocks;
}

const clocksOfModel = (model: ModelTables, { tables }: AppSchema): ReadonlyMap<string, unknown> =>
  new Map(
    [...model].map(([place, row]) => {
      const { columns } = tables[Number(place.split("/")[0])] as AppSchema["tables"][number];
      const cells = [...row.cells].map(([cid, { columnVersion }]) => [
        columns[cid]?.name ?? "?",
        BigInt(columnVersion),
      ]);
      return [
        place,
        {
          causalLength: BigInt(row.causalLength),
          cells: isAlive(row) ? Object.fromEntries(cells) : {},
        },
      ];
    }),
  );

interface Step {
  readonly at: number;
  /** Counted on from `at`. */
  readonly other: number;
  readonly seed: number;
  readonly act: "write" | "deliver" | "pull" | "upgrade" | "rebuild";
}

interface History {
  /** The schema version each replica begins with. */
  readonly first: readonly number[];
  readonly steps: readonly Step[];
  /** Who upgrades when, in the end. */
  readonly last: readonly number[];
}

const history: fc.Arbitrary<History> = fc.record({
  first: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: REPLICAS, maxLength: REPLICAS }),
  steps: fc.array(
    fc.record({
      at: fc.nat(REPLICAS - 1),
      other: fc.nat(REPLICAS - 2),
      seed: fc.nat(0xffff),
      act: fc.oneof(
        { weight: 8, arbitrary: fc.constant("write" as const) },
        { weight: 4, arbitrary: fc.constant("deliver" as const) },
        { weight: 3, arbitrary: fc.constant("pull" as const) },
        { weight: 1, arbitrary: fc.constant("upgrade" as const) },
        { weight: 1, arbitrary: fc.constant("rebuild" as const) },
      ),
    }),
    { minLength: 10, maxLength: 40, size: "max" },
  ),
  last: fc.shuffledSubarray([0, 0, 1, 1, 2, 2], { minLength: 6 }),
});

/** Replicas that can be closed and opened with another schema. */
async function openFleet(first: readonly number[]) {
  const versions = [...first];
  const storages = first.map(() => createMemoryStorage());
  const open = (at: number): Promise<ReplicaDatabase> =>
    openReplica(at + 1, {
      storage: storages[at] as (typeof storages)[0],
      schema: VERSIONS[(versions[at] as number) - 1] as Schema,
    });
  const replicas = await Promise.all(first.map((_, at) => open(at)));
  return {
    replicas,
    storages,
    versionOf: (at: number): number => versions[at] as number,
    get: (at: number): ReplicaDatabase => replicas[at % REPLICAS] as ReplicaDatabase,
    upgrade: async (at: number): Promise<void> => {
      if (versions[at] === VERSIONS.length) return;
      await replicas[at]?.close();
      versions[at] = (versions[at] as number) + 1;
      replicas[at] = await open(at);
    },
  };
}

async function runHistory({ first, steps, last }: History): Promise<void> {
  const fleet = await openFleet(first);
  for (const { at, other, seed, act } of steps) {
    const random = createSeededRandom(seed);
    const [one, another] = [fleet.get(at), fleet.get(at + 1 + other)];
    if (act === "write") await write(one, fleet.versionOf(at), random);
    if (act === "deliver") await deliver(another, one, random);
    if (act === "pull") await pull(another, one);
    if (act === "upgrade") await fleet.upgrade(at);
    if (act === "rebuild") await one.rebuild();
  }
  for (const at of last) {
    // Also those who must park what they get.
    await syncAll(fleet.replicas);
    await fleet.upgrade(at);
  }
  const schema = await checkSchema(ANIMALS_3, await compileSqliteInNode());
  const model: ModelTables = new Map();
  for (const { site } of fleet.get(0).vector()) {
    for (const { payload } of await changesetsOf(fleet.get(0), site)) {
      mergeIntoModel(model, decodePayload(payload));
    }
  }
  const shown = rowsOfModel(model, schema);
  const clocks = clocksOfModel(model, schema);
  for (const [at, replica] of fleet.replicas.entries()) {
    expect(replica.counts()).toMatchObject({ held: 0, parked: 0, void: 0, forks: [] });
    expect(await rowsOf(replica, schema)).toEqual(shown);
    await replica.rebuild();
    expect(await rowsOf(replica, schema)).toEqual(shown);
    await replica.close();
    const engine = await openTestEngine(fleet.storages[at]);
    expect(clocksOf(engine, schema)).toEqual(clocks);
    engine.close();
  }
}

test(
  "[M13] replicas of three schema versions go on, and hold the model's tables once all are upgraded",
  () => fc.assert(fc.asyncProperty(history, runHistory), { numRuns: RUNS, endOnFailure: true }),
  120_000,
);
