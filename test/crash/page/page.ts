/** An app that writes as fast as it can and says at once what it was told is kept. */
import { type Mesh, openMesh } from "rowmesh";
import { syncOverWebSocket } from "rowmesh/streams";
import type { Found } from "../ledger.ts";
import { databaseName, NOTES } from "./notes.ts";

export type Said =
  | { readonly type: "opened"; readonly site: string }
  | { readonly type: "failed"; readonly message: string }
  | { readonly type: "rows"; readonly ids: readonly string[] }
  | {
      readonly type: "version";
      readonly site: string;
      readonly version: number;
      readonly hash: string;
      /** Of the event that told it. */
      readonly checkpoint: number;
    };

export interface Life {
  readonly storage: "opfs" | "indexeddb";
  readonly join: string;
  /** `ws://127.0.0.1:port/storage`: below it lie `said` and `sync`. */
  readonly url: string;
  /** Unlike that of every other life. */
  readonly name: string;
  readonly writes: "nothing" | "entries" | "entries and a rebuild";
  /** The last checkpoint that was said. */
  readonly since: number;
}

let mesh: Mesh | null = null;

const crashPage = {
  inspect: (storage: Life["storage"]): Promise<Found> =>
    new Promise((resolve) => {
      const worker = new Worker(new URL("./inspect.ts", import.meta.url), { type: "module" });
      worker.addEventListener("message", ({ data }: MessageEvent<Found>) => {
        worker.terminate();
        resolve(data);
      });
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a window's method, not a worker's
      worker.postMessage(storage);
    }),
  /** Opens, syncs, and writes until it is killed. */
  live: async ({ storage, join, url, name, writes, since }: Life): Promise<void> => {
    const socket = new WebSocket(`${url}/said`);
    await new Promise((resolve) => socket.addEventListener("open", resolve));
    const say = (said: Said): void => socket.send(JSON.stringify(said));
    try {
      const opened = await openMesh({
        name: databaseName(storage),
        schema: NOTES,
        storage,
        join,
        network: "off",
      });
      mesh = opened;
      say({ type: "opened", site: opened.siteId });
      syncOverWebSocket(opened, new WebSocket(`${url}/sync`), { peer: "witness" });
      await Promise.all([follow(opened, since, say), write(opened, name, writes, say)]);
    } catch (error) {
      say({ type: "failed", message: String(error) });
    }
  },
  stateHash: async (): Promise<string> => (await mesh?.stateHash()) ?? "",
};

async function follow(opened: Mesh, since: number, say: (said: Said) => void): Promise<void> {
  for await (const { siteId, version, headerHash, checkpoint } of opened.events({ since })) {
    say({ type: "version", site: siteId, version, hash: headerHash, checkpoint });
  }
}

/** Enough for every kill to come in the middle of it, and no more than the others can follow. */
const ENTRIES_MAX = 200;
/** After what a kill waits for at most. */
const REBUILD_AT = 5;

async function write(
  opened: Mesh,
  name: string,
  what: Life["writes"],
  say: (said: Said) => void,
): Promise<void> {
  const count = what === "nothing" ? 0 : ENTRIES_MAX;
  for (let n = 0; n < count; n++) {
    if (n === REBUILD_AT && what === "entries and a rebuild") await opened.rebuild();
    say({ type: "rows", ids: await writeEntry(opened, `${name}-${n}`, n) });
  }
}

async function writeEntry({ db }: Mesh, entry: string, n: number): Promise<string[]> {
  const parts = 1 + (n % 3);
  const ids = Array.from({ length: parts }, (_, part) => `${entry}/${part}`);
  // Now and then one that fills many pages.
  const text = "x".repeat(n % 16 === 7 ? 60_000 : (n * 37) % 500);
  await db.transaction(async (tx) => {
    for (const id of ids) {
      await tx.exec("INSERT INTO note VALUES (?, ?, ?, ?)", [id, entry, parts, text]);
    }
    await tx.exec("INSERT INTO tally VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1", [
      String(n % 5),
    ]);
  });
  return ids;
}

declare global {
  var crash: typeof crashPage;
}
globalThis.crash = crashPage;
