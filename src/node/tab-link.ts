/**
 * What two tabs speak through: a BroadcastChannel that only they know the name of, as endpoints for
 * comlink. It carries no MessagePorts, so what comlink would send as one (a callback, a transaction)
 * is a numbered port of the same link, in the same order as all else.
 *
 * @module
 */

import {
  type Endpoint,
  expose,
  type ProxyMarked,
  type Remote,
  transferHandlers,
  wrap,
} from "comlink";

/** Of the exposed side; the wrapping side answers under the same. 0 is what the link was made for. */
type PortNumber = number;

type LinkMessage =
  | { readonly type: "hello" }
  | { readonly type: "closed"; readonly port: PortNumber; readonly exposedHere: boolean }
  | {
      readonly type: "data";
      readonly port: PortNumber;
      /** As the sender sees it. */
      readonly exposedHere: boolean;
      readonly data: unknown;
    };

export interface TabLink {
  /** Of the port 0. */
  readonly expose: (host: object) => void;
  readonly wrap: <Host>() => Remote<Host>;
  /** Marks a callback, or what holds some, for this link: as comlink's `proxy`. */
  readonly carry: <T extends object>(value: T) => T & ProxyMarked;
  /** Open ports but the first: callbacks that nobody has released. */
  readonly ports: () => number;
  /** Nothing arrives any more; idempotent. */
  readonly close: () => void;
}

type Listener = EventListenerOrEventListenerObject;

const linksByEnd = new Map<string, Link>();
const linkOf = new WeakMap<object, Link>();

interface Link extends TabLink {
  /** As the other end is called. */
  readonly other: string;
  readonly exposeNew: (value: object) => PortNumber;
  readonly wrapPort: (port: PortNumber) => unknown;
}

/** Which of the two ends; both may be in one page. */
export type LinkEnd = "follower" | "leader";

/** Both ends open it, in any order; what is sent before the other one is there waits. */
export function openTabLink(name: string, end: LinkEnd): TabLink {
  carryLinkPorts();
  const channel = new BroadcastChannel(name);
  const exposed = new Map<PortNumber, Set<Listener>>();
  const wrapped = new Map<PortNumber, Set<Listener>>();
  let state: "waiting" | "open" | "closed" = "waiting";
  let unsent: LinkMessage[] = [];
  let nextPort: PortNumber = 1;

  const post = (message: LinkMessage): void => {
    switch (state) {
      case "waiting":
        unsent.push(message);
        return;
      case "open":
        // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a window's method, not a channel's
        channel.postMessage(message);
        return;
      case "closed":
    }
  };
  const port = (number: PortNumber, exposedHere: boolean): Endpoint => {
    const listeners = new Set<Listener>();
    const ports = exposedHere ? exposed : wrapped;
    ports.set(number, listeners);
    return {
      postMessage: (data) => post({ type: "data", port: number, exposedHere, data }),
      addEventListener: (_type, listener) => listeners.add(listener),
      removeEventListener: (_type, listener) => {
        listeners.delete(listener);
        if (listeners.size > 0 || !ports.delete(number)) return;
        post({ type: "closed", port: number, exposedHere });
      },
    };
  };
  channel.addEventListener("message", (event: MessageEvent<LinkMessage>) => {
    const message = event.data;
    switch (message.type) {
      case "hello": {
        // The first to come may not have been heard: the one who hears the other says it again.
        if (state !== "waiting") return;
        state = "open";
        post({ type: "hello" });
        for (const each of unsent) post(each);
        unsent = [];
        return;
      }
      case "closed":
        (message.exposedHere ? wrapped : exposed).delete(message.port);
        return;
      case "data": {
        const listeners = (message.exposedHere ? wrapped : exposed).get(message.port) ?? [];
        const copy = new MessageEvent("message", { data: message.data });
        for (const listener of listeners) {
          if (typeof listener === "function") listener(copy);
          else listener.handleEvent(copy);
        }
      }
    }
  });

  const link: Link = {
    other: `${name} ${end === "leader" ? "follower" : "leader"}`,
    expose: (host) => expose(host, port(0, true)),
    wrap: <Host>() => wrap<Host>(port(0, false)),
    carry: (value) => {
      linkOf.set(value, link);
      return value as typeof value & ProxyMarked;
    },
    exposeNew: (value) => {
      const number = nextPort++;
      expose(value, port(number, true));
      return number;
    },
    wrapPort: (number) => wrap(port(number, false)),
    ports: () => [...exposed.keys(), ...wrapped.keys()].filter((number) => number > 0).length,
    close: () => {
      state = "closed";
      linksByEnd.delete(`${name} ${end}`);
      channel.close();
      exposed.clear();
      wrapped.clear();
      unsent = [];
    },
  };
  linksByEnd.set(`${name} ${end}`, link);
  const hello: LinkMessage = { type: "hello" };
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a window's method, not a channel's
  channel.postMessage(hello);
  return link;
}

interface CarriedPort {
  /** The end that is to wrap it. */
  readonly link: string;
  readonly port: PortNumber;
}

const HANDLER = "rowmesh link port";

/** Before comlink's own, which would make MessagePorts. Idempotent. */
function carryLinkPorts(): void {
  if (transferHandlers.has(HANDLER)) return;
  transferHandlers.set(HANDLER, {
    canHandle: (value): value is unknown =>
      ((typeof value === "object" && value !== null) || typeof value === "function") &&
      linkOf.has(value),
    serialize: (value) => {
      const link = linkOf.get(value as object);
      if (link === undefined) throw new RangeError("carried by no link");
      return [{ link: link.other, port: link.exposeNew(value as object) }, []];
    },
    deserialize: (carried) => {
      const { link, port } = carried as CarriedPort;
      // What a closed link still brings leads nowhere.
      return linksByEnd.get(link)?.wrapPort(port) ?? null;
    },
  });
}
