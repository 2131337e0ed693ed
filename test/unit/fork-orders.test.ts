/**
 * Branches in any order, with restarts, rebuilds and own work between any two of them: the vector is
 * what the rule makes of the set of changesets, and no effect was merged before its causes.
 */
import { expect, test } from "vitest";
import { checkSchema } from "../../src/db/check-schema.ts";
import { openEngine } from "../../src/db/engine.ts";
import { packKey } from "../../src/db/packed-key.ts";
import type { ReplicaDatabase } from "../../src/db/replica-database.ts";
import type { Storage } from "../../src/db/storage.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import {
  compareDependencies,
  decodeHeader,
  type VerifiedChangeset,
} from "../../src/protocol/changeset.ts";
import { decodeRun } from "../../src/protocol/changeset-run.ts";
import { fromHex, type SiteId, toHex, ZERO_HASH } from "../../src/protocol/ids.ts";
import { decodePayload } from "../../src/protocol/payload.ts";
import type { Random } from "../../src/seams.ts";
import { verifyRun } from "../../src/signing/verified-changeset.ts";
import { mergeIntoModel, type ModelTables } from "../../src/testing/merge-model.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { rowsOf, rowsOfModel } from "../../src/testing/shown-rows.ts";
import { forge, rowPayload } from "../fixtures/forge.ts";
import { ANIMALS, ed25519, MESH, openReplica, signerOf } from "../fixtures/replicas.ts";

const AUTHOR = 40;

const drawPayload = (random: Random): Uint8Array =>
  rowPayload(0, {
    primaryKey: packKey([`r${random.below(4)}`]),
    causalLength: 1 + 2 * random.below(2),
    cells: [{ column: 1, columnVersion: 1 + random.below(3), value: `v${random.below(50)}` }],
  });

/** Keys that fork often, with causes from all over the tree. */
async function drawTree(random: Random, count: number): Promise<VerifiedChangeset[]> {
  const authors = 1 + random.below(3);
  const all: VerifiedChangeset[] = [];
  for (let i = 0; i < count; i++) {
    const author = AUTHOR + random.below(authors);
    const { siteId } = await signerOf(author);
    const own = all.filter(({ header }) => header.site === siteId);
    const previous = random.below(3) === 0 ? own[random.below(own.length + 1)] : own.at(-1);
    const causes = [all[random.below(all.length + 1)], all[random.below(all.length + 1)]]
      .filter((cause) => cause !== undefined)
      .map(({ header: { site, version }, headerHash }) => ({
        site,
        version,
        hashPrefix: fromHex(headerHash.slice(0, 16)),
      }))
      .sort(compareDependencies);
    const [first, second] = causes;
    const isTwice =
      first !== undefined &&
      second !== undefined &&
      first.hashPrefix.join() === second.hashPrefix.join();
    all.push(
      await forge(author, drawPayload(random), {
        version: (previous?.header.version ?? 0) + 1,
        previousHash: previous?.headerHash ?? ZERO_HASH,
        dependencies: isTwice ? [first] : causes,
      }),
    );
  }
  return all;
}

const shown = (
  site: SiteId,
  branch: string | undefined,
  floor: number,
  head: number,
  headHash: string,
): string => `${site} ${branch ?? "main"} ${floor} ${head} ${headHash.slice(0, 32)}`;

const shownVector = (replica: ReplicaDatabase): string[] =>
  replica
    .vector()
    .map(({ site, branch, floor, head, headHash }) => shown(site, branch, floor, head, headHash))
    .sort();

/** Rule L4, straight from the set. */
function vectorOf(all: readonly VerifiedChangeset[]): string[] {
  const entries: string[] = [];
  const followers = (site: SiteId, hash: string): VerifiedChangeset[] =>
    all
      .filter(({ header, previousHash }) => header.site === site && previousHash === hash)
      .sort((a, b) => (a.headerHash < b.headerHash ? -1 : 1));
  const walk = (
    site: SiteId,
    base: VerifiedChangeset | null,
    first: VerifiedChangeset | null,
  ): void => {
    let head = first;
    for (;;) {
      const [next, ...others] = followers(site, head?.headerHash ?? ZERO_HASH);
      for (const other of others) walk(site, head, other);
      if (next === undefined) break;
      head = next;
    }
    const branch = first?.headerHash.slice(0, 32);
    const { header, headerHash = "" } = head ?? {};
    entries.push(shown(site, branch, base?.header.version ?? 0, header?.version ?? 0, headerHash));
  };
  for (const site of new Set(all.map(({ header }) => header.site))) walk(site, null, null);
  return entries.sort();
}

