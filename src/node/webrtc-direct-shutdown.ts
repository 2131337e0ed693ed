/**
 * Ends a `webrtc-direct` listener without a crash.
 *
 * Stopping the native UDP listener while a native peer still uses its port leaves libjuice's thread
 * with a pointer to the freed listener; the next STUN request of a browser that redials ends the
 * process: "terminate called after throwing an instance of 'std::system_error'" (node-datachannel
 * 0.33.4, @libp2p/webrtc 6.0.33; seen in every second stop with a browser connected). Nothing tells
 * when the native peers are gone, and seconds of waiting were not enough.
 *
 * So a stopped network leaves its native listener in place, deaf, until the process ends or a new
 * network in the same process needs the port.
 *
 * @module
 */

import type { Libp2p } from "@libp2p/interface";

interface NativeListener {
  close: () => Promise<void>;
}

/** The parts of libp2p's listener that this needs; there is no public way. */
interface DirectListener {
  incomingConnection: () => Promise<void>;
  readonly stunServer: NativeListener;
}

interface Internals {
  readonly components?: {
    readonly transportManager?: { readonly getListeners: () => readonly object[] };
  };
}

/** How to end the native listeners that stopped networks left behind. Their references keep them. */
const retained = new Set<() => Promise<void>>();

const isDirectListener = (listener: object): listener is DirectListener =>
  "incomingConnection" in listener &&
  "stunServer" in listener &&
  typeof listener.stunServer === "object";

/** Call before `libp2p.stop()`. */
export async function retainDirectListeners(libp2p: Libp2p): Promise<void> {
  const { components } = libp2p as unknown as Internals;
  for (const listener of components?.transportManager?.getListeners() ?? []) {
    if (!isDirectListener(listener)) continue;
    const native = listener.stunServer;
    retained.add(native.close.bind(native));
    native.close = () => Promise.resolve();
    listener.incomingConnection = () => Promise.resolve();
  }
}

/** Call before `libp2p.start()`: frees the ports that earlier networks of this process held. */
export async function releaseDirectListeners(): Promise<void> {
  const closing = [...retained].map((close) => close());
  retained.clear();
  await Promise.all(closing);
}
