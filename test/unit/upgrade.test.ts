/** Devices that upgrade the app at different times, in the middle of everything. */
import { expect, test } from "vitest";
import type { ReplicaDatabase } from "../../src/db/replica-database.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import type { VerifiedChangeset } from "../../src/protocol/changeset.ts";
import { randomTransaction } from "../../src/testing/random-work.ts";
import {
  ANIMALS,
  ANIMALS_2,
  changesetsOf,
  openReplica,
  pull,
  syncAll,
} from "../fixtures/replicas.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";

test.each(Array.from({ length: 8 }, (_, at) => at + 1))(
  "[M3] replicas of two schema versions go on, and hold the same once all are upgraded (seed %i)",
  async (seed) => {
    const random = createSeededRandom(seed);
    const numbers = [0, 1, 2].map((at) => 1_000 * seed + at);
    const storages = numbers.map(() => createMemoryStorage());
    const versions = [1, 1, 1 + random.below(2)];
    const open = async (at: number): Promise<ReplicaDatabase> =>
      openReplica(numbers[at] as number, {
        storage: storages[at] as (typeof storages)[0],
        schema: versions[at] === 1 ? ANIMALS : ANIMALS_2,
      });
    const replicas = await Promise.all([open(0), open(1), open(2)]);
    const upgrade = async (at: number): Promise<void> => {
      await replicas[at]?.close();
      versions[at] = 2;
      replicas[at] = await open(at);
    };
    for (let step = 0; step < 40; step++) {
      const at = random.below(3);
      const one = replicas[at] as ReplicaDatabase;
      const other = replicas[(at + 1 + random.below(2)) % 3] as ReplicaDatabase;
      if (versions[at] === 2 && random.below(2) === 0) {
        await one.exec("UPDATE animal SET tame = 1 - tame");
        await one.exec("INSERT OR REPLACE INTO trap VALUES ('t', ?)", [random.below(9).toString()]);
      } else await randomTransaction(one, random);
      if (random.below(3) === 0) {
        const some: VerifiedChangeset[] = [];
        for (const { site } of other.vector()) some.push(...(await changesetsOf(other, site)));
        await one.append(some.filter(() => random.below(4) > 0));
      }
      if (random.below(3) === 0) await pull(other, one);
      const chance = random.below(20);
      if (chance === 0) await upgrade(at);
      if (chance === 1) await one.rebuild();
    }
    await syncAll(replicas);
    for (const at of [0, 1, 2]) if (versions[at] === 1) await upgrade(at);
    await syncAll(replicas);
    const hashes = new Set<string>();
    for (const replica of replicas) {
      expect(replica.counts()).toMatchObject({ held: 0, parked: 0, void: 0, forks: [] });
      hashes.add(await replica.stateHash());
      await replica.rebuild();
      hashes.add(await replica.stateHash());
      await replica.close();
    }
    expect(hashes.size).toBe(1);
  },
  30_000,
);
