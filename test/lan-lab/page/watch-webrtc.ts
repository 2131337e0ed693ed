/**
 * Loaded before the package: keeps hold of every WebRTC connection and of every data channel that
 * carries gossip, so that the lab sees what really exists, and can end one.
 */
const GOSSIP = "/meshsub/";

interface Watched {
  readonly createdMs: number;
  wasConnected: boolean;
  endedMs: number | null;
}

const connections: Watched[] = [];
const gossipChannels = new Set<RTCDataChannel>();
const Native = globalThis.RTCPeerConnection;

globalThis.RTCPeerConnection = class extends Native {
  constructor(configuration?: RTCConfiguration) {
    super(configuration);
    const watched: Watched = { createdMs: performance.now(), wasConnected: false, endedMs: null };
    connections.push(watched);
    this.addEventListener("connectionstatechange", () => {
      if (this.connectionState === "connected") watched.wasConnected = true;
    });
    const close = this.close.bind(this);
    this.close = () => {
      watched.endedMs ??= performance.now();
      close();
    };
  }
};

/** multistream-select names the protocol in a stream's first bytes, whoever opened it. */
// oxlint-disable-next-line typescript/unbound-method -- called with the channel below
const { send } = RTCDataChannel.prototype;
RTCDataChannel.prototype.send = function (
  this: RTCDataChannel,
  bytes: string | Blob | ArrayBuffer | ArrayBufferView<ArrayBuffer>,
) {
  const text = bytes instanceof Uint8Array ? String.fromCharCode(...bytes.subarray(0, 64)) : "";
  if (text.includes(GOSSIP)) {
    gossipChannels.add(this);
    this.addEventListener("close", () => gossipChannels.delete(this));
  }
  return send.call(this, bytes as ArrayBufferView<ArrayBuffer>);
};

export const webrtc = {
  /** How long each connection took that never came to be, in milliseconds. */
  failedAfterMs: (): readonly number[] =>
    connections.flatMap(({ createdMs, wasConnected, endedMs }) =>
      wasConnected || endedMs === null ? [] : [Math.round(endedMs - createdMs)],
    ),
  openGossipChannels: (): number =>
    [...gossipChannels].filter(({ readyState }) => readyState === "open").length,
  killGossip: (): number => {
    const open = [...gossipChannels].filter(({ readyState }) => readyState === "open");
    for (const channel of open) channel.close();
    return open.length;
  },
};
