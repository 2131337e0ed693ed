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

import { wrapMethod } from "./wrapped-method.ts";

export interface DataChannelMaker {
  createDataChannel: (label: string, options?: RTCDataChannelInit) => RTCDataChannel;
}

/** `prototype`: `RTCPeerConnection.prototype`. @returns the undo, see {@link wrapMethod} */
export const installWebrtcInitRace = (prototype: DataChannelMaker): (() => void) =>
  wrapMethod(
    prototype,
    "createDataChannel",
    (original) =>
      function createDataChannel(this: DataChannelMaker, label, options) {
        const channel = original.call(this, label, options);
        if (label === "init") tellLateListeners(channel);
        return channel;
      },
  );

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
