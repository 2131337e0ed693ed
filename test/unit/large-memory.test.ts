/**
 * 100,000 rows × 5 columns in one transaction, written, served, received and merged: how much of it is
 * in memory at a time. Live bytes after a collection: JavaScript's heap, array buffers and SQLite's.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { openDirectoryStorage } from "../../src/db/storage-directory.ts";
import type { FileDevice, Storage } from "../../src/db/storage.ts";
import type { IngestItem } from "../../src/seams.ts";
import { openReplica } from "../fixtures/replicas.ts";
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
    during: async <T>(work: () => Promise<T>): Promise<{ result: T; bytes: number }> => {
      // Engines closed before go with their second collection.
      for (let i = 0; i < 3; i++) {
        sample();
        await new Promise((resolve) => void setTimeout(resolve, 50));
      }
      const before = sample();
      peak = 0;
      const result = await work();
      sample();
      return { result, bytes: peak - before };
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

test("[L16] memory", async () => {
  const meter = createMeter();
  const open = async (author: number) =>
    openReplica(author, {
      storage: metered(await openDirectoryStorage(temporaryDirectory()), meter.sample),
    });
  const alice = await open(1);
  const bob = await open(2);
  await writeRows(alice, 10, "warm");
  const written = await meter.during(() => writeRows(alice, 100_000));
  const [bytes] = await outlinesOf(alice);
  const queue = queueOf(bob);
  const { runs } = await alice.read(
    { site: alice.signer.siteId, stream: "data", first: 1, last: 1 },
    1000,
  );
  await queue.ingest([{ type: "run", bytes: runs[0] as Uint8Array }]);
  const received = await meter.during(async () => {
    const { incoming } = await expectOutline(queue, bob, bytes as Uint8Array);
    const indexes = [...indexesOf(incoming)];
    while (indexes.length > 0) {
      const items: IngestItem[] = [];
      for (const index of indexes.splice(0, 16)) items.push(await chunkOf(alice, incoming, index));
      await queue.ingest(items);
      meter.sample();
    }
    return incoming.payloadBytes;
  });
  const payload = received.result;
  console.log(
    "payload",
    payload,
    "write",
    written.bytes / payload,
    "receive",
    received.bytes / payload,
  );
  expect(await bob.stateHash()).toBe(await alice.stateHash());
  await alice.close();
  await bob.close();
}, 120_000);
