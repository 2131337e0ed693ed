/**
 * A replica that lives elsewhere: the same {@link Replica}, every call carried by comlink to
 * `replica-host.ts`; either to this window's own worker, or over a tab link to another tab's. Keeps
 * the main thread free: no SQL, hashing or signing happens here.
 *
 * @module
 */

import { proxy, releaseProxy, wrap } from "comlink";
import type { ChangeEvent, EventsOptions } from "../db/change-events.ts";
import type { MeshBinding } from "../db/replica-database.ts";
import { isMeshError, MeshError } from "../protocol/errors.ts";
import type { ReplicaChange } from "../seams.ts";
import { databaseOver, nextCall } from "./database-client.ts";
import {
  createPendingCalls,
  type PendingCalls,
  settling,
  WorkerEndedError,
} from "./pending-calls.ts";
import type { Replica } from "./replica.ts";
import type {
  RemoteReplicaHost,
  RemoteReplicaOwnerHost,
  ReplicaHostParts,
  ReplicaIdentity,
  ReplicaOpened,
  ReplicaOwnerHost,
  ReplicaHost,
  ReplicaRequest,
} from "./replica-host.ts";
import { carryMeshErrors } from "./rpc-errors.ts";
import type { TabLink } from "./tab-link.ts";
import { termLockName, webLocks, whenFree } from "./tab-locks.ts";

/** As long as a transaction may take by default. */
const CLOSE_PATIENCE_MS = 10_000;

export interface RemoteReplica {
  readonly replica: Replica;
  /** Says that the worker is not held up. */
  readonly ping: () => Promise<unknown>;
  /**
   * The database's worker is no more, however it ended. Calls under way are rejected, with
   * {@link WorkerEndedError} where another one takes over.
   */
  readonly ended: Promise<void>;
}

/** Owns the worker: closing the replica ends it. @throws what opening the storage throws */
export async function openReplicaInWorker(
  worker: Worker,
  request: ReplicaRequest,
): Promise<RemoteReplica> {
  carryMeshErrors();
  const remote: RemoteReplicaOwnerHost = wrap<ReplicaOwnerHost>(worker);
  const closing = new AbortController();
  const calls = createPendingCalls();
  try {
    const opened = await Promise.race([remote.open(request), workerFailure(worker)]);
    const ended = endOf(request.door?.term ?? null, calls, closing.signal, endOfWorker(request));
    const close = async (): Promise<void> => {
      calls.refuse(closedError());
      try {
        await Promise.race([remote.close(), ended]);
      } finally {
        // Whatever closing met: the storage and the locks go with the worker.
        remote[releaseProxy]();
        worker.terminate();
        calls.end(closedError());
        closing.abort();
      }
    };
    const replica = await replicaOver(remote, opened, { carry: proxy, calls, close });
    return { replica, ping: () => calls.settle(() => remote.opened()), ended };
  } catch (error) {
    closing.abort();
    worker.terminate();
    throw error;
  }
}

/**
 * Another tab's. Closing it closes the link.
 * @param signal ends it at once, also later
 * @throws WorkerEndedError when that tab is no more
 */
export async function openReplicaOverLink(
  link: TabLink,
  term: string,
  signal: AbortSignal,
): Promise<RemoteReplica> {
  carryMeshErrors();
  const remote: RemoteReplicaHost = link.wrap<ReplicaHost>();
  const closing = new AbortController();
  const calls = createPendingCalls();
  const ended = endOf(term, calls, closing.signal, new WorkerEndedError("the leader ended"));
  const end = (): void => {
    calls.end(closedError());
    closing.abort();
    link.close();
  };
  const close = async (): Promise<void> => {
    calls.refuse(closedError());
    // What is under way is answered first, as where the database is; what is too long ends there.
    await calls.idle(AbortSignal.timeout(CLOSE_PATIENCE_MS));
    if (!closing.signal.aborted) await soon(Promise.race([remote.leave(), ended]));
    end();
  };
  signal.addEventListener("abort", end, { signal: closing.signal });
  try {
    if (signal.aborted) throw closedError();
    const opened = await calls.settle(() => remote.opened());
    const replica = await replicaOver(remote, opened, { carry: link.carry, calls, close });
    return { replica, ping: () => calls.settle(() => remote.opened()), ended };
  } catch (error) {
    end();
    throw error;
  }
}

