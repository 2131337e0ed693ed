/**
 * One history of a mesh, drawn from one seed: whole devices, links, transactions, faults; then peace,
 * and the checks: everybody holds everything that was acknowledged, the tables are equal and what an
 * independent model says, nobody was blamed, and it did not cost too much.
 *
 * @module
 */

import { knownSchema } from "../db/known-schemas.ts";
import type { Schema } from "../db/schema.ts";
import type { MeshDatabase } from "../db/sql-runner.ts";
import { compileSqliteInNode } from "../db/wasm-node.ts";
import type { Random } from "../seams.ts";
import { ANIMALS, ANIMALS_2, ANIMALS_3 } from "./animals.ts";
import { checkModel, readLog } from "./checks.ts";
import { createDatabaseDevice, type Write } from "./database-device.ts";
import { type Fault, FAULTS } from "./faults.ts";
import { createHistory, type Fleet, type FleetOptions, type SimReport } from "./history.ts";
import { drawIdentities, SIM_MESH } from "./identities.ts";
import { writeAnimals } from "./random-work.ts";
import type { SimDevice, SimNode } from "./sim-node.ts";

export interface SimulateOptions {
  /** A whole number from 0 on: the same seed and options, the same history. */
  readonly seed: number;
  /** The app's schema, or that of each of its releases, the oldest first. Default: three tables. */
  readonly schema?: Schema | readonly Schema[];
  /** The app's transactions. To be given together with `schema`. */
  readonly write?: Write;
  /** Devices, 2 to 60. Default: 2 to 6, in one history of a hundred 50. */
  readonly peers?: number;
  /**
   * Kinds of faults that may happen; each history draws some of them. Default: all. `byzantine` only
   * with the default schema: its rows are of that.
   */
  readonly faults?: readonly Fault[];
  /** The app's own checks, on all devices, after the mesh has come to rest. Throws what is wrong. */
  readonly check?: (databases: readonly MeshDatabase[]) => Promise<void>;
}

/** A promise that did not hold. The message ends with how to see it again. */
export class SimulationError extends Error {
  override readonly name = "SimulationError";
  readonly seed: number;

  constructor(seed: number, cause: unknown) {
    const what = cause instanceof Error ? cause.message : String(cause);
    super(`seed ${seed}: ${what}\nreplay: simulate with the same options and seed ${seed}`, {
      cause,
    });
    this.seed = seed;
  }
}

/**
 * Runs one history of whole devices: their databases, signatures and replication are the real ones,
 * on simulated disks, clocks and links, in this process.
 * @throws SimulationError
 */
export async function simulate(options: SimulateOptions): Promise<SimReport> {
  const { seed, peers, schema } = options;
  const isOurs = schema === undefined;
  const faults = (options.faults ?? FAULTS).filter((fault) => isOurs || fault !== "byzantine");
  const createFleet = (count: number, random: Random) =>
    createDatabaseFleet(options, count, random);
  return simulateFleet({ seed, faults, createFleet, ...(peers === undefined ? {} : { peers }) });
}

async function createDatabaseFleet(
  { schema = [ANIMALS, ANIMALS_2, ANIMALS_3], write: work = writeAnimals, check }: SimulateOptions,
  count: number,
  random: Random,
): Promise<Fleet> {
  const [first, ...later] = Array.isArray(schema)
    ? (schema as readonly Schema[])
    : [schema as Schema];
  if (first === undefined) throw new RangeError("no schema");
  const schemas = [first, ...later] as const;
  const identities = drawIdentities(count, random);
  /** One in four stores as IndexedDB does. The copy of a profile stores as the first, as it does. */
  const atomicities = identities.map(() => (random.below(4) === 0 ? "commit" : "file"));
  const create = (i: number, identity: number, disk: "formatted" | "blank") =>
    createDatabaseDevice({
      id: `n${i}`,
      identity,
      disk,
      atomicity: atomicities[i % count] ?? "file",
      schemas,
      write: work,
      random,
      newSecret: () => random.bytes(32),
    });
  const devices: SimDevice[] = [];
  for (const [i, identity] of identities.entries()) {
    devices.push(await create(i, identity, random.below(12) === 0 ? "blank" : "formatted"));
  }
  const copy = await create(count, identities[0] ?? 0, "blank");
  return {
    mesh: SIM_MESH,
    devices,
    copy,
    releases: schemas.length,
    check: async (alive, voidRoots) => {
      await checkDatabases(alive, voidRoots);
      await check?.(alive.flatMap(({ device }) => device.database?.db() ?? []));
    },
  };
}

/** The tables are the same everywhere, and what the model makes of the log. */
export async function checkDatabases(
  alive: readonly SimNode[],
  voidRoots: ReadonlySet<string>,
): Promise<void> {
  const hashes = new Set<string>();
  for (const node of alive) hashes.add((await node.replica()?.stateHash()) ?? "down");
  if (hashes.size !== 1) throw new Error(`state hashes differ: ${[...hashes].join(" ")}`);
  const [database] = alive.map(({ device }) => device.database);
  const replica = database?.replica() ?? null;
  const db = database?.db() ?? null;
  if (database == null || replica === null || db === null) throw new RangeError("no database");
  const checked = await knownSchema(database.schema(), await compileSqliteInNode());
  const log = await readLog(replica);
  await checkModel(
    db,
    checked,
    log.filter(({ root }) => !voidRoots.has(root)),
  );
}

/** Runs one history of devices of any kind. @throws SimulationError */
export async function simulateFleet(options: FleetOptions): Promise<SimReport> {
  const history = await createHistory(options);
  try {
    return await history.run();
  } catch (error) {
    throw new SimulationError(options.seed, error);
  } finally {
    await history.end();
  }
}
