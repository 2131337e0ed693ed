/**
 * Gives a WebRTC connection that people made by hand to libp2p: one data channel carries Noise and
 * yamux, as a TCP socket would, and from then on the connection is one like any other.
 *
 * A libp2p service, since services are handed the upgrader.
 *
 * @module
 */

import type { AbortOptions, ComponentLogger, Upgrader } from "@libp2p/interface";
import {
  AbstractMultiaddrConnection,
  type AbstractMultiaddrConnectionInit,
  type SendResult,
} from "@libp2p/utils";
import { multiaddr } from "@multiformats/multiaddr";
import type { PeerId } from "../protocol/ids.ts";

export interface PairedConnection {
  readonly connection: RTCPeerConnection;
  /** Open, and of nobody else. */
  readonly data: RTCDataChannel;
  /** Noise must prove it. */
  readonly peer: PeerId;
  /** One end opens, once the other one listens. */
  readonly openedBy: "us" | "them";
}

/**
 * Listens before it returns. Resolves when libp2p has the connection; rejects, with the connection
 * closed, when the other end is not that peer or is not welcome.
 */
export type AdoptConnection = (paired: PairedConnection, signal: AbortSignal) => Promise<void>;

/** What Chromium buffers for us at most, as for the channels of `@libp2p/webrtc`. */
const BUFFERED_BYTES_MAX = 2 * 1024 * 1024;
const BUFFERED_BYTES_LOW = 256 * 1024;
/** Browsers take four times as much in one message. */
const MESSAGE_BYTES_MAX = 64 * 1024;

interface Components {
  readonly upgrader: Upgrader;
  readonly logger: ComponentLogger;
}

export const pairedConnections =
  () =>
  ({ upgrader, logger }: Components): { readonly adopt: AdoptConnection } => ({
    adopt: async ({ connection, data, peer, openedBy }, signal) => {
      const stream = new ChannelConnection(connection, data, {
        remoteAddr: multiaddr(`/webrtc/p2p/${peer}`),
        direction: openedBy === "us" ? "outbound" : "inbound",
        log: logger.forComponent("rowmesh:paired"),
        maxMessageSize: MESSAGE_BYTES_MAX,
      });
      try {
        if (openedBy === "us") await upgrader.upgradeOutbound(stream, { signal });
        else await upgrader.upgradeInbound(stream, { signal });
      } catch (error) {
        stream.abort(error instanceof Error ? error : new Error(String(error)));
        throw error;
      }
    },
  });

/** A data channel as libp2p wants a socket. */
class ChannelConnection extends AbstractMultiaddrConnection {
  readonly #connection: RTCPeerConnection;
  readonly #data: RTCDataChannel;

  constructor(
    connection: RTCPeerConnection,
    data: RTCDataChannel,
    init: AbstractMultiaddrConnectionInit,
  ) {
    super(init);
    this.#connection = connection;
    this.#data = data;
    data.bufferedAmountLowThreshold = BUFFERED_BYTES_LOW;
    data.addEventListener("bufferedamountlow", () => {
      if (this.writableNeedsDrain) this.safeDispatchEvent("drain");
    });
    data.addEventListener("message", ({ data: message }) => {
      if (message instanceof ArrayBuffer) this.onData(new Uint8Array(message));
      else this.abort(new Error("not bytes"));
    });
    data.addEventListener("close", () => this.#end());
    connection.addEventListener("connectionstatechange", () => {
      const { connectionState } = connection;
      if (connectionState === "failed" || connectionState === "closed") this.#end();
    });
  }

  #end(): void {
    this.onTransportClosed();
    this.#connection.close();
  }

  override sendData(bytes: Parameters<AbstractMultiaddrConnection["sendData"]>[0]): SendResult {
    if (this.#data.readyState !== "open") return { sentBytes: 0, canSendMore: false };
    // As one message: Firefox may deliver small ones out of order (bug 1983831).
    this.#data.send(bytes.slice());
    return {
      sentBytes: bytes.byteLength,
      canSendMore: this.#data.bufferedAmount < BUFFERED_BYTES_MAX,
    };
  }

  override async sendClose(_options?: AbortOptions): Promise<void> {
    this.#connection.close();
  }

  override sendReset(): void {
    this.#connection.close();
  }

  /** Credits of the frame streams and yamux's windows hold the sender back. */
  override sendPause(): void {}

  override sendResume(): void {}
}