/** A tab that is frozen or held up does not answer. */
const ANSWER_MS = 1_000;

async function soon(answer: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, ANSWER_MS)));
  await Promise.race([answer, late]).finally(() => clearTimeout(timer));
}

/** Where there are no locks nobody can tell: then it never ends. */
async function endOf(
  term: string | null,
  calls: PendingCalls,
  closing: AbortSignal,
  error: Error,
): Promise<void> {
  const locks = term === null ? null : webLocks();
  if (term === null || locks === null) return new Promise<void>(() => undefined);
  await whenFree(locks, termLockName(term), closing);
  calls.end(error);
}

/** Where tabs share a database another worker takes over; else it was all there was. */
const endOfWorker = ({ door }: ReplicaRequest): Error =>
  door === null || door.channel === null
    ? new MeshError("ERR_STORAGE_LOST", "the worker of the database ended")
    : new WorkerEndedError("the worker of the database ended");

interface ReplicaSide {
  readonly carry: ReplicaHostParts["carry"];
  readonly calls: PendingCalls;
  readonly close: () => Promise<void>;
}

async function replicaOver(
  remote: RemoteReplicaHost,
  opened: ReplicaOpened,
  { carry, calls, close }: ReplicaSide,
): Promise<Replica> {
  const host = settling(remote, calls);
  const listeners = new Set<(change: ReplicaChange) => void>();
  const keyListeners = new Set<() => void>();
  let identity: ReplicaIdentity = opened;
  await host.subscribe(
    carry(async (change: ReplicaChange) => {
      for (const listener of listeners) listener(change);
    }),
    carry(async (taken: ReplicaIdentity) => {
      identity = taken;
      for (const listener of keyListeners) listener();
    }),
  );
  let binding: MeshBinding | null = opened.binding;
  return {
    get keys() {
      return identity.keys;
    },
    ownSites: () => identity.ownSites,
    onNewKey: (listener) => {
      keyListeners.add(listener);
      return () => keyListeners.delete(listener);
    },
    storage: opened.storage,
    db: databaseOver(host, carry, calls),
    keptResult: (receipt) => host.keptResult(receipt),
    binding: () => binding,
    mesh: () => binding?.id ?? null,
    bindMesh: async (id, invite) => {
      await host.bindMesh(id, invite);
      binding = { id, invite };
    },
    vector: () => host.vector(),
    ingest: (items) => host.ingest(items),
    read: (range, bytesMax, large = "whole") => host.read(range, bytesMax, large),
    readChunks: (wanted) => host.readChunks(wanted),
    incoming: () => host.incoming(),
    judge: (claims, also) => host.judge(claims, also),
    offer: (mode) => host.offer(mode),
    peerPosition: (name) => host.peerPosition(name),
    keepPeerPosition: (name, position) => host.keepPeerPosition(name, position),
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    report: () => host.report(),
    events: (options) => eventsOver(settling(remote, calls, "inner"), options),
    stateHash: () => host.stateHash(),
    rebuild: () => host.rebuild(),
    close: async () => {
      listeners.clear();
      keyListeners.clear();
      await close();
    },
  };
}

const closedError = (): MeshError => new MeshError("ERR_CLOSED", "the database is closed");

/** Rejects when the worker's script cannot be loaded or throws while it starts. */
function workerFailure(worker: Worker): Promise<never> {
  return new Promise((_, reject) => {
    worker.addEventListener("error", (event) => {
      reject(new MeshError("ERR_STORAGE_UNAVAILABLE", `the worker failed: ${event.message}`));
    });
  });
}

async function* eventsOver(
  host: RemoteReplicaHost,
  { since = 0, signal }: EventsOptions = {},
): AsyncGenerator<ChangeEvent, undefined> {
  const call = nextCall();
  const close = (): void => void host.eventsClose(call).catch(() => undefined);
  signal?.addEventListener("abort", close, { once: true });
  try {
    await host.eventsOpen(call, since);
    for (;;) {
      if (signal?.aborted === true) return;
      const next = await host.eventsNext(call);
      if (next.done === true) return;
      yield next.value;
    }
  } catch (error) {
    // Events end with the database.
    if (!isMeshError(error, "ERR_CLOSED")) throw error;
  } finally {
    signal?.removeEventListener("abort", close);
    close();
  }
}
