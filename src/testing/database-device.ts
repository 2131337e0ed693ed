/**
 * A device as it is: the real database on a simulated disk, the real signatures, and a ledger of
 * what it promised.
 *
 * @module
 */

import type { Schema } from "../db/schema.ts";
import type { Storage } from "../db/storage.ts";
import type { MeshDatabase } from "../db/sql-runner.ts";
import { compileSqliteInNode } from "../db/wasm-node.ts";
import { openReplica } from "../node/replica.ts";
import type { PeerId, SiteId } from "../protocol/ids.ts";
import type { MeshStatus } from "../node/api.ts";
import type { Clock, Random, ReplicaStore } from "../seams.ts";
import type { Ed25519 } from "../signing/ed25519.ts";
import { createLedger, keepLedger, type Ledger, rootInMessage } from "./acknowledged.ts";
import { emptyDatabase, identity, SIM_INVITE, SIM_MESH } from "./identities.ts";
import type { Life } from "./life.ts";
import { simEd25519 } from "./sim-ed25519.ts";
import type { SimDevice, SimReplica } from "./sim-node.ts";
import { createSimulatedDisk, type SimulatedDisk } from "./simulated-disk.ts";

export interface WriteContext {
  /** The device's name: "n0", "n1" … */
  readonly device: PeerId;
  /** The release of the app it runs: an index of the schemas, the oldest being 0. */
  readonly release: number;
}

/** One local transaction, or several, of an app. All chance in it comes from `random`. */
export type Write = (db: MeshDatabase, random: Random, context: WriteContext) => Promise<void>;

/** A device's replica without the device: nothing of this is a step of its life, but disk writes. */
export interface RunningReplica extends ReplicaStore {
  /** Of the key in use. */
  readonly site: () => SiteId;
  /** Proven ones, as `MeshStatus.forks` tells them. */
  readonly forks: () => Promise<MeshStatus["forks"]>;
  readonly stateHash: () => Promise<string>;
  /** Makes the tables again from the log, and switches to them. */
  readonly rebuild: () => Promise<void>;
}

/** What a simulation may do to a device behind its back. */
export interface DatabaseParts {
  readonly disk: SimulatedDisk;
  readonly ledger: Ledger;
  /** The release of the app it runs from its next start on, an index of `schemas`: never an older one. */
  readonly install: (release: number) => void;
  readonly release: () => number;
  /** The schema it runs, or ran last. */
  readonly schema: () => Schema;
  /** Of the life it leads now; null before the first. */
  readonly replica: () => RunningReplica | null;
  /** Of every key it ever had, the first one first. */
  readonly sites: () => readonly SiteId[];
  /** As the app sees it; null before the first life. */
  readonly db: () => MeshDatabase | null;
}

export interface DatabaseDevice extends SimDevice {
  readonly database: DatabaseParts;
}

export interface DatabaseDeviceOptions {
  readonly id: PeerId;
  /** A number of `identities.ts`. */
  readonly identity: number;
  /** "formatted": its database exists, empty. "blank": its first start makes it. */
  readonly disk: "formatted" | "blank";
  /** Of its storage; default "file". */
  readonly atomicity?: Storage["atomicity"];
  /** Of every release of the app, the oldest first. */
  readonly schemas: readonly [Schema, ...Schema[]];
  readonly write: Write;
  readonly random: Random;
  /** For when a copy of its disk writes with the same key. Left out: it keeps the key it has. */
  readonly newSecret?: () => Uint8Array<ArrayBuffer>;
}

export async function createDatabaseDevice(
  options: DatabaseDeviceOptions,
): Promise<DatabaseDevice> {
  const { id, schemas, write, random, atomicity = "file" } = options;
  const keys = await identity(options.identity);
  const disk = createSimulatedDisk(random.below, atomicity);
  const ledger = createLedger();
  let release = 0;
  let replica: RunningReplica | null = null;
  let db: MeshDatabase | null = null;
  const sites = new Set<SiteId>([keys.siteId]);
  const secret = () => new Uint8Array(keys.secretKey);
  if (options.disk === "formatted") {
    disk.restore(await emptyDatabase(options.identity, schemas[0], atomicity));
  }

  async function open(life: Life, clock: Clock): Promise<SimReplica> {
    let isNew = disk.copy().files.size === 0;
    /** The key is the only thing a replica draws. */
    const nextSecret = () => {
      const next = isNew ? secret : (options.newSecret ?? secret);
      isNew = false;
      return next();
    };
    const signed: string[] = [];
    const context = { device: id, release };
    const opened = await openReplica({
      storage: disk.attach(life),
      wasm: await compileSqliteInNode(),
      schema: schemas[release] ?? schemas[0],
      ed25519: ed25519Of(life, (root) => {
        signed.push(root);
        ledger.signed.add(root);
      }),
      clock,
      random: { ...random, bytes: nextSecret },
    });
    if (opened.mesh() === null) await opened.bindMesh(SIM_MESH, SIM_INVITE);
    const app = keepLedger(opened.db, ledger, signed, life);
    const site = () => opened.keys.siteId;
    sites.add(site());
    opened.onNewKey(() => sites.add(site()));
    replica = { ...opened, site, forks: async () => (await opened.report()).counts.forks };
    db = app;
    return {
      store: opened,
      site,
      onNewKey: opened.onNewKey,
      write: () => write(app, random, context),
      stateHash: opened.stateHash,
      rebuild: opened.rebuild,
      close: opened.close,
    };
  }

  return {
    id,
    site: keys.siteId,
    open,
    losePower: disk.losePower,
    database: {
      disk,
      ledger,
      install: (next) => {
        release = Math.max(release, next);
      },
      release: () => release,
      schema: () => schemas[release] ?? schemas[0],
      replica: () => replica,
      sites: () => [...sites],
      db: () => db,
    },
  };
}

/** Every signature and every check of one is a step. */
const ed25519Of = (life: Life, onSign: (root: string) => void): Ed25519 => ({
  publicKeyOf: (secretKey) => life.through(() => simEd25519.publicKeyOf(secretKey)),
  sign: (message, secretKey) => {
    onSign(rootInMessage(message));
    return life.through(() => simEd25519.sign(message, secretKey));
  },
  verify: (signature, message, publicKey) =>
    life.through(() => simEd25519.verify(signature, message, publicKey)),
});
