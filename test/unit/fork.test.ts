/** One key, several contents under one version: every branch merges, in whatever order it arrives. */
import { expect, test } from "vitest";
import { packKey } from "../../src/db/packed-key.ts";
import { checkSchema } from "../../src/db/check-schema.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import type { ReplicaDatabase } from "../../src/db/replica-database.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import { compareDependencies, type VerifiedChangeset } from "../../src/protocol/changeset.ts";
import { decodeRun } from "../../src/protocol/changeset-run.ts";
import { fromHex, ZERO_HASH } from "../../src/protocol/ids.ts";
import { decodePayload } from "../../src/protocol/payload.ts";
import type { Random } from "../../src/seams.ts";
import { verifyRun } from "../../src/signing/verified-changeset.ts";
import { forge, rowPayload } from "../fixtures/forge.ts";
import {
  ANIMALS,
  copyStorage,
  ed25519,
  MESH,
  openReplica,
  signerOf,
} from "../fixtures/replicas.ts";
import { mergeIntoModel, type ModelTables } from "../../src/testing/merge-model.ts";
import { rowsOf, rowsOfModel } from "../../src/testing/shown-rows.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";

const causeOf = ({ header, headerHash }: VerifiedChangeset) => ({
  site: header.site,
  version: header.version,
  hashPrefix: fromHex(headerHash.slice(0, 16)),
});

/** Few rows and versions: the same clock under different values is the rule. */
const drawPayload = (random: Random): Uint8Array =>
  rowPayload(0, {
    primaryKey: packKey([`r${random.below(4)}`]),
    causalLength: 1 + 2 * random.below(2),
    cells: [{ column: 1, columnVersion: 1 + random.below(3), value: `v${random.below(50)}` }],
  });

/** A tree of two keys that fork often, with causes from all over it. Causes come before effects. */
async function drawTree(random: Random, count: number): Promise<VerifiedChangeset[]> {
  const all: VerifiedChangeset[] = [];
  for (let i = 0; i < count; i++) {
    const author = 40 + random.below(2);
    const { siteId } = await signerOf(author);
    const own = all.filter(({ header }) => header.site === siteId);
    const isFork = random.below(3) === 0;
    const previous = isFork ? own[random.below(own.length + 1)] : own.at(-1);
    const causes = [all[random.below(all.length + 1)], all[random.below(all.length + 1)]]
      .filter((cause) => cause !== undefined)
      .map(causeOf)
      .sort(compareDependencies);
    const dependencies = causes.filter(
      (cause, at) => at === 0 || compareDependencies(causes[at - 1] as typeof cause, cause) < 0,
    );
    all.push(
      await forge(author, drawPayload(random), {
        version: (previous?.header.version ?? 0) + 1,
        previousHash: previous?.headerHash ?? ZERO_HASH,
        dependencies,
      }),
    );
  }
  return all;
}

/** In a random order, again and again until nothing is left for later. */
async function appendShuffled(
  replica: ReplicaDatabase,
  changesets: readonly VerifiedChangeset[],
  random: Random,
): Promise<void> {
  const isMissing = ({ header, headerHash }: VerifiedChangeset): boolean =>
    replica.findHash(header.site, header.stream, header.version, headerHash) === null;
  // What was held beyond a gap may be let go: look at all of them each time.
  for (let round = 0; changesets.some(isMissing); round++) {
    if (round > 100) throw new Error("changesets are refused for ever");
    const shuffled = changesets
      .filter(isMissing)
      .map((changeset) => ({ changeset, place: random.below(1_000_000) }))
      .sort((a, b) => a.place - b.place);
    for (const { changeset } of shuffled) await replica.append([changeset]);
  }
}

test.each(Array.from({ length: 12 }, (_, at) => at + 1))(
  "[L4] one tree of branches makes one vector and the model's tables in any order (seed %i)",
  async (seed) => {
    const random = createSeededRandom(seed);
    const tree = await drawTree(random, 30);
    const model: ModelTables = new Map();
    for (const { payload } of tree) mergeIntoModel(model, decodePayload(payload));
    const schema = await checkSchema(ANIMALS, await compileSqliteInNode());
    const vectors = new Set<string>();
    for (let order = 0; order < 4; order++) {
      const storage = createMemoryStorage();
      let replica = await openReplica(1, { storage });
      const half = order === 3 ? 15 : 30;
      await appendShuffled(replica, tree.slice(0, half), random);
      if (half < 30) {
        await replica.close();
        replica = await openReplica(1, { storage });
        await appendShuffled(replica, tree.slice(half), random);
      }
      expect(replica.counts()).toMatchObject({ held: 0, parked: 0, void: 0 });
      expect(await rowsOf(replica, schema)).toEqual(rowsOfModel(model, schema));
      vectors.add(JSON.stringify([...replica.vector()].sort((a, b) => compareNames(a, b))));
      const hash = await replica.stateHash();
      await replica.rebuild();
      expect(await replica.stateHash()).toBe(hash);
      await replica.close();
    }
    expect(vectors.size).toBe(1);
  },
  30_000,
);

