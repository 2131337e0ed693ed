/**
 * The leader's half of a mesh as other tabs have it: its window holds libp2p, so what concerns the
 * network goes there. Carried by comlink over a tab link.
 *
 * @module
 */

import type { Remote } from "comlink";
import { isMeshError, MeshError } from "../protocol/errors.ts";
import type { Mesh, MeshStatus, Pairing, PairingPeer } from "./api.ts";
import { readPairingPeer } from "./pairing.ts";
import { createPendingCalls, settling, WorkerEndedError } from "./pending-calls.ts";
import type { SeatMesh } from "./seats.ts";
import { createStatusFeed } from "./status-feed.ts";
import type { TabLink } from "./tab-link.ts";

interface MeshHost {
  /** Answers with the status now; calls back with each later one. */
  readonly subscribe: (listener: (status: MeshStatus) => Promise<void>) => Promise<MeshStatus>;
  readonly invite: (options: Parameters<Mesh["invite"]>[0]) => Promise<Told<string>>;
  readonly join: (link: string) => Promise<Told<void>>;
  readonly online: (online: boolean) => Promise<Told<void>>;
  /** The pairing's number is for the calls below. */
  readonly pair: () => Promise<{
    readonly pairing: number;
    readonly code: string;
    readonly fingerprint: string;
  }>;
  readonly pairWith: (pairing: number, code: string) => Promise<PairingPeer>;
  readonly endPairing: (pairing: number) => Promise<void>;
  /** Says that somebody is there. */
  readonly ping: () => void;
}

/** With the status that the call led to: the caller's own is not behind it. */
interface Told<T> {
  readonly value: T;
  readonly status: MeshStatus;
}

/** For one tab. @returns the stop function; the link stays open */
export function exposeMesh(mesh: SeatMesh, link: TabLink): () => void {
  let stop: (() => void) | null = null;
  const pairings = new Map<number, Pairing>();
  let lastPairing = 0;
  let stopped = false;
  const endPairing = async (number: number): Promise<void> => {
    const pairing = pairings.get(number);
    pairings.delete(number);
    await pairing?.close();
  };
  const told = async <T>(call: Promise<T>): Promise<Told<T>> => ({
    value: await call,
    status: mesh.status(),
  });
  const host: MeshHost = {
    subscribe: async (listener) => {
      stop?.();
      stop = mesh.onStatus((status) => void listener(status));
      return mesh.status();
    },
    invite: (options) => told(mesh.invite(options)),
    join: (text) => told(mesh.join(text)),
    online: (online) => told(mesh.online(online)),
    pair: async () => {
      const pairing = await mesh.pair();
      // The tab that asked for it ended meanwhile.
      if (stopped) await pairing.close();
      pairings.set(++lastPairing, pairing);
      const { code, fingerprint } = pairing;
      return { pairing: lastPairing, code, fingerprint };
    },
    pairWith: (pairing, code) => {
      const opened = pairings.get(pairing);
      if (opened === undefined) throw new MeshError("ERR_PAIRING_FAILED", "the pairing was closed");
      return opened.connect(code);
    },
    endPairing,
    ping: () => undefined,
  };
  link.expose(host);
  return () => {
    stopped = true;
    stop?.();
    for (const pairing of pairings.keys()) void endPairing(pairing);
  };
}

export interface RemoteMesh extends SeatMesh {
  readonly ping: () => Promise<void>;
  /** Tells those who follow the status that something else about it changed. */
  readonly changed: () => void;
  /** Nobody answers any more. */
  readonly end: () => void;
}

/** @param ended the leader is no more */
export async function meshOverLink(link: TabLink, ended: Promise<void>): Promise<RemoteMesh> {
  const remote: Remote<MeshHost> = link.wrap<MeshHost>();
  const calls = createPendingCalls();
  const end = (): void => calls.end(new WorkerEndedError("the tab that led ended"));
  void ended.then(end);
  const host = settling(remote, calls);
  let status: MeshStatus | null = null;
  const feed = createStatusFeed((): MeshStatus => {
    if (status === null) throw new RangeError("no status yet");
    return status;
  });
  const take = (told: MeshStatus): void => {
    status = told;
    feed.changed();
  };
  const takeFrom = async <T>(call: Promise<Told<T>>): Promise<T> => {
    const told = await call;
    take(told.status);
    return told.value;
  };
  take(await host.subscribe(link.carry(async (told: MeshStatus) => take(told))));
  return {
    status: feed.now,
    onStatus: feed.subscribe,
    invite: (options) => takeFrom(host.invite(options)),
    join: (text) => takeFrom(host.join(text)),
    online: (online) => takeFrom(host.online(online)),
    pair: (options) => pairOver(host, options?.signal, feed.now),
    ping: () => host.ping(),
    changed: feed.changed,
    end: () => {
      feed.stop();
      end();
    },
  };
}

/** A pairing in the leader's window: it ends with that one. */
async function pairOver(
  host: Remote<MeshHost>,
  signal: AbortSignal | undefined,
  status: () => MeshStatus,
): Promise<Pairing> {
  const { pairing, code, fingerprint } = await host.pair();
  const close = (): Promise<void> => host.endPairing(pairing).catch(() => undefined);
  const giveUp = (): void => void close();
  if (signal?.aborted === true) {
    await close();
    throw new MeshError("ERR_ABORTED", "the pairing was given up");
  }
  signal?.addEventListener("abort", giveUp, { once: true });
  return {
    code,
    fingerprint,
    read: (text) =>
      readPairingPeer(
        text,
        (peer) => status().peers.find(({ peerId }) => peerId === peer)?.name ?? null,
      ),
    connect: async (text, { signal: stop } = {}) => {
      stop?.addEventListener("abort", giveUp, { once: true });
      try {
        if (stop?.aborted === true) throw new MeshError("ERR_ABORTED", "the pairing was given up");
        return await host.pairWith(pairing, text);
      } catch (error) {
        if (isMeshError(error)) throw error;
        throw new MeshError("ERR_PAIRING_FAILED", "the tab that led ended", { cause: error });
      } finally {
        stop?.removeEventListener("abort", giveUp);
      }
    },
    close,
  };
}
