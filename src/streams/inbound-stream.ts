/**
 * The receiving half of a stream: packages end in the log like anything else that arrives, and what
 * they tell of the sender is remembered (rules T6 to T9).
 *
 * @module
 */

import { isMeshError, MeshError } from "../protocol/errors.ts";
import type { MeshId } from "../protocol/ids.ts";
import { decodePackage, encodePosition } from "../protocol/stream-packet.ts";
import { type ChangesetRange, mainStream, type VectorEntry } from "../protocol/version-vector.ts";
import type { IngestOutcome } from "../seams.ts";
import { assertMesh, boundMesh, bytesOf, packetOf } from "./packet.ts";
import { rangeOfRun } from "./sent-versions.ts";
import type {
  AcceptedPackage,
  InboundStream,
  InboundStreamOptions,
  Packet,
  StreamEnds,
} from "./streams.ts";

export function createInboundStream(
  { store, positions, closed }: StreamEnds,
  { from }: InboundStreamOptions,
): InboundStream {
  async function accept(packet: Uint8Array | string): Promise<AcceptedPackage> {
    if (closed.aborted) throw new MeshError("ERR_CLOSED", "the mesh is closed");
    const mesh = boundMesh(store);
    const runs = runsOf(packet, mesh);
    if (!Array.isArray(runs)) return { outcomes: [runs], receipt: receiptOf(mesh, []) };
    const position = await positions.open(from, mesh);
    const ranges = runs.map(rangeOrNull);
    const authors = new Set(ranges.flatMap((range) => (range === null ? [] : mainStream(range))));
    // Commits wake the stream back to there, which must not return what is just coming in.
    const looked = position.arriving(ranges.filter((range) => range !== null));
    try {
      const lists = await store.ingest(runs.map((bytes) => ({ type: "run", bytes })));
      const held = (await store.vector()).filter((entry) => authors.has(mainStream(entry)));
      const forked = new Set(held.filter(({ branch }) => branch !== undefined).map(mainStream));
      const kept = ranges
        .flatMap((range, i) => keptOf(range, lists[i] ?? []))
        .filter((range) => !forked.has(mainStream(range)));
      position.add(kept);
      if (kept.length > 0) await position.save();
      return { outcomes: lists.flat(), receipt: receiptOf(mesh, held) };
    } finally {
      looked();
    }
  }

  return {
    accept,
    position: async () => receiptOf(boundMesh(store), await store.vector()),
  };
}

const receiptOf = (mesh: MeshId, entries: readonly VectorEntry[]): Packet =>
  packetOf(encodePosition({ mesh, entries }));

/** The package's runs, or why it is refused. */
function runsOf(packet: Uint8Array | string, expected: MeshId): Uint8Array[] | IngestOutcome {
  try {
    const { mesh, runs } = decodePackage(bytesOf(packet));
    assertMesh(mesh, expected);
    return [...runs];
  } catch (error) {
    if (!isMeshError(error)) throw error;
    return { verdict: "refused", code: error.code };
  }
}

/** By its author alone: which branch it is of the sender may see otherwise. */
function rangeOrNull(run: Uint8Array): ChangesetRange | null {
  try {
    const { site, stream, first, last } = rangeOfRun(run);
    return { site, stream, first, last };
  } catch (error) {
    if (!isMeshError(error)) throw error;
    return null;
  }
}

/** The verified beginning of a run: its sender holds that for certain. */
function keptOf(
  range: ChangesetRange | null,
  outcomes: readonly IngestOutcome[],
): readonly ChangesetRange[] {
  const bad = outcomes.findIndex(({ verdict }) => verdict === "refused" || verdict === "later");
  const count = bad < 0 ? outcomes.length : bad;
  return range === null || count === 0 ? [] : [{ ...range, last: range.first + count - 1 }];
}
