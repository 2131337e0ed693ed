/** Large changesets for tests: written, outlined, carried in chunks. */
import type { ReplicaDatabase } from "../../src/db/replica-database.ts";
import { createIngestQueue, type IngestQueue } from "../../src/node/ingest-queue.ts";
import { decodeOutline } from "../../src/protocol/outline.ts";
import type { IncomingChangeset, IngestItem, IngestOutcome } from "../../src/seams.ts";
import { ed25519 } from "../fixtures/replicas.ts";

const ALL = { stream: "data", first: 1, last: 2 ** 40 } as const;

/** Rows of about 90 bytes in the payload: 750 of them fill a chunk. */
export const writeRows = (db: ReplicaDatabase, rows: number, name = "row"): Promise<number> =>
  db.exec(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2) INSERT INTO animal SELECT printf('%s-%07d', ?1, i), hex(randomblob(24)), i, i / 3.0, NULL FROM n",
    [name, rows],
  );

/** The outlines of what `from` wrote itself. */
export async function outlinesOf(from: ReplicaDatabase): Promise<readonly Uint8Array[]> {
  const range = { site: from.signer.siteId, ...ALL };
  const outlines: Uint8Array[] = [];
  for (let first: number | null = 1; first !== null;) {
    const { outlines: more = [], next } = await from.read({ ...range, first }, 100_000, "outlined");
    outlines.push(...more);
    first = next;
  }
  return outlines;
}

/** One chunk, as whoever holds it would send it. */
export async function chunkOf(
  from: ReplicaDatabase,
  { site, stream, version, headerHash }: IncomingChangeset,
  index: number,
): Promise<Extract<IngestItem, { readonly type: "chunk" }>> {
  const request = { site, stream, version, headerHash, indexes: [index] };
  const [chunk] = await from.readChunks(request);
  if (chunk === undefined) throw new Error(`no chunk ${index}`);
  return { type: "chunk", headerHash, ...chunk };
}

export const indexesOf = ({ missing }: IncomingChangeset): readonly number[] =>
  missing.flatMap(({ first, last }) =>
    Array.from({ length: last - first + 1 }, (_, i) => first + i),
  );

export const queueOf = (database: ReplicaDatabase): IngestQueue =>
  createIngestQueue({ database, ed25519 });

/** What the receiver says of the outline, and of it then waits for. */
export async function expectOutline(
  queue: IngestQueue,
  to: ReplicaDatabase,
  bytes: Uint8Array,
): Promise<{ readonly outcome: IngestOutcome | undefined; readonly incoming: IncomingChangeset }> {
  const [outcomes] = await queue.ingest([{ type: "outline", bytes }]);
  const { header } = decodeOutline(bytes);
  const incoming = to
    .incoming()
    .find(({ site, version }) => site === header.site && version === header.version);
  if (incoming === undefined) throw new Error(`not kept: ${JSON.stringify(outcomes)}`);
  return { outcome: outcomes?.[0], incoming };
}
