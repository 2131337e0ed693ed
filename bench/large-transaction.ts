/**
 * One transaction of 100,000 rows of 5 columns, written, and received as an outline and its chunks,
 * against the bare CRR: one INSERT a row, and one `insert into crsql_changes` a change.
 *
 * @module
 */

import { createMemoryStorage } from "../src/db/storage-memory.ts";
import type { Replica } from "../src/node/replica.ts";
import { decodeRun } from "../src/protocol/changeset-run.ts";
import type { SiteId } from "../src/protocol/ids.ts";
import { WANT_CHUNKS_MAX } from "../src/protocol/limits.ts";
import { decodePayload } from "../src/protocol/payload.ts";
import type { SqlValue } from "../src/protocol/values.ts";
import type { IngestItem } from "../src/seams.ts";
import { type ChangeRow, columnName, openBareCrr } from "./bare-crr.ts";
import { type BenchMesh, createBenchMesh } from "./bench-mesh.ts";
import { compare, type Ratio, type Side } from "./rounds.ts";
import { createRows, INSERT, SCHEMA } from "./sample-rows.ts";

export interface LargeTransactionOptions {
  readonly rows: number;
  readonly rounds: number;
}

const SEED = 4;

const rowsOf = (count: number): SqlValue[][] => Array.from({ length: count }, createRows(SEED));

export async function benchLargeWrite({ rows, rounds }: LargeTransactionOptions): Promise<Ratio> {
  const mesh = await createBenchMesh(SCHEMA);
  const work = rowsOf(rows);
  return compare({
    bare: async () => {
      const bare = await openBareCrr(createMemoryStorage());
      return { step: () => bare.insert(work), close: bare.close };
    },
    mesh: async () => {
      const replica = await mesh.openReplica(createMemoryStorage());
      return {
        step: async () => void (await replica.db.execMany(INSERT, work)),
        close: replica.close,
      };
    },
    steps: 1,
    rounds,
  });
}

export async function benchLargeApply({ rows, rounds }: LargeTransactionOptions): Promise<Ratio> {
  const mesh = await createBenchMesh(SCHEMA);
  const author = await mesh.openReplica(createMemoryStorage());
  await author.db.execMany(INSERT, rowsOf(rows));
  const range = { site: author.keys.siteId, stream: "data", first: 1, last: 1 } as const;
  const { runs } = await author.read(range, 1);
  const { outlines = [] } = await author.read(range, 1, "outlined");
  const changes = runs.flatMap(changesOfRun);
  const ratio = await compare({
    bare: () => openBareSide(changes, author.keys.siteId),
    mesh: () => openMeshSide(mesh, author, outlines),
    steps: 1,
    rounds,
  });
  await author.close();
  return ratio;
}

async function openBareSide(changes: readonly ChangeRow[], site: SiteId): Promise<Side> {
  const bare = await openBareCrr(createMemoryStorage());
  return { step: () => bare.merge(changes, site), close: bare.close };
}

async function openMeshSide(
  mesh: BenchMesh,
  author: Replica,
  outlines: readonly Uint8Array[],
): Promise<Side> {
  const replica = await mesh.openReplica(createMemoryStorage());
  return {
    step: async () => {
      await replica.ingest(outlines.map((bytes) => ({ type: "outline", bytes })));
      for (const { missing, ...of } of await replica.incoming()) {
        const last = missing[0]?.last ?? -1;
        for (let first = 0; first <= last; first += WANT_CHUNKS_MAX) {
          const count = Math.min(WANT_CHUNKS_MAX, last - first + 1);
          const indexes = Array.from({ length: count }, (_, i) => first + i);
          const chunks = await author.readChunks({ ...of, indexes });
          const { headerHash } = of;
          const items = chunks.map(({ index, bytes }): IngestItem => ({
            type: "chunk",
            headerHash,
            index,
            bytes,
          }));
          await replica.ingest(items);
        }
      }
      if ((await replica.vector()).length !== 1) throw new RangeError("nothing was applied");
    },
    close: replica.close,
  };
}

function changesOfRun(bytes: Uint8Array): ChangeRow[] {
  let seq = 0;
  return decodeRun(bytes).changesets.flatMap(({ payload }) =>
    decodePayload(payload).tables.flatMap(({ rows }) =>
      rows.flatMap(({ primaryKey, causalLength, cells }) =>
        cells.map(({ column, columnVersion, value }) => ({
          primaryKey,
          column: columnName(column),
          value,
          columnVersion,
          causalLength,
          seq: seq++,
        })),
      ),
    ),
  );
}
