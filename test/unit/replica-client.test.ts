/** The window's side of a replica in a worker, over a message channel. */
import { expose, proxy } from "comlink";
import { expect, test } from "vitest";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import { openReplica as openReplicaOver } from "../../src/node/replica.ts";
import { openReplicaInWorker } from "../../src/node/replica-client.ts";
import { createReplicaHost } from "../../src/node/replica-host.ts";
import { systemClock, systemRandom } from "../../src/node/system-seams.ts";
import { ANIMALS, copyStorage, ed25519, MESH, openReplica } from "../fixtures/replicas.ts";

test("[L13] a new key taken in the worker is told to the window", async () => {
  const storage = createMemoryStorage();
  let owner = await openReplica(1, { storage });
  const write = (id: string) => owner.exec("INSERT INTO animal (id) VALUES (?)", [id]);
  await write("before");
  await owner.close();
  const copied = await copyStorage(storage);
  owner = await openReplica(1, { storage });
  await write("owner");

  const { port1, port2 } = new MessageChannel();
  const wasm = await compileSqliteInNode();
  const replica = await openReplicaOver({
    storage: copied,
    wasm,
    schema: ANIMALS,
    ed25519,
    clock: systemClock,
    random: systemRandom,
  });
  const host = createReplicaHost({ replica: () => replica, carry: proxy });
  expose({ ...host, open: host.opened, close: replica.close }, port2);
  const worker = Object.assign(port1, { terminate: () => port1.close() });
  const { replica: copy } = await openReplicaInWorker(worker as unknown as Worker, {
    name: "copy",
    schema: ANIMALS,
    storage: "memory",
    door: null,
  });
  expect(copy.mesh()).toBe(MESH);
  const { siteId: former } = copy.keys;
  expect(former).toBe(owner.signer.siteId);
  await copy.offer("on");
  await copy.db.exec("INSERT INTO animal (id) VALUES ('copy')");
  const told = new Promise<void>((resolve) => void copy.onNewKey(resolve));
  const range = { site: former, stream: "data", first: 1, last: 2 } as const;
  const { runs } = await owner.read(range, 1_000_000);
  await copy.ingest(runs.map((bytes) => ({ type: "run", bytes })));
  await told;
  expect(copy.keys.siteId).not.toBe(former);
  expect(copy.ownSites()).toEqual([copy.keys.siteId, former]);
  const { counts } = await copy.report();
  expect(counts.formerKeys).toMatchObject([{ formerSiteId: former, siteId: copy.keys.siteId }]);
  await copy.db.exec("INSERT INTO animal (id) VALUES ('after')");
  const rows = await copy.db.query("SELECT id FROM animal ORDER BY id");
  expect(rows.map(({ id }) => id)).toEqual(["after", "before", "copy", "owner"]);
  await copy.close();
  port2.close();
  await owner.close();
}, 30_000);
