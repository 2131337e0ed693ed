/**
 * Receiving: changesets of 100 rows of 5 columns, from the bytes of the wire to committed tables,
 * against the bare `insert into crsql_changes` loop over the same rows. Rows that are new to the
 * receiver, and rows it has: rowmesh merges new ones set by set, others as the bare loop does.
 *
 * rowmesh takes the runs as a peer would send them in answer to wants of 1 MiB, and decodes,
 * verifies, logs and merges them, about 1 MiB in one SQLite transaction. The bare loop has its rows
 * decoded beforehand, one prepared statement, and one SQLite transaction per such answer.
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
import { COLUMNS, createRows, INSERT, SCHEMA } from "./sample-rows.ts";

export interface ApplyOptions {
  readonly changesets: number;
  /** "update": of all columns of rows that an unmeasured changeset each brought before. */
  readonly rows: "insert" | "update";
  readonly rounds: number;
}

export interface ApplyResult extends Ratio {
  /** Changes (cells) a second. */
  readonly barePerSecond: number;
  readonly meshPerSecond: number;
}

const ROWS_PER_CHANGESET = 100;
const SEED = 1;

export async function benchApply(options: ApplyOptions): Promise<ApplyResult> {
  const { changesets, rounds } = options;
  const mesh = await createBenchMesh(SCHEMA);
  const written = await writeChangesets(mesh, options);
  const { site } = written;
  const work = { site, before: withRows(written.before), measured: withRows(written.measured) };
  const rowCount = changesets * ROWS_PER_CHANGESET;
  const ratio = await compare({
    bare: () => openBareSide(work, rowCount),
    mesh: () => openMeshSide(mesh, work, rowCount),
    steps: work.measured.length,
    rounds,
  });
  const changes = work.measured.reduce((sum, { rows }) => sum + rows.length, 0);
  const perSecond = (ms: number): number => (1_000 * changes) / ms;
  return {
    ...ratio,
    barePerSecond: perSecond(ratio.bareMs),
    meshPerSecond: perSecond(ratio.meshMs),
  };
}

/** What a peer gets for one want, and the same decoded for the bare loop. */
interface Answer {
  readonly runs: readonly Uint8Array[];
  readonly rows: readonly ChangeRow[];
}

interface Work {
  readonly site: SiteId;
  readonly before: readonly Answer[];
  readonly measured: readonly Answer[];
}

const withRows = (answers: readonly (readonly Uint8Array[])[]): readonly Answer[] =>
  answers.map((runs) => ({ runs, rows: runs.flatMap(changesOfRun) }));

async function openBareSide({ site, before, measured }: Work, rowCount: number): Promise<Side> {
  const bare = await openBareCrr(createMemoryStorage());
  for (const { rows } of before) await bare.merge(rows, site);
  return {
    step: (index) => bare.merge(measured[index]?.rows ?? [], site),
    close: async () => {
      assertCount(bare.count(), rowCount);
      await bare.close();
    },
  };
}

async function openMeshSide(
  mesh: BenchMesh,
  { before, measured }: Work,
  rowCount: number,
): Promise<Side> {
  const replica = await mesh.openReplica(createMemoryStorage());
  const ingest = async ({ runs }: Pick<Answer, "runs">): Promise<void> => {
    const outcomes = await replica.ingest(runs.map((bytes) => ({ type: "run", bytes })));
    if (outcomes.flat().some(({ verdict }) => verdict !== "applied")) {
      throw new RangeError("not every changeset was applied");
    }
  };
  for (const answer of before) await ingest(answer);
  return {
    step: (index) => ingest(measured[index] ?? { runs: [] }),
    close: async () => {
      const [counted] = await replica.db.query<{ n: number }>("SELECT count(*) AS n FROM sighting");
      assertCount(counted?.n ?? 0, rowCount);
      await replica.close();
    },
  };
}

interface Written {
  readonly site: SiteId;
  readonly before: readonly (readonly Uint8Array[])[];
  readonly measured: readonly (readonly Uint8Array[])[];
}

async function writeChangesets(
  mesh: BenchMesh,
  { changesets, rows: kind }: ApplyOptions,
): Promise<Written> {
  const author = await mesh.openReplica(createMemoryStorage());
  const { siteId: site } = author.keys;
  const nextRow = createRows(SEED);
  const batches = Array.from({ length: changesets }, () =>
    Array.from({ length: ROWS_PER_CHANGESET }, nextRow),
  );
  for (const rows of batches) await author.db.execMany(INSERT, rows);
  const inserts = await readAll(author, 1, changesets);
  if (kind === "insert") {
    await author.close();
    return { site, before: [], measured: inserts };
  }
  for (const rows of batches) {
    const updates = rows.map(([key = null]) => nextRow().slice(1).concat([key]));
    await author.db.execMany(UPDATE, updates);
  }
  const updates = await readAll(author, changesets + 1, 2 * changesets);
  await author.close();
  return { site, before: inserts, measured: updates };
}

const UPDATE = `UPDATE sighting SET ${COLUMNS.map((name) => `${name} = ?`).join(", ")} WHERE id = ?`;

/** As a peer reads them: one answer for each want. */
async function readAll(
  author: Replica,
  from: number,
  last: number,
): Promise<readonly (readonly Uint8Array[])[]> {
  const answers: (readonly Uint8Array[])[] = [];
  const { siteId: site } = author.keys;
  for (let first: number | null = from; first !== null;) {
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
