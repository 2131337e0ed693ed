/**
 * What libp2p 3 expects of the platform and Node 20 lacks. Import it first in a Node program; the
 * library itself never patches globals for it.
 *
 * @module
 */

import { WebSocket } from "ws";

interface Resolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T | PromiseLike<T>) => void;
  readonly reject: (reason?: unknown) => void;
}

function withResolvers<T>(): Resolvers<T> {
  let resolve!: Resolvers<T>["resolve"];
  let reject!: Resolvers<T>["reject"];
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}

const addMissing = (target: object, name: string, value: unknown): void => {
  if (!(name in target))
    Object.defineProperty(target, name, { value, writable: true, configurable: true });
};

addMissing(Promise, "withResolvers", withResolvers);
addMissing(globalThis, "WebSocket", WebSocket);