const compareNames = (a: object, b: object): number =>
  JSON.stringify(a) < JSON.stringify(b) ? -1 : 1;

/** All that `from` claims, branch by branch, as its receivers would verify it. */
async function carry(from: ReplicaDatabase, to: ReplicaDatabase): Promise<void> {
  for (const { floor, head, ...name } of from.vector()) {
    const range = { ...name, first: floor + 1, last: head };
    const { runs } = await from.read(range, 1_000_000);
    for (const run of runs) {
      const { verified, refused } = await verifyRun(ed25519, decodeRun(run), MESH);
      expect(refused).toBeNull();
      await to.append(verified);
    }
  }
}

test("[M1] what a branch leaves holds back the branch, and whoever names it as a cause", async () => {
  const replica = await openReplica(1);
  const random = createSeededRandom(1);
  const next = async (
    author: number,
    previous: VerifiedChangeset | null,
    causes: readonly VerifiedChangeset[] = [],
  ): Promise<VerifiedChangeset> =>
    forge(author, drawPayload(random), {
      version: (previous?.header.version ?? 0) + 1,
      previousHash: previous?.headerHash ?? ZERO_HASH,
      dependencies: causes.map(causeOf).sort(compareDependencies),
    });
  const cause = await next(41, null);
  const first = await next(40, null);
  const waiting = await next(40, first, [cause]);
  const branches = [await next(40, waiting), await next(40, waiting), await next(40, waiting)];
  const effect = await next(42, null, [waiting]);
  const verdictsOf = async (changesets: readonly VerifiedChangeset[]): Promise<string[]> =>
    (await replica.append(changesets)).map(({ verdict }) => verdict);
  expect(await verdictsOf([first, waiting, ...branches, effect])).toEqual([
    "applied",
    ...Array.from({ length: 5 }, () => "held"),
  ]);
  expect(await verdictsOf([cause])).toEqual(["applied"]);
  expect(replica.counts()).toMatchObject({ held: 0, parked: 0, void: 0 });
  await replica.close();
});

const insert = (db: ReplicaDatabase, id: string) =>
  db.exec("INSERT INTO animal (id, name) VALUES (?, 'x')", [id]);

test("[L4] two copies of one profile go on writing, each on its branch, and nothing is lost", async () => {
  const storage = createMemoryStorage();
  let first = await openReplica(1, { storage });
  await insert(first, "before");
  await first.close();
  const copied = await copyStorage(storage);
  first = await openReplica(1, { storage });
  let clone = await openReplica(1, { storage: copied });
  const third = await openReplica(3);
  const wrote = ["before"];
  for (let round = 0; round < 4; round++) {
    for (const [name, db] of [
      ["first", first],
      ["clone", clone],
    ] as const) {
      await insert(db, `${name}${round}`);
      await db.exec("UPDATE animal SET name = ? WHERE id = 'before'", [`${name}${round}`]);
      wrote.push(`${name}${round}`);
    }
    const all = [first, clone, third];
    for (let i = 0; i < 3; i++) {
      for (const from of all) for (const to of all) if (from !== to) await carry(from, to);
    }
    if (round === 1) {
      await clone.close();
      clone = await openReplica(1, { storage: copied });
    }
  }
  const replicas = [first, clone, third];
  const hashes = new Set<string>();
  const vectors = new Set<string>();
  for (const db of replicas) {
    const rows = await db.query<{ id: string }>("SELECT id FROM animal ORDER BY id");
    expect(rows.map(({ id }) => id)).toEqual([...wrote].sort());
    expect(db.counts()).toMatchObject({ held: 0, parked: 0, void: 0 });
    expect(db.counts().forks.map(({ version, headers }) => [version, headers.length])).toEqual([
      [2, 2],
    ]);
    vectors.add(JSON.stringify([...db.vector()].sort(compareNames)));
    hashes.add(await db.stateHash());
    await db.rebuild();
    hashes.add(await db.stateHash());
    await db.close();
  }
  expect(hashes.size).toBe(1);
  expect(vectors.size).toBe(1);
});
