import { expect, onTestFinished, test } from "vitest";
import { appendSome } from "../../src/db/append.ts";
import { type DatabaseFile, openDatabaseFile } from "../../src/db/database-file.ts";
import type { Engine } from "../../src/db/engine.ts";
import { packKey } from "../../src/db/packed-key.ts";
import { createReplicaState, type ReplicaState } from "../../src/db/replica-state.ts";
import { checkSchema } from "../../src/db/schema.ts";
import { installSchema } from "../../src/db/schema-install.ts";
import { createMemoryStorage } from "../../src/db/storage-memory.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import { MeshError } from "../../src/protocol/errors.ts";
import { forge, rowPayload } from "../fixtures/forge.ts";
import { ANIMALS, INVITE, MESH, secretOf, signerOf, testClock } from "../fixtures/replicas.ts";
import { storedRows } from "./open-test-engine.ts";

const animal = (id: string): Uint8Array =>
  rowPayload(0, {
    primaryKey: packKey([id]),
    cells: [{ column: 1, columnVersion: 1, value: "forged" }],
  });

/** Traps whenever the merge of one of these begins: no changeset is known that really does. */
const trapping = (
  file: DatabaseFile,
  state: () => ReplicaState,
  culprits: ReadonlySet<number>,
): DatabaseFile => {
  const wrap = (engine: Engine): Engine => ({
    ...engine,
    prepare: (sql) => {
      if (sql.startsWith("INSERT INTO crsql_changes") && culprits.has(state().nextMerged)) {
        throw new MeshError("ERR_ENGINE_TRAP", "unreachable");
      }
      return engine.prepare(sql);
    },
  });
  return { ...file, transact: (work) => file.transact((engine) => work(wrap(engine))) };
};

test("[M4] a changeset that makes the engine trap is set aside; the others are merged", async () => {
  const wasm = await compileSqliteInNode();
  const schema = await checkSchema(ANIMALS, wasm);
  const signer = await signerOf(1);
  const identity = async () => ({ secret: secretOf(1), signer });
  const { file } = await openDatabaseFile(createMemoryStorage(), wasm, identity);
  onTestFinished(() => file.close());
  await file.transact((engine) => installSchema(engine, ANIMALS, schema, wasm));
  const armed = new Set<number>();
  const state: ReplicaState = createReplicaState(
    trapping(file, () => state, armed),
    signer,
    schema,
    new Map(),
    testClock,
  );
  const bind = () => {
    state.mesh = { id: MESH, invite: INVITE };
  };
  bind();
  await file.transact((engine) => {
    engine.exec(`INSERT INTO rowmesh_meta VALUES ('mesh', x'${MESH}'), ('invite', x'01')`);
  });
  const changesets = await Promise.all([21, 22, 23].map(async (at) => forge(at, animal(`n${at}`))));
  const [, trap] = changesets;
  if (trap === undefined) throw new RangeError("three were forged");
  const next = await forge(22, animal("next"), { version: 2, previousHash: trap.headerHash });
  armed.add(2);
  const retry = await appendSome(state, changesets, 0).finally(() => armed.clear());
  expect(retry.outcomes).toEqual([
    { verdict: "applied" },
    { verdict: "parked", code: "ERR_ENGINE_TRAP" },
    { verdict: "parked", code: "ERR_ENGINE_TRAP" },
  ]);
  expect((await appendSome(state, [next], 0)).outcomes).toEqual([{ verdict: "parked" }]);
  expect(storedRows(file.engine(), "SELECT id FROM animal")).toEqual([["n21"]]);
  expect(storedRows(file.engine(), "SELECT crsql_internal_sync_bit()")).toEqual([[0n]]);
});
