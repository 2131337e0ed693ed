/**
 * Receiving: 1,000 changesets of 100 rows of 5 columns, from the bytes of the wire to committed
 * tables, against the bare `insert into crsql_changes` loop over the same rows.
 *
 * rowmesh takes the runs as a peer would send them in answer to wants of 1 MiB, and decodes,
 * verifies, logs and merges them. The bare loop has its rows decoded beforehand, one prepared
 * statement, and one SQLite transaction per such answer: larger than any of rowmesh's own.
 *
 * @module
 */

import { createMemoryStorage } from "../src/db/storage-memory.ts";
import type { Replica } from "../src/node/replica.ts";
import { decodeRun } from "../src/protocol/changeset-run.ts";
import type { SiteId } from "../src/protocol/ids.ts";
import { WANT_BYTES_MAX } from "../src/protocol/limits.ts";
import { decodePayload } from "../src/protocol/payload.ts";
import { type ChangeRow, columnName, openBareCrr } from "./bare-crr.ts";
import { type BenchMesh, createBenchMesh } from "./bench-mesh.ts";
import { compare, type Ratio, type Side } from "./rounds.ts";
import { createRows, INSERT, SCHEMA } from "./sample-rows.ts";

export interface ApplyResult extends Ratio {
  readonly changesets: number;
  /** Changes (cells) a second. */
  readonly barePerSecond: number;
  readonly meshPerSecond: number;
}

const ROWS_PER_CHANGESET = 100;
const SEED = 1;

export async function benchApply(changesets: number, rounds: number): Promise<ApplyResult> {
  const mesh = await createBenchMesh(SCHEMA);
  const { answers, site } = await writeChangesets(mesh, changesets);
  const changeRows = answers.map((runs) => runs.flatMap(changesOfRun));
  const changes = changeRows.reduce((sum, rows) => sum + rows.length, 0);
  const rowCount = changesets * ROWS_PER_CHANGESET;
  const ratio = await compare({
    bare: () => openBareSide(changeRows, site, rowCount),
    mesh: () => openMeshSide(mesh, answers, rowCount),
    steps: answers.length,
    rounds,
  });
  const perSecond = (ms: number): number => (1_000 * changes) / ms;
  return {
    ...ratio,
    changesets,
    barePerSecond: perSecond(ratio.bareMs),
    meshPerSecond: perSecond(ratio.meshMs),
  };
}

async function openBareSide(
  answers: readonly (readonly ChangeRow[])[],
  site: SiteId,
  rowCount: number,
): Promise<Side> {
  const bare = await openBareCrr(createMemoryStorage());
  return {
    step: (index) => bare.merge(answers[index] ?? [], site),
    close: async () => {
      assertCount(bare.count(), rowCount);
      await bare.close();
    },
  };
}

async function openMeshSide(
  mesh: BenchMesh,
  answers: readonly (readonly Uint8Array[])[],
  rowCount: number,
): Promise<Side> {
  const replica = await mesh.openReplica(createMemoryStorage());
  return {
    step: async (index) => {
      const runs = answers[index] ?? [];
      await replica.ingest(runs.map((bytes) => ({ type: "run", bytes })));
    },
    close: async () => {
      const [counted] = await replica.db.query<{ n: number }>("SELECT count(*) AS n FROM sighting");
      assertCount(counted?.n ?? 0, rowCount);
      await replica.close();
    },
  };
}

interface Written {
  /** What a peer gets for each want, oldest first. */
  readonly answers: readonly (readonly Uint8Array[])[];
  readonly site: SiteId;
}

async function writeChangesets(mesh: BenchMesh, count: number): Promise<Written> {
  const author = await mesh.openReplica(createMemoryStorage());
  const nextRow = createRows(SEED);
  for (let written = 0; written < count; written++) {
    const rows = Array.from({ length: ROWS_PER_CHANGESET }, nextRow);
    await author.db.execMany(INSERT, rows);
  }
  const answers = await readAll(author, count);
  const site = author.keys.siteId;
  await author.close();
  return { answers, site };
}

async function readAll(author: Replica, last: number): Promise<readonly (readonly Uint8Array[])[]> {
  const answers: (readonly Uint8Array[])[] = [];
  const { siteId: site } = author.keys;
  for (let first: number | null = 1; first !== null;) {
    const answer = await author.read({ site, stream: "data", first, last }, WANT_BYTES_MAX);
    answers.push(answer.runs);
    first = answer.next;
  }
  return answers;
}

function changesOfRun(bytes: Uint8Array): ChangeRow[] {
  const changes: ChangeRow[] = [];
  for (const { payload } of decodeRun(bytes).changesets) {
    let seq = 0;
    for (const { rows } of decodePayload(payload).tables) {
      for (const { primaryKey, causalLength, cells } of rows) {
        for (const { column, columnVersion, value } of cells) {
          changes.push({
            primaryKey,
            column: columnName(column),
            value,
            columnVersion,
            causalLength,
            seq: seq++,
          });
        }
      }
    }
  }
  return changes;
}

/** A side that did less work must not look fast. */
function assertCount(count: number, expected: number): void {
  if (count !== expected) throw new RangeError(`${count} rows instead of ${expected}`);
}
