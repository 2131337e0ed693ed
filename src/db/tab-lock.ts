/**
 * One tab of an origin at a time. Web Locks where they exist; pages served over plain http have
 * none, there a new tab asks over a BroadcastChannel and the holder answers. A holder too busy to
 * answer in time loses (its storage is fenced, see storage-indexeddb.ts), it never corrupts.
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";

/** A page that was just reloaded may still hold the lock for a moment. */
const PATIENCE_MS = 1_000;
const ANSWER_WITHIN_MS = 300;

export interface TabLock {
  /** Idempotent. */
  readonly release: () => void;
}

/** @throws ERR_STORAGE_LOCKED while another tab holds it */
export const acquireTabLock = async (name: string): Promise<TabLock> => {
  // The type says it is always there; an insecure context knows better.
  const locks = navigator.locks as LockManager | undefined;
  return locks === undefined ? acquireByChannel(name) : acquireByWebLock(locks, name);
};

const locked = (name: string): MeshError =>
  new MeshError("ERR_STORAGE_LOCKED", `another tab has ${name} open`);

const acquireByWebLock = async (locks: LockManager, name: string): Promise<TabLock> =>
  new Promise((resolve, reject) => {
    const patience = AbortSignal.timeout(PATIENCE_MS);
    locks
      .request(name, { signal: patience }, async () => {
        await new Promise<void>((release) => resolve({ release }));
      })
      .catch((error: unknown) => reject(patience.aborted ? locked(name) : error));
  });

type ChannelMessage =
  | { readonly type: "ask"; readonly asker: string }
  | { readonly type: "held"; readonly asker: string };

const acquireByChannel = async (name: string): Promise<TabLock> => {
  const channel = new BroadcastChannel(name);
  const post = (message: ChannelMessage): void => {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a window's method, not a channel's
    channel.postMessage(message);
  };
  const self = [...crypto.getRandomValues(new Uint32Array(4))].join("-");
  let isHolder = false;
  const taken = await new Promise<boolean>((resolve) => {
    channel.addEventListener("message", ({ data }: MessageEvent<ChannelMessage>) => {
      switch (data.type) {
        case "ask":
          // Of two that ask at once, the smaller name wins.
          if (isHolder || self < data.asker) {
            post({ type: "held", asker: data.asker });
          }
          return;
        case "held":
          if (data.asker === self) resolve(true);
      }
    });
    post({ type: "ask", asker: self });
    setTimeout(() => resolve(false), ANSWER_WITHIN_MS);
  });
  if (taken) {
    channel.close();
    throw locked(name);
  }
  isHolder = true;
  return { release: () => channel.close() };
};
