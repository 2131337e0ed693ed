/**
 * Devices as they are: the real database in memory, the real signatures, random transactions over
 * few keys, and the model of what merging means.
 */
import { checkSchema } from "../../src/db/schema.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import type { Storage } from "../../src/db/storage.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import { openReplica, type Replica } from "../../src/node/replica.ts";
import { decodeRun } from "../../src/protocol/changeset-run.ts";
import { toHex } from "../../src/protocol/ids.ts";
import { payloadRoot } from "../../src/signing/signed-bytes.ts";
import { decodePayload } from "../../src/protocol/payload.ts";
import type { Random } from "../../src/seams.ts";
import { createKeyPair } from "../../src/signing/keys.ts";
import { randomStatements } from "../../src/testing/random-work.ts";
import { ANIMALS, INVITE, MESH } from "../fixtures/replicas.ts";
import { mergeIntoModel, type ModelTables } from "../../src/testing/merge-model.ts";
import { rowsOf, rowsOfModel } from "../../src/testing/shown-rows.ts";
import { simEd25519 } from "../../src/testing/sim-ed25519.ts";
import type { SimDevice, SimReplica } from "../../src/testing/sim-node.ts";
import type { Fleet } from "../../src/testing/simulate.ts";
import type { World } from "../../src/testing/world.ts";

const animals = compileSqliteInNode().then((wasm) => checkSchema(ANIMALS, wasm));
/** Above one frame: travels in parts. */
const PHOTO_BYTES = 300_000;

export interface SqlDevice extends SimDevice {
  /** Its disk. Another one may be put in while it is off. */
  storage: Storage;
}

export async function createSqlFleet(count: number, random: Random, world: World): Promise<Fleet> {
  const devices: SqlDevice[] = [];
  for (let i = 0; i < count; i++) devices.push(await createSqlDevice(`n${i}`, random, world));
  return { mesh: MESH, devices };
}

export async function createSqlDevice(
  id: string,
  random: Random,
  world: World,
  secret: Uint8Array<ArrayBuffer> = random.bytes(32),
  voidRoots: ReadonlySet<string> = new Set(),
): Promise<SqlDevice> {
  const { siteId } = await createKeyPair(simEd25519, secret);
  const device: SqlDevice = {
    id,
    site: siteId,
    storage: createMemoryStorage(),
    open: () => openSqlReplica(device.storage, secret, random, world, voidRoots),
  };
  return device;
}

/** A backup: the files as they are now. */
export async function copyStorage(storage: Storage): Promise<Storage> {
  const copy = createMemoryStorage();
  const from = await storage.openFiles(storage.generation());
  const to = await copy.openFiles(copy.generation());
  for (const name of ["database", "journal"] as const) {
    const bytes = new Uint8Array(from[name].size());
    from[name].read(bytes, 0);
    to[name].write(bytes, 0);
  }
  return copy;
}

async function openSqlReplica(
  storage: Storage,
  secret: Uint8Array<ArrayBuffer>,
  random: Random,
  world: World,
  voidRoots: ReadonlySet<string>,
): Promise<SimReplica> {
  const replica = await openReplica({
    storage,
    wasm: await compileSqliteInNode(),
    schema: ANIMALS,
    ed25519: simEd25519,
    clock: world.clock,
    // The key is the only thing a replica draws.
    random: { ...random, bytes: () => secret },
  });
  await replica.bindMesh(MESH, INVITE);
  return {
    store: replica,
    write: () => write(replica, random),
    stateHash: async () => {
      await checkModel(replica, voidRoots);
      return replica.stateHash();
    },
    close: replica.close,
  };
}

async function write({ db }: Replica, random: Random): Promise<void> {
  const statements = randomStatements(random);
  const photo = random.below(30) === 0 ? new Uint8Array(PHOTO_BYTES) : null;
  photo?.set(random.bytes(16));
  await db.transaction(async (tx) => {
    for (const { sql, params } of statements) await tx.exec(sql, params);
    if (photo !== null)
      await tx.exec("UPDATE animal SET photo = ? WHERE id = (SELECT min(id) FROM animal)", [photo]);
  });
}

/** The tables are what the model makes of the log. */
async function checkModel(replica: Replica, voidRoots: ReadonlySet<string>): Promise<void> {
  const schema = await animals;
  const model: ModelTables = new Map();
  for (const { floor, head, ...entry } of await replica.vector()) {
    for (let first: number | null = floor + 1; first !== null;) {
      const range = { ...entry, first, last: head };
      const { runs, next } = await replica.read(range, 1024 * 1024);
      for (const { payload } of runs.flatMap((run) => decodeRun(run).changesets)) {
        if (voidRoots.has(toHex(payloadRoot(payload)))) continue;
        mergeIntoModel(model, decodePayload(payload));
      }
      first = next;
    }
  }
  const shown = await rowsOf(replica.db, schema);
  const expected = rowsOfModel(model, schema);
  if (print(shown) !== print(expected)) {
    throw new Error(`tables differ from the model: ${print(shown)} expected ${print(expected)}`);
  }
}

const print = (rows: ReadonlyMap<string, unknown>): string =>
  JSON.stringify(
    [...rows].sort(([a], [b]) => (a < b ? -1 : 1)),
    (_, value: unknown) => {
      if (typeof value === "bigint") return `${value}n`;
      return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value;
    },
  );
