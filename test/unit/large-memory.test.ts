/**
 * 100,000 rows × 5 columns in one transaction, written, served, received and merged: how much of it is
 * in memory at a time. Live bytes after a collection: JavaScript's heap, array buffers and SQLite's.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { openDirectoryStorage } from "../../src/db/storage-directory.ts";
import type { ReplicaDatabase } from "../../src/db/replica-database.ts";
import type { FileDevice, Storage } from "../../src/db/storage.ts";
import { WANT_CHUNKS_MAX } from "../../src/protocol/limits.ts";
import type { IngestItem } from "../../src/seams.ts";
import { openReplica, pull } from "../fixtures/replicas.ts";
import {
  chunkOf,
  expectOutline,
  indexesOf,
  outlinesOf,
  queueOf,
  writeRows,
} from "./large-changesets.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

function createMeter() {
  let peak = 0;
  const sample = (): number => {
    collect();
    const { heapUsed, external } = process.memoryUsage();
    peak = Math.max(peak, heapUsed + external);
    return heapUsed + external;
  };
  return {
    sample,
    /** The most that it holds at a time beyond what there was before. */
    during: async (work: () => Promise<unknown>): Promise<number> => {
      // Engines closed before go with their second collection.
      for (let i = 0; i < 3; i++) {
        sample();
        await new Promise((resolve) => void setTimeout(resolve, 50));
      }
      const before = sample();
      peak = 0;
      await work();
      sample();
      return peak - before;
    },
  };
}

/** Looks at the memory whenever SQLite has written so many pages. */
function metered(storage: Storage, sample: () => void): Storage {
  let writes = 0;
  const meteredDevice = (device: FileDevice): FileDevice => ({
    ...device,
    write: (from, offset) => {
      device.write(from, offset);
      if (++writes % 2_000 === 0) sample();
    },
  });
  return {
    ...storage,
    openFiles: async (generation) => {
      const { database, journal } = await storage.openFiles(generation);
      return { database: meteredDevice(database), journal: meteredDevice(journal) };
    },
  };
}

test("[L18] 100,000 rows × 5 columns are written, served, received and merged in less than twice their bytes", async () => {
  const meter = createMeter();
  const open = async (author: number): Promise<ReplicaDatabase> => {
    const storage = await openDirectoryStorage(temporaryDirectory());
    return openReplica(author, { storage: metered(storage, meter.sample) });
  };
  const alice = await open(1);
  const bob = await open(2);
  await writeRows(alice, 10, "small");
  await pull(alice, bob);
  const written = await meter.during(() => writeRows(alice, 100_000));
  const [bytes] = await outlinesOf(alice);
  const queue = queueOf(bob);
  let payloadBytes = 0;
  const received = await meter.during(async () => {
    const { incoming } = await expectOutline(queue, bob, bytes as Uint8Array);
    ({ payloadBytes } = incoming);
    const indexes = [...indexesOf(incoming)];
    while (indexes.length > 0) {
      const items: IngestItem[] = [];
      for (const index of indexes.splice(0, WANT_CHUNKS_MAX)) {
        items.push(await chunkOf(alice, incoming, index));
      }
      await queue.ingest(items);
      if (indexes.length % 32 === 0) meter.sample();
    }
  });
  expect(payloadBytes).toBeGreaterThan(8_000_000);
  // 1.2 and 0.6: SQLite's page cache is 8 MB of it.
  expect(written).toBeLessThan(2 * payloadBytes);
  expect(received).toBeLessThan(2 * payloadBytes);
  expect(await bob.stateHash()).toBe(await alice.stateHash());
  await alice.close();
  await bob.close();
}, 300_000);
