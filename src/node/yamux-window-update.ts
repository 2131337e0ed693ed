/**
 * Works around a throw in @libp2p/yamux 8.0.3: a new outbound stream says hello in a microtask, by a
 * window update. When the connection below closed in the same moment that throws where nobody can
 * catch it, and ends a Node process. Anyone who connects and leaves at the right time could do it.
 *
 * A window update for a closed connection is of no use to anyone: it is dropped. The muxer learns of
 * the end by the connection's own 'close' event, and its streams with it.
 *
 * @module
 */

import { yamux } from "@libp2p/yamux";

/** Private parts of yamux 8.0: every frame of every stream goes through the muxer's `sendFrame`. */
interface FrameSender {
  sendFrame: (header: { readonly type: number }, data?: unknown) => boolean;
}

const WINDOW_UPDATE = 1;

/** As `yamux()`. */
export const yamuxThatEndsQuietly = (): ReturnType<typeof yamux> => {
  const create = yamux();
  return () => {
    const factory = create();
    const createStreamMuxer = factory.createStreamMuxer.bind(factory);
    factory.createStreamMuxer = (connection) => {
      const muxer = createStreamMuxer(connection);
      dropLateWindowUpdates(muxer as unknown as FrameSender);
      return muxer;
    };
    return factory;
  };
};

function dropLateWindowUpdates(muxer: FrameSender): void {
  const sendFrame = muxer.sendFrame.bind(muxer);
  muxer.sendFrame = (header, data) => {
    try {
      return sendFrame(header, data);
    } catch (error) {
      const isLate = error instanceof Error && error.name === "StreamStateError";
      if (header.type !== WINDOW_UPDATE || !isLate) throw error;
      return false;
    }
  };
}
