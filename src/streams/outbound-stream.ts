/**
 * The sending half of a stream: what this replica holds and the other end is not known to hold, in
 * packages (rules T1 to T5). Authors take turns, so that a long log does not hold back a short one.
 *
 * @module
 */

import { isMeshError, MeshError } from "../protocol/errors.ts";
import type { HeaderHash, MeshId } from "../protocol/ids.ts";
import {
  PACKAGE_BYTES,
  PACKAGE_BYTES_MAX,
  PACKAGE_RUNS_MAX,
  PACKAGE_SHARE_BYTES,
} from "../protocol/limits.ts";
import { decodePosition, encodePackage } from "../protocol/stream-packet.ts";
import {
  type AuthorStream,
  type ChangesetRange,
  countVersions,
  mainStream,
} from "../protocol/version-vector.ts";
import { lackingVersions, type Sending } from "./lacking-versions.ts";
import { assertMesh, boundMesh, bytesOf, packetOf } from "./packet.ts";
import type { PeerPosition } from "./peer-position.ts";
import { createSentVersions } from "./sent-versions.ts";
import type { OutboundPackage, OutboundStreamOptions, StreamEnds } from "./streams.ts";

/** Ends when the mesh closes. @throws ERR_NO_MESH, ERR_OPTION_INVALID, and what `since` is refused with */
export async function* createOutboundStream(
  ends: StreamEnds,
  options: OutboundStreamOptions,
): AsyncGenerator<OutboundPackage, undefined> {
  const { store, closed } = ends;
  const stop = options.signal === undefined ? closed : AbortSignal.any([closed, options.signal]);
  const changes = watchChanges(ends, stop);
  try {
    const mesh = boundMesh(store);
    const bytesMax = sizeOf(options);
    const position = await ends.positions.open(options.to, mesh);
    if (options.since !== undefined) await startFrom(position, options.since, mesh);
    // Not again in this stream, acknowledged or not: what is lost on the way is for the next one.
    const sent = createSentVersions();
    for (let turn = 0; !stop.aborted; turn++) {
      const seen = changes.count();
      const taken = await takePackage({ ends, options, position, sent, bytesMax, turn });
      if (taken.ranges.length > 0) {
        yield outboundPackage(taken, mesh, position);
      } else if (options.mode === "once") return;
      else await changes.after(seen);
    }
  } catch (error) {
    // The mesh was closed while something was read.
    if (!closed.aborted || !isMeshError(error, "ERR_CLOSED")) throw error;
  } finally {
    changes.stop();
  }
}

function sizeOf({ bytesMax = PACKAGE_BYTES }: OutboundStreamOptions): number {
  if (Number.isSafeInteger(bytesMax) && bytesMax > 0 && bytesMax <= PACKAGE_BYTES_MAX) {
    return bytesMax;
  }
  throw new MeshError("ERR_OPTION_INVALID", `bytesMax is from 1 to ${PACKAGE_BYTES_MAX}`);
}

async function startFrom(
  position: PeerPosition,
  since: Uint8Array | string,
  mesh: MeshId,
): Promise<void> {
  const claimed = decodePosition(bytesOf(since));
  assertMesh(claimed.mesh, mesh);
  position.replace(claimed.entries);
  await position.save();
}

interface TakenPackage {
  readonly runs: readonly Uint8Array[];
  readonly ranges: readonly ChangesetRange[];
  /** Authors with several chains: what is known of them comes from the other end alone. */
  readonly forked: ReadonlySet<AuthorStream>;
}

interface Taking extends Sending {
  readonly bytesMax: number;
  /** Of the package, from 0: another author begins each time. */
  readonly turn: number;
}

async function takePackage(taking: Taking): Promise<TakenPackage> {
  const { store } = taking.ends;
  const { authors, forked } = await lackingVersions(taking);
  const runs: Uint8Array[] = [];
  const ranges: ChangesetRange[] = [];
  let bytes = 0;
  for (let i = 0; i < authors.length && bytes < taking.bytesMax; i++) {
    let share = Math.min(PACKAGE_SHARE_BYTES, taking.bytesMax - bytes);
    for (const wanted of authors[(i + taking.turn) % authors.length] ?? []) {
      const part = await store.read(wanted, share);
      for (const [at, run] of part.runs.entries()) {
        // A reading ends with one changeset too many: read again for the next package.
        const isFull = bytes + run.length > taking.bytesMax || runs.length === PACKAGE_RUNS_MAX;
        if (runs.length > 0 && isFull) return { runs, ranges, forked };
        bytes += run.length;
        share -= run.length;
        runs.push(run);
        ranges.push(taking.sent.add(run, part.hashes[at] as HeaderHash));
      }
      // What follows in the author's list builds on this.
      if (part.next !== null || share <= 0) break;
    }
  }
  return { runs, ranges, forked };
}

function outboundPackage(
  { runs, ranges, forked }: TakenPackage,
  mesh: MeshId,
  position: PeerPosition,
): OutboundPackage {
  const authors = new Set(ranges.map(mainStream));
  return {
    ...packetOf(encodePackage({ mesh, runs })),
    changesets: countVersions(ranges),
    ack: async (receipt) => {
      if (receipt === undefined) {
        position.add(ranges.filter((range) => !forked.has(mainStream(range))));
      } else {
        const claimed = decodePosition(bytesOf(receipt));
        assertMesh(claimed.mesh, mesh);
        position.addEntries(claimed.entries.filter((entry) => authors.has(mainStream(entry))));
      }
      await position.save();
    },
  };
}

interface Changes {
  readonly count: () => number;
  /** Resolves when there was a change since that count, or the stream is to stop. */
  readonly after: (count: number) => Promise<void>;
  readonly stop: () => void;
}

function watchChanges({ store }: StreamEnds, stop: AbortSignal): Changes {
  let count = 0;
  let wake: (() => void) | null = null;
  const waken = (): void => {
    wake?.();
    wake = null;
  };
  const stopListening = store.onChange(() => {
    count++;
    waken();
  });
  stop.addEventListener("abort", waken);
  return {
    count: () => count,
    after: (seen) =>
      new Promise((resolve) => {
        if (count !== seen || stop.aborted) resolve();
        else wake = resolve;
      }),
    stop: () => {
      stopListening();
      stop.removeEventListener("abort", waken);
    },
  };
}