/** All that it claims, as its receivers would verify it; each once. */
async function logOf(replica: ReplicaDatabase): Promise<VerifiedChangeset[]> {
  const logged = new Map<string, VerifiedChangeset>();
  for (const { floor, head, ...name } of replica.vector()) {
    for (let first: number | null = floor + 1; first !== null && first <= head;) {
      const { runs, next } = await replica.read({ ...name, first, last: head }, 2_000);
      for (const run of runs) {
        const { verified, refused } = await verifyRun(ed25519, decodeRun(run), MESH);
        expect(refused).toBeNull();
        for (const changeset of verified) {
          expect(logged.has(changeset.headerHash)).toBe(false);
          logged.set(changeset.headerHash, changeset);
        }
      }
      first = next;
    }
  }
  return [...logged.values()];
}

/** Of a closed file: own work is merged when it is written, all else after what it builds on. */
async function expectCausesFirst(storage: Storage, own: SiteId): Promise<void> {
  const files = await storage.openFiles(storage.generation());
  const engine = await openEngine({
    wasm: await compileSqliteInNode(),
    files,
    atomicity: storage.atomicity,
  });
  const rows = engine.prepare("SELECT merged, header_hash, previous_hash, header FROM rowmesh_log");
  const placeByPrefix = new Map<string, number>();
  const effects: { readonly place: number; readonly causes: readonly string[] }[] = [];
  while (rows.step()) {
    const place = rows.stored(0) === null ? null : rows.integer(0);
    if (place === null) continue;
    placeByPrefix.set(toHex(rows.blob(1)).slice(0, 16), place);
    const { site, version, dependencies } = decodeHeader(rows.blob(3));
    if (site === own) continue;
    const causes = dependencies.map(({ hashPrefix }) => toHex(hashPrefix));
    if (version > 1) causes.push(toHex(rows.blob(2)).slice(0, 16));
    effects.push({ place, causes });
  }
  engine.close();
  for (const { place, causes } of effects) {
    for (const cause of causes) expect(placeByPrefix.get(cause) ?? Infinity).toBeLessThan(place);
  }
}

const SEEDS = Number(process.env["FORK_SEEDS"] ?? 6);

test.each(Array.from({ length: SEEDS }, (_, at) => at + 14))(
  "[L4] [L7] [M1] the rule's vector, whatever order and whatever lies between (seed %i)",
  async (seed) => {
    const random = createSeededRandom(seed);
    const tree = await drawTree(random, 20 + random.below(20));
    // One of the forking authors itself, or somebody else.
    const self = seed % 2 === 0 ? 1 : AUTHOR;
    const storage = createMemoryStorage();
    const open = async (): Promise<ReplicaDatabase> => {
      const opened = await openReplica(self, { storage });
      if (random.below(4) > 0) await opened.offer("off");
      return opened;
    };
    let replica = await open();
    const own = replica.signer.siteId;
    const isMissing = ({ header, headerHash }: VerifiedChangeset): boolean =>
      replica.findHash(header.site, header.stream, header.version, headerHash) === null;
    for (let round = 0; tree.some(isMissing); round++) {
      expect(round).toBeLessThan(100);
      const drawn = tree
        .filter((changeset) => isMissing(changeset) || random.below(10) === 0)
        .map((changeset) => ({ changeset, place: random.below(1_000_000) }))
        .sort((a, b) => a.place - b.place)
        .map(({ changeset }) => changeset);
      while (drawn.length > 0) {
        await replica.append(drawn.splice(0, 1 + random.below(4)));
        if (random.below(6) === 0) await replica.offer(random.below(2) === 0 ? "on" : "off");
        if (random.below(6) === 0) await replica.exec("INSERT INTO tag VALUES (randomblob(8))");
        if (random.below(16) === 0) await replica.rebuild();
        if (random.below(10) > 0) continue;
        await replica.close();
        await expectCausesFirst(storage, own);
        replica = await open();
      }
    }
    await replica.offer("on");
    expect(replica.counts()).toMatchObject({ held: 0, parked: 0, void: 0 });
    const logged = await logOf(replica);
    expect(shownVector(replica)).toEqual(vectorOf(logged));
    const hashes = new Set(logged.map(({ headerHash }) => headerHash));
    expect(tree.filter(({ headerHash }) => !hashes.has(headerHash))).toEqual([]);
    const model: ModelTables = new Map();
    for (const { payload } of logged) mergeIntoModel(model, decodePayload(payload));
    const schema = await checkSchema(ANIMALS, await compileSqliteInNode());
    expect(await rowsOf(replica, schema)).toEqual(rowsOfModel(model, schema));
    await replica.close();
    await expectCausesFirst(storage, own);
  },
  60_000,
);
