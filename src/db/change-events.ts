/**
 * Change events: committed changesets in merge order, resumable, then live. Read from the log, so a
 * slow listener costs no memory and a checkpoint survives restarts and `rebuild`.
 *
 * @module
 */

import { isMeshError } from "../protocol/errors.ts";
import type { HeaderHash, SiteId } from "../protocol/ids.ts";
import { CHUNK_BYTES } from "../protocol/limits.ts";
import { readPrefix, readTables } from "../protocol/payload.ts";
import type { Engine } from "./engine.ts";
import { entryAt, LOG_ENTRY_COLUMNS } from "./log.ts";
import type { AppSchema } from "./schema.ts";
import { payloadReader } from "./stored-payload.ts";

export interface ChangeEvent {
  /** Pass as `since` to go on after this one. Local to this replica, ascending. */
  readonly checkpoint: number;
  readonly siteId: SiteId;
  readonly version: number;
  readonly headerHash: HeaderHash;
  /** Signed with a key of this profile, also with one it has no more. */
  readonly local: boolean;
  /** The author's clock, for people only. */
  readonly wallClockMs: number;
  readonly tables: readonly { readonly table: string; readonly rows: number }[];
}

export interface EventsOptions {
  /** A checkpoint; 0, the default, is before the first. */
  readonly since?: number;
  readonly signal?: AbortSignal;
}

export interface EventsHost {
  readonly ownSites: () => readonly SiteId[];
  readonly schema: AppSchema | null;
  readonly read: <T>(run: (engine: Engine) => T) => Promise<T>;
  /** Calls back once, after the next commit or when the database closes. */
  readonly onNextCommit: (wake: () => void) => () => void;
  readonly closed: () => boolean;
}

const PAGE = 64;

/** Ends when the signal fires or the database closes. */
export async function* changeEvents(
  host: EventsHost,
  { since = 0, signal }: EventsOptions,
): AsyncIterableIterator<ChangeEvent> {
  let checkpoint = since;
  const ended = (): boolean => signal?.aborted === true || host.closed();
  while (!ended()) {
    // Subscribed before reading: a commit in between is not missed.
    const next = nextCommit(host, signal);
    try {
      const from = checkpoint;
      const page = await host.read((engine) => readEvents(engine, host, from));
      for (const event of page) {
        if (ended()) return;
        checkpoint = event.checkpoint;
        yield event;
      }
      if (page.length === 0) await next.promise;
    } catch (error) {
      if (!isMeshError(error, "ERR_CLOSED")) throw error;
    } finally {
      next.stop();
    }
  }
}

function nextCommit(
  host: EventsHost,
  signal: AbortSignal | undefined,
): { readonly promise: Promise<void>; readonly stop: () => void } {
  const done = new AbortController();
  const promise = new Promise<void>((resolve) => {
    const wake = (): void => resolve();
    done.signal.addEventListener("abort", host.onNextCommit(wake));
    signal?.addEventListener("abort", wake, { signal: done.signal });
  });
  return { promise, stop: () => done.abort() };
}

function readEvents(engine: Engine, host: EventsHost, since: number): ChangeEvent[] {
  const select = engine.prepare(
    `SELECT ${LOG_ENTRY_COLUMNS} FROM rowmesh_log WHERE merged > ? ORDER BY merged LIMIT ${PAGE}`,
  );
  select.bindInteger(1, since);
  const events: ChangeEvent[] = [];
  while (select.step()) {
    const { merged, headerHash, header, payload } = entryAt(select);
    const reader = payloadReader(engine, header, payload);
    const { wallClockMs } = readPrefix(reader);
    const rowsByTable = new Map<number, number>();
    for (const { table, rows } of readTables(reader, CHUNK_BYTES)) {
      rowsByTable.set(table, (rowsByTable.get(table) ?? 0) + rows.length);
    }
    events.push({
      checkpoint: merged ?? 0,
      siteId: header.site,
      version: header.version,
      headerHash,
      local: host.ownSites().includes(header.site),
      wallClockMs,
      tables: [...rowsByTable].map(([table, rows]) => ({
        table: host.schema?.tables[table]?.name ?? String(table),
        rows,
      })),
    });
  }
  return events;
}
