/**
 * The sending half of a stream: what this replica holds and the other end is not known to hold, in
 * packages (rules T1 to T5). Authors take turns, so that a long log does not hold back a short one.
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";
import { decodeRun } from "../protocol/changeset-run.ts";
import type { MeshId } from "../protocol/ids.ts";
import {
  PACKAGE_BYTES,
  PACKAGE_BYTES_MAX,
  PACKAGE_RUNS_MAX,
  PACKAGE_SHARE_BYTES,
  VERSION_MAX,
} from "../protocol/limits.ts";
import { decodePosition, encodePackage } from "../protocol/stream-packet.ts";
import {
  authorStream,
  type ChangesetRange,
  subtractRanges,
  type VectorEntry,
} from "../protocol/version-vector.ts";
import { assertMesh, boundMesh, bytesOf, packetOf } from "./packet.ts";
import type { PeerPosition } from "./peer-position.ts";
import type { OutboundPackage, OutboundStreamOptions, StreamEnds } from "./streams.ts";
import { createVersionSet, heldRanges, uniteRanges, type VersionSet } from "./version-set.ts";

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
    const sent = createVersionSet();
    for (let turn = 0; !stop.aborted; turn++) {
      const seen = changes.count();
      const taken = await takePackage({ ends, options, position, sent, bytesMax, turn });
      if (taken.ranges.length > 0) {
        for (const range of taken.ranges) sent.add(range);
        yield outboundPackage(taken, mesh, position);
      } else if (options.mode === "once") return;
      else await changes.after(seen);
    }
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
}

interface Taking {
  readonly ends: StreamEnds;
  readonly options: OutboundStreamOptions;
  readonly position: PeerPosition;
  readonly sent: VersionSet;
  readonly bytesMax: number;
  /** Of the package, from 0: another author begins each time. */
  readonly turn: number;
}

async function takePackage(taking: Taking): Promise<TakenPackage> {
  const { store } = taking.ends;
  const missing = lacking(taking, await store.vector());
  const runs: Uint8Array[] = [];
  const ranges: ChangesetRange[] = [];
  let bytes = 0;
  for (let i = 0; i < missing.length && bytes < taking.bytesMax; i++) {
    const wanted = missing[(i + taking.turn) % missing.length] as ChangesetRange;
    const share = Math.min(PACKAGE_SHARE_BYTES, taking.bytesMax - bytes);
    const part = await store.read(wanted, share);
    for (const run of part.runs) {
      // A reading ends with one changeset too many: read again for the next package.
      const isFull = bytes + run.length > taking.bytesMax || runs.length === PACKAGE_RUNS_MAX;
      if (runs.length > 0 && isFull) return { runs, ranges };
      bytes += run.length;
      runs.push(run);
      ranges.push(rangeOfRun(run));
    }
  }
  return { runs, ranges };
}

export function rangeOfRun(bytes: Uint8Array): ChangesetRange {
  const { stream, changesets } = decodeRun(bytes);
  const { site, version } = (changesets[0] as (typeof changesets)[number]).header;
  return { site, stream, first: version, last: version + changesets.length - 1 };
}

/** What the other end is not known to hold, our own first. */
function lacking(taking: Taking, vector: readonly VectorEntry[]): readonly ChangesetRange[] {
  const { ends, options, position, sent } = taking;
  const self = ends.self();
  const excluded = new Set(options.excludeSites);
  const ranges: ChangesetRange[] = [];
  const add = (entry: VectorEntry, held: ReturnType<typeof heldRanges>): void => {
    const key = authorStream(entry);
    const known = uniteRanges(position.get(key), sent.get(key));
    for (const { first, last } of subtractRanges(held, known)) {
      ranges.push({ site: entry.site, stream: entry.stream, first, last });
    }
  };
  const own = vector.find(({ site, stream }) => site === self && stream === "data") ?? {
    site: self,
    stream: "data" as const,
    floor: 0,
    head: 0,
    headHash: "",
    beyond: [],
  };
  // Reading releases what nobody has yet. Somebody who holds more of our log than we do has to give
  // it back first: our storage was rewound, and we would sign two contents under one version.
  const theirs = position.get(authorStream(own)).at(-1)?.last ?? 0;
  if (!excluded.has(self) && theirs <= own.head) add(own, [{ first: 1, last: VERSION_MAX }]);
  if (options.localOnly === true) return ranges;
  for (const entry of vector) {
    if (entry !== own && !excluded.has(entry.site)) add(entry, heldRanges(entry));
  }
  return ranges;
}

function outboundPackage(
  { runs, ranges }: TakenPackage,
  mesh: MeshId,
  position: PeerPosition,
): OutboundPackage {
  const authors = new Set(ranges.map(authorStream));
  return {
    ...packetOf(encodePackage({ mesh, runs })),
    changesets: ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0),
    ack: async (receipt) => {
      if (receipt === undefined) position.add(ranges);
      else {
        const claimed = decodePosition(bytesOf(receipt));
        assertMesh(claimed.mesh, mesh);
        position.addEntries(claimed.entries.filter((entry) => authors.has(authorStream(entry))));
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
