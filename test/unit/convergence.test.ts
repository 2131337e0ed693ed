import { expect, test } from "vitest";
import type { ReplicaDatabase } from "../../src/db/replica-database.ts";
import { checkSchema } from "../../src/db/check-schema.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import type { VerifiedChangeset } from "../../src/protocol/changeset.ts";
import { decodePayload } from "../../src/protocol/payload.ts";
import type { Random } from "../../src/seams.ts";
import { randomTransaction } from "../../src/testing/random-work.ts";
import { ANIMALS, changesetsOf, openReplica, pull, syncAll } from "../fixtures/replicas.ts";
import { mergeIntoModel, type ModelTables } from "../../src/testing/merge-model.ts";
import { rowsOf, rowsOfModel } from "../../src/testing/shown-rows.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";

const SEEDS = Number(process.env["DB_SEEDS"] ?? 12);
const FIRST_SEED = Number(process.env["DB_SEED"] ?? 1);

async function deliverSome(replicas: readonly ReplicaDatabase[], random: Random): Promise<void> {
  const from = replicas[random.below(replicas.length)] as ReplicaDatabase;
  const to = replicas[random.below(replicas.length)] as ReplicaDatabase;
  if (from === to) return;
  if (random.below(3) === 0) {
    await pull(from, to);
    return;
  }
  const all: VerifiedChangeset[] = [];
  for (const { site, head } of from.vector())
    all.push(...(await changesetsOf(from, site, 1, head)));
  // Lost, twice, out of order.
  const some = all.filter(() => random.below(2) === 0);
  if (random.below(2) === 0) some.sort(() => random.below(3) - 1);
  await to.append([...some, ...some.slice(0, 2)]);
}

/** P4: on this replica every changeset was merged after its predecessor and its causes. */
async function expectCausesFirst(
  replica: ReplicaDatabase,
  changesets: ReadonlyMap<string, VerifiedChangeset>,
): Promise<void> {
  const merged = new Map<string, number>();
  let count = 0;
  for await (const { siteId, version, headerHash } of replica.events()) {
    const { header } = changesets.get(headerHash) as VerifiedChangeset;
    expect(version).toBe((merged.get(siteId) ?? 0) + 1);
    for (const cause of header.dependencies) {
      expect(merged.get(cause.site) ?? 0).toBeGreaterThanOrEqual(cause.version);
    }
    merged.set(siteId, version);
    count++;
    if (count === changesets.size) return;
  }
}

async function runHistory(seed: number): Promise<void> {
  const random = createSeededRandom(seed);
  const schema = await checkSchema(ANIMALS, await compileSqliteInNode());
  const replicas = await Promise.all(
    Array.from({ length: 3 + random.below(3) }, (_, at) => openReplica(1000 * seed + at)),
  );
  for (let step = 0; step < 40; step++) {
    const one = replicas[random.below(replicas.length)] as ReplicaDatabase;
    if (random.below(3) > 0) await randomTransaction(one, random);
    else await deliverSome(replicas, random);
    if (random.below(25) === 0) await one.rebuild();
  }
  await syncAll(replicas);
  const [first, ...others] = replicas as [ReplicaDatabase, ...ReplicaDatabase[]];
  const hash = await first.stateHash();
  const model: ModelTables = new Map();
  const changesets = new Map<string, VerifiedChangeset>();
  for (const { site } of first.vector()) {
    for (const changeset of await changesetsOf(first, site)) {
      changesets.set(changeset.headerHash, changeset);
      mergeIntoModel(model, decodePayload(changeset.payload));
    }
  }
  expect(await rowsOf(first, schema)).toEqual(rowsOfModel(model, schema));
  for (const replica of others) {
    expect(await replica.stateHash()).toBe(hash);
    expect(replica.vector().length).toBe(first.vector().length);
  }
  for (const replica of replicas) {
    expect(replica.counts()).toMatchObject({ held: 0, parked: 0, void: 0, forks: [] });
    await expectCausesFirst(replica, changesets);
    await replica.rebuild();
    expect(await replica.stateHash()).toBe(hash);
    await replica.close();
  }
}

test.each(Array.from({ length: SEEDS }, (_, at) => FIRST_SEED + at))(
  "[M6] replicas with the same changesets hold the tables of the model (DB_SEED=%i DB_SEEDS=1)",
  runHistory,
  60_000,
);
