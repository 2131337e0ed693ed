/**
 * Works around a race in @libp2p/webrtc 6.0.33 (`initiateConnection`): the remote closes the
 * 'init' data channel as soon as its muxer is up, and the initiator may begin to wait for 'open'
 * or 'close' only after that. The dial then hangs until its timeout with the connection up: 13 to
 * 73 % of dials, more on a busy main thread.
 *
 * The library gives no way to reach that channel, so `createDataChannel` is wrapped for as long as
 * a network runs. Only channels labelled 'init' are touched: a listener that comes late is told
 * what it missed.
 *
 * @module
 */

export interface DataChannelMaker {
  createDataChannel: (label: string, options?: RTCDataChannelInit) => RTCDataChannel;
}

interface Installation {
  readonly original: DataChannelMaker["createDataChannel"];
  users: number;
}

const installations = new WeakMap<DataChannelMaker, Installation>();

/**
 * `prototype`: `RTCPeerConnection.prototype`. @returns the undo; the original is back when every
 * caller has undone. Idempotent.
 */
export function installWebrtcInitRace(prototype: DataChannelMaker): () => void {
  const installation = installations.get(prototype) ?? install(prototype);
  installation.users++;
  let isInstalled = true;
  return () => {
    if (!isInstalled) return;
    isInstalled = false;
    installation.users--;
    if (installation.users > 0) return;
    prototype.createDataChannel = installation.original;
    installations.delete(prototype);
  };
}

function install(prototype: DataChannelMaker): Installation {
  const original = prototype.createDataChannel;
  prototype.createDataChannel = function createDataChannel(
    this: DataChannelMaker,
    label: string,
    options?: RTCDataChannelInit,
  ): RTCDataChannel {
    const channel = original.call(this, label, options);
    if (label === "init") tellLateListeners(channel);
    return channel;
  };
  const installation = { original, users: 0 };
  installations.set(prototype, installation);
  return installation;
}

function tellLateListeners(channel: RTCDataChannel): void {
  const listen = channel.addEventListener.bind(channel);
  let wasOpen = false;
  const tell = (type: "open" | "close"): void => {
    setTimeout(() => channel.dispatchEvent(new Event(type)), 0);
  };
  listen("open", () => {
    wasOpen = true;
  });
  listen("close", () => {
    // Waiting for 'open' on a channel that went from 'connecting' straight to 'closed'.
    if (!wasOpen) tell("open");
  });
  const listenAndCatchUp = (
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void => {
    listen(type, listener, options);
    const state = channel.readyState;
    if (type === "open" && (state === "closing" || state === "closed")) tell("open");
    if (type === "close" && state === "closed") tell("close");
  };
  channel.addEventListener = listenAndCatchUp;
}
