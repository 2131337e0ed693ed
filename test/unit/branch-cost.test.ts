/** A key that forks without end costs what as many authors would, and gives one log in any order. */
import { expect, test } from "vitest";
import { loadChains } from "../../src/db/chains.ts";
import { type Engine, openEngine } from "../../src/db/engine.ts";
import { readForks } from "../../src/db/forks.ts";
import { packKey } from "../../src/db/packed-key.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import type { Storage } from "../../src/db/storage.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import { ByteWriter } from "../../src/protocol/bytes.ts";
import type { VerifiedChangeset } from "../../src/protocol/changeset.ts";
import { ZERO_HASH } from "../../src/protocol/ids.ts";
import { type VectorEntry, writeVectorEntry } from "../../src/protocol/version-vector.ts";
import { forge, rowPayload } from "../fixtures/forge.ts";
import { openReplica } from "../fixtures/replicas.ts";

const BRANCHES = 120;

/** `author` of each of them; two versions long, each with a row of its own. */
async function chainsOfTwo(author: (at: number) => number): Promise<VerifiedChangeset[]> {
  const all: VerifiedChangeset[] = [];
  for (let at = 0; at < BRANCHES; at++) {
    const payload = rowPayload(0, {
      primaryKey: packKey([`r${at}`]),
      cells: [{ column: 1, columnVersion: 1, value: "x" }],
    });
    const first = await forge(author(at), payload);
    const { headerHash: previousHash } = first;
    all.push(first, await forge(author(at), payload, { version: 2, previousHash }));
  }
  return all;
}

/** Counts the steps of all statements. */
function counting(engine: Engine): { readonly engine: Engine; readonly takeSteps: () => number } {
  let steps = 0;
  return {
    engine: {
      ...engine,
      prepare: (sql) => {
        const statement = engine.prepare(sql);
        const step = (): boolean => {
          steps++;
          return statement.step();
        };
        return { ...statement, step };
      },
    },
    takeSteps: () => {
      const taken = steps;
      steps = 0;
      return taken;
    },
  };
}

interface Cost {
  readonly vector: readonly VectorEntry[];
  readonly vectorBytes: number;
  /** Of SQL, to find each changeset by its hash. */
  readonly findSteps: number;
  readonly forkSteps: number;
  readonly forks: ReturnType<typeof readForks>;
}

async function costOf(changesets: readonly VerifiedChangeset[]): Promise<Cost> {
  const storage: Storage = createMemoryStorage();
  const replica = await openReplica(1, { storage });
  for (const { verdict } of await replica.append(changesets)) expect(verdict).toBe("applied");
  const vector = [...replica.vector()].sort((a, b) =>
    `${a.site}${a.branch ?? ""}` < `${b.site}${b.branch ?? ""}` ? -1 : 1,
  );
  await replica.close();
  const writer = new ByteWriter();
  for (const entry of vector) writeVectorEntry(writer, entry);
  const { engine, takeSteps } = counting(
    await openEngine({
      wasm: await compileSqliteInNode(),
      files: await storage.openFiles(0),
      atomicity: storage.atomicity,
    }),
  );
  const chains = loadChains(engine, 1, () => ({ head: 0, headHash: ZERO_HASH }));
  takeSteps();
  for (const { header, headerHash } of changesets) {
    const chain = chains.find(header.site, header.stream, header.version, headerHash);
    expect(chain?.site).toBe(header.site);
  }
  const findSteps = takeSteps();
  const forks = readForks({ chains }, engine);
  const forkSteps = takeSteps();
  engine.close();
  return { vector, vectorBytes: writer.length, findSteps, forkSteps, forks };
}

test("[L14] a branch costs what an author costs, and none is ever taken back", async () => {
  const branches = await chainsOfTwo(() => 40);
  const forked = await costOf(branches);
  const authors = await costOf(await chainsOfTwo((at) => 100 + at));
  expect(forked.vector).toHaveLength(BRANCHES);
  expect(forked.vectorBytes).toBe(authors.vectorBytes + 16 * (BRANCHES - 1));
  // Three more steps each: the main chain is looked at first, then the index.
  expect(forked.findSteps - authors.findSteps).toBeLessThanOrEqual(3 * branches.length);
  expect(forked.forkSteps).toBeLessThanOrEqual(3 * BRANCHES);
  expect(forked.forks).toMatchObject([{ version: 1 }]);
  expect(forked.forks[0]?.headers).toHaveLength(BRANCHES);
  const backwards = [];
  for (let at = branches.length - 2; at >= 0; at -= 2) {
    backwards.push(...branches.slice(at, at + 2));
  }
  expect((await costOf(backwards)).vector).toEqual(forked.vector);
}, 60_000);
