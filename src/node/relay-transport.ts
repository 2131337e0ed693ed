/**
 * The circuit relay transport, without a fault of circuit-relay-v2 4.2.13 and libp2p 3.3.11: a
 * relay that was reached over an inbound WebRTC link gives addresses that name no host
 * (`/webrtc/p2p/…/p2p-circuit`). The listener confirms them to the address manager, and withdraws
 * them when the relay is lost; both throw from within an event, where nobody can catch it: an
 * uncaught error of the page, and a listener that keeps the addresses of a relay long gone.
 *
 * Such an address is of use to nobody, so it is neither confirmed nor withdrawn. The reservation
 * stands, and peers find the way to it by knowing who is whose neighbour.
 *
 * @module
 */

import { type CircuitRelayTransportInit, circuitRelayTransport } from "@libp2p/circuit-relay-v2";
import { isNetworkAddress } from "@libp2p/utils";

type RelayTransport = ReturnType<typeof circuitRelayTransport>;
type AddressManager = Parameters<RelayTransport>[0]["addressManager"];

export function relayTransport(init: CircuitRelayTransportInit): RelayTransport {
  const create = circuitRelayTransport(init);
  return (components) =>
    create(
      new Proxy(components, {
        // libp2p fills its components in while it starts: look when asked, not before.
        get: (target, name) =>
          name === "addressManager"
            ? observingHosts(target.addressManager)
            : Reflect.get(target, name),
      }),
    );
}

/** The same address manager, deaf to addresses that name no host. */
export function observingHosts(manager: AddressManager): AddressManager {
  const observing: Pick<AddressManager, "confirmObservedAddr" | "removeObservedAddr"> = {
    confirmObservedAddr: (address, options) => {
      if (isNetworkAddress(address)) manager.confirmObservedAddr(address, options);
    },
    removeObservedAddr: (address) => {
      if (isNetworkAddress(address)) manager.removeObservedAddr(address);
    },
  };
  return new Proxy(manager, {
    get: (target, name) => {
      if (Object.hasOwn(observing, name)) return Reflect.get(observing, name);
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}
