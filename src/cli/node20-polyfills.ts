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

/**
 * As the platform's: an error that nobody listens for any more ends nothing. The package's own throws
 * it, and a hub that hangs and then breaks a dial that was given up would end the program.
 */
class QuietWebSocket extends WebSocket {
  constructor(...args: ConstructorParameters<typeof WebSocket>) {
    super(...args);
    this.on("error", () => undefined);
  }
}

addMissing(Promise, "withResolvers", withResolvers);
addMissing(globalThis, "WebSocket", QuietWebSocket);
