/** An app that writes in every way at once, follows what is written, and says what became of each call. */
import { isMeshError, type Mesh, openMesh } from "rowmesh";

/** What a page tells. */
export type Told =
  | { readonly type: "done"; readonly call: string }
  | { readonly type: "refused"; readonly call: string; readonly code: string }
  /** Something that may not happen. */
  | { readonly type: "fault"; readonly message: string };

export interface TabLife {
  readonly name: string;
  readonly storage: "opfs" | "indexeddb";
  /** Version. */
  readonly schema: number;
  readonly join: string;
  /** Of this life alone: begins the names of its calls. */
  readonly tag: string;
  /** Its worker answers other tabs so much later: what it did they often do not hear of. */
  readonly lateMs: number;
}

export interface Followed {
  readonly events: number;
  readonly rows: number;
  readonly role: string;
}

/** A row that was written twice has four legs. */
const WRITE =
  "INSERT INTO animal (id, legs) VALUES (?, 2) ON CONFLICT (id) DO UPDATE SET legs = legs + 2";

/** One kind of call each; the last ones are transactions. */
const LANES = 5;

const schemaOf = (version: number) => ({
  version,
  tables: ["CREATE TABLE animal (id TEXT PRIMARY KEY NOT NULL, legs INTEGER) STRICT"],
  migrations: Array.from({ length: version - 1 }, (_, at) => ({
    statements: [`ALTER TABLE animal ADD COLUMN extra${at + 2} TEXT`],
  })),
});

let mesh: Mesh | null = null;
const state = { writes: true, closed: false, events: 0, rows: 0 };
let lanes: Promise<unknown> = Promise.resolve();

const workers: Worker[] = [];
const Native = globalThis.Worker;
let lateMs = 0;
globalThis.Worker = class extends Native {
  constructor(url: string | URL, options?: WorkerOptions) {
    super(lateMs === 0 ? url : lateWorker(String(url)), options);
    workers.push(this);
  }
};

const moduleOf = (text: string): string =>
  URL.createObjectURL(new Blob([text], { type: "text/javascript" }));

/** The same worker, but for the delay; in order all the same. */
function lateWorker(url: string): string {
  const late = moduleOf(`
    const post = BroadcastChannel.prototype.postMessage;
    BroadcastChannel.prototype.postMessage = function (message) {
      const copy = structuredClone(message);
      setTimeout(() => {
        try {
          post.call(this, copy);
        } catch {
          // Closed meanwhile.
        }
      }, ${lateMs});
    };
  `);
  return moduleOf(`import ${JSON.stringify(late)}; import ${JSON.stringify(url)};`);
}

const pause = (delayMs: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, delayMs));

const opened = (): Mesh => {
  if (mesh === null) throw new RangeError("open first");
  return mesh;
};

function tell(told: Told): void {
  globalThis.tell(JSON.stringify(told)).catch(() => undefined);
}

const fault = (message: string): void => tell({ type: "fault", message });

const codeOf = (error: unknown): string => (isMeshError(error) ? error.code : String(error));

async function write(call: string, lane: number, turn: number): Promise<unknown> {
  const { db } = opened();
  switch (lane) {
    case 0:
      return db.exec(WRITE, [call]);
    case 1:
      return db.query(`${WRITE} RETURNING id`, [call]);
    case 2:
      return db.execMany(WRITE, [[call], [`${call} 1`]]);
  }
  let runs = 0;
  return db.transaction(async (tx) => {
    if (++runs > 1) fault(`the callback of ${call} ran again`);
    await tx.query("SELECT count(*) FROM animal");
    await tx.exec(WRITE, [call]);
    if (turn % 3 === 0) await pause(turn % 20);
    return tx.execMany(WRITE, [[`${call} 1`]]);
  });
}

async function writeOn(tag: string, lane: number): Promise<void> {
  for (let turn = 0; state.writes; turn++) {
    const call = `${tag}.${lane}.${turn}`;
    try {
      await write(call, lane, turn);
      tell({ type: "done", call });
      await pause((turn * 7 + lane * 5) % 20);
    } catch (error) {
      tell({ type: "refused", call, code: codeOf(error) });
      // Not a flood of refusals.
      await pause(200);
    }
  }
}

/** All changes, in order, each once: whoever leads, there is one author. */
async function follow(): Promise<void> {
  let since = 0;
  while (!state.closed) {
    try {
      for await (const { version, checkpoint } of opened().events({ since })) {
        if (version !== state.events + 1) fault(`event ${version} after ${state.events}`);
        state.events = version;
        since = checkpoint;
      }
    } catch (error) {
      // Nobody was left who knows the file's schema.
      if (codeOf(error) !== "ERR_SCHEMA_NEWER") return fault(`events: ${codeOf(error)}`);
    }
    await pause(100);
  }
}

function watch(): void {
  opened().db.watch("SELECT count(*) AS count FROM animal", [], ({ rows: [first] }) => {
    const count = Number(first?.["count"]);
    if (count < state.rows) fault(`${count} rows after ${state.rows}`);
    state.rows = count;
  });
}

const app = {
  /** @returns "open", or the code of what kept it from that */
  live: async ({ name, storage, schema, join, tag, lateMs: given }: TabLife): Promise<string> => {
    lateMs = given;
    try {
      mesh = await openMesh({ name, storage, join, schema: schemaOf(schema) });
    } catch (error) {
      return codeOf(error);
    }
    void follow();
    watch();
    mesh.onStatus(() => undefined);
    lanes = Promise.all(Array.from({ length: LANES }, (_, lane) => writeOn(tag, lane)));
    return "open";
  },
  /** Writes no more. Resolves when every call is answered. */
  stop: async (): Promise<void> => {
    state.writes = false;
    await lanes;
  },
  close: async (): Promise<void> => {
    const closed = mesh?.close();
    state.writes = false;
    state.closed = true;
    await closed;
    await lanes;
  },
  online: async (online: boolean): Promise<void> => mesh?.online(online),
  endWorker: (): void => workers.at(-1)?.terminate(),
  followed: (): Followed => ({
    events: state.events,
    rows: state.rows,
    role: mesh?.status().tab.role ?? "none",
  }),
  legsById: async (): Promise<readonly (readonly [string, number])[]> => {
    const rows = await opened().db.query("SELECT id, legs FROM animal");
    return rows.map(({ id, legs }) => [String(id), Number(legs)] as const);
  },
};

export type TabsApp = typeof app;

declare global {
  var tabs: TabsApp;
  /** Of the test. */
  var tell: (line: string) => Promise<void>;
}
globalThis.tabs = app;
