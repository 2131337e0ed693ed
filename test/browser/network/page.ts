/** Runs in the page: one network, driven from the test by name. Bundled by `pages.ts`. */
import {
  createLibp2pNetwork,
  type Libp2pNetwork,
  type Libp2pNetworkOptions,
} from "../../../src/node/libp2p-network.ts";
import type { MeshErrorCode } from "../../../src/protocol/errors.ts";
import type { BroadcastVerdict, NetworkPeer } from "../../../src/seams.ts";

/** What crosses between page and test: JSON only, bytes as base64. */
export type PageOptions = Omit<Libp2pNetworkOptions, "clock" | "random" | "secretKey"> & {
  readonly secretKey: string;
};

export type PageEvent =
  | { readonly type: "up"; readonly peer: NetworkPeer; readonly links: readonly NetworkPeer[] }
  | { readonly type: "down"; readonly peer: string; readonly links: readonly NetworkPeer[] }
  | { readonly type: "frame"; readonly from: string; readonly bytes: string }
  | { readonly type: "broadcast"; readonly from: string; readonly bytes: string };

declare global {
  /** Exposed by the test. */
  var tellTest: (event: PageEvent) => Promise<BroadcastVerdict | null>;
  var page: typeof api;
}

const decode = (text: string): Uint8Array => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

function encode(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8_192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8_192));
  }
  return btoa(text);
}

let network: Libp2pNetwork;
/** Counted instead of told: telling the test costs more than carrying the frame. */
let sunkBytes: number | null = null;

const api = {
  create: async (options: PageOptions): Promise<string> => {
    network = await createLibp2pNetwork({
      ...options,
      secretKey: decode(options.secretKey),
      clock: { nowMs: () => performance.now(), wallClockMs: () => Date.now() },
      random: {
        below: (bound) => crypto.getRandomValues(new Uint32Array(1))[0]! % bound,
        bytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
      },
    });
    return network.self;
  },
  start: () =>
    network.start({
      peerUp: (peer) => void tellTest({ type: "up", peer, links: network.links() }),
      peerDown: (peer) => void tellTest({ type: "down", peer, links: network.links() }),
      frame: async (from, bytes) => {
        if (sunkBytes !== null) {
          sunkBytes += bytes.length;
          return;
        }
        await tellTest({ type: "frame", from, bytes: encode(bytes) });
      },
      broadcast: async (from, bytes) =>
        (await tellTest({ type: "broadcast", from, bytes: encode(bytes) })) ?? "ignore",
    }),
  send: (to: string, frame: string) => network.send(to, decode(frame)),
  broadcast: (bytes: string) => network.broadcast(decode(bytes)),
  penalise: (peer: string, code: MeshErrorCode) => network.penalise(peer, code),
  suggestPeers: (via: string, peers: readonly string[]) => network.suggestPeers(via, peers),
  links: () => network.links(),
  bufferedBytes: (peer: string) => network.bufferedBytes(peer),
  sink: () => {
    sunkBytes = 0;
  },
  sunkBytes: () => sunkBytes,
  /** Sends as fast as `send` allows. */
  sendBulk: async (to: string, frames: number, frameBytes: number) => {
    const frame = new Uint8Array(frameBytes);
    let unsentMax = 0;
    for (let i = 0; i < frames; i++) {
      await network.send(to, frame);
      unsentMax = Math.max(unsentMax, network.bufferedBytes(to).unsent);
    }
    return { unsentMax };
  },
  stop: () => network.stop(),
  /** Keeps the main thread busy, as rendering and SQL do: `busyMs` out of every `everyMs`. */
  keepBusy: (busyMs: number, everyMs: number) => {
    setInterval(() => {
      const end = performance.now() + busyMs;
      while (performance.now() < end);
    }, everyMs);
  },
};
globalThis.page = api;
