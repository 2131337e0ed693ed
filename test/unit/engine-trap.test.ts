import { expect, onTestFinished, test } from "vitest";
import { appendSome } from "../../src/db/append.ts";
import { type DatabaseFile, openDatabaseFile } from "../../src/db/database-file.ts";
import type { Engine } from "../../src/db/engine.ts";
import { packKey } from "../../src/db/packed-key.ts";
import { createReplicaState, type ReplicaState } from "../../src/db/replica-state.ts";
import { checkSchema } from "../../src/db/check-schema.ts";
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
    // Whole, so that it goes past the virtual table.
    cells: [1, 2, 3, 4].map((column) => ({ column, columnVersion: 1, value: null })),
  });

/** Fails at that statement of a merge: no valid changeset is known that really does. */
const trapping = (
  file: DatabaseFile,
  state: () => ReplicaState,
  culprits: ReadonlySet<number>,
  at: string,
  error: MeshError,
): DatabaseFile => {
  const wrap = (engine: Engine): Engine => ({
    ...engine,
    prepare: (sql) => {
      if (sql.startsWith(at) && culprits.has(state().nextMerged)) {
        throw error;
      }
      return engine.prepare(sql);
    },
  });
  return { ...file, transact: (work) => file.transact((engine) => work(wrap(engine))) };
};

test.each([
  ["ERR_ENGINE_TRAP", "INSERT INTO crsql_changes"],
  // Here the sync bit is set.
  ["ERR_SQL", "SELECT crsql_internal_sync_bit(0)"],
] as const)("[M4] a changeset that the engine fails on is set aside: %s", async (code, at) => {
  const wasm = await compileSqliteInNode();
  const schema = await checkSchema(ANIMALS, wasm);
  const signer = await signerOf(1);
  const identity = async () => ({ secret: secretOf(1), signer });
  const { file } = await openDatabaseFile(createMemoryStorage(), wasm, identity);
  onTestFinished(() => file.close());
  await file.transact((engine) => installSchema(engine, schema));
  const armed = new Set<number>();
  const state: ReplicaState = createReplicaState(
    trapping(file, () => state, armed, at, new MeshError(code, "unreachable")),
    signer,
    schema,
    testClock,
  );
  const bind = () => {
    state.mesh = { id: MESH, invite: INVITE };
  };
  bind();
  await file.transact((engine) => {
    engine.exec(`INSERT INTO rowmesh_meta VALUES ('mesh', x'${MESH}'), ('invite', x'01')`);
  });
  const changesets = await Promise.all(
    [21, 22, 23].map(async (author) => forge(author, animal(`n${author}`))),
  );
  const [, trap] = changesets;
  if (trap === undefined) throw new RangeError("three were forged");
  const next = await forge(22, animal("next"), { version: 2, previousHash: trap.headerHash });
  armed.add(2);
  const retry = await appendSome(state, changesets, 0).finally(() => armed.clear());
  expect(retry.outcomes).toEqual([
    { verdict: "applied" },
    { verdict: "parked", code },
    { verdict: "parked", code },
  ]);
  expect((await appendSome(state, [next], 0)).outcomes).toEqual([{ verdict: "parked" }]);
  expect(storedRows(file.engine(), "SELECT id FROM animal")).toEqual([["n21"]]);
  // No later merge has cleared the bit.
  armed.add(2);
  await appendSome(state, [await forge(24, animal("n24"))], 0);
  expect(storedRows(file.engine(), "SELECT crsql_internal_sync_bit()")).toEqual([[0n]]);
});
