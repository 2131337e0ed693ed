/**
 * A hub in a process of its own, driven by the test over IPC: it can be killed, and libdatachannel
 * survives only one `webrtc-direct` listener per process.
 */
// oxlint-disable-next-line import/no-unassigned-import -- patches globals
import "../../src/cli/node20-polyfills.ts";
import { createLibp2pNetwork, type Libp2pNetworkOptions } from "../../src/node/libp2p-network.ts";
import type { Network, NetworkPeer } from "../../src/seams.ts";
import { networkOptions } from "./libp2p-nodes.ts";

export type HubCall =
  | { readonly id: number; readonly type: "start" }
  | { readonly id: number; readonly type: "stop" }
  | { readonly id: number; readonly type: "addresses" }
  | { readonly id: number; readonly type: "send"; readonly args: Parameters<Network["send"]> }
  | { readonly id: number; readonly type: "broadcast"; readonly args: [Uint8Array] }
  | {
      readonly id: number;
      readonly type: "penalise";
      readonly args: Parameters<Network["penalise"]>;
    }
  | { readonly id: number; readonly type: "answer"; readonly value: unknown };

export type HubEvent =
  | { readonly type: "ready"; readonly self: string }
  | { readonly type: "result"; readonly id: number; readonly value: unknown }
  | { readonly type: "up"; readonly peer: NetworkPeer; readonly links: readonly NetworkPeer[] }
  | { readonly type: "down"; readonly peer: string; readonly links: readonly NetworkPeer[] }
  | {
      readonly type: "frame";
      readonly id: number;
      readonly from: string;
      readonly bytes: Uint8Array;
    }
  | {
      readonly type: "broadcast";
      readonly id: number;
      readonly from: string;
      readonly bytes: Uint8Array;
    };

const tell = (event: HubEvent): void => void process.send?.(event);

const answers = new Map<number, (value: unknown) => void>();
let asked = 0;
const ask = (event: (id: number) => HubEvent): Promise<unknown> =>
  new Promise((resolve) => {
    const id = asked++;
    answers.set(id, resolve);
    tell(event(id));
  });

async function main(changes: Partial<Libp2pNetworkOptions>): Promise<void> {
  const network = await createLibp2pNetwork(networkOptions({ role: "hub", ...changes }));

  async function carryOut(call: HubCall): Promise<unknown> {
    switch (call.type) {
      case "start":
        return network.start({
          peerUp: (peer) => tell({ type: "up", peer, links: network.links() }),
          peerDown: (peer) => tell({ type: "down", peer, links: network.links() }),
          frame: async (from, bytes) => {
            await ask((id) => ({ type: "frame", id, from, bytes }));
          },
          broadcast: async (from, bytes) =>
            (await ask((id) => ({ type: "broadcast", id, from, bytes }))) as "accept",
        });
      case "stop":
        return network.stop();
      case "addresses":
        return network.addresses();
      case "send":
        return network.send(...call.args);
      case "broadcast":
        return network.broadcast(...call.args);
      case "penalise":
        return network.penalise(...call.args);
      case "answer":
        answers.get(call.id)?.(call.value);
        answers.delete(call.id);
        return undefined;
    }
  }

  process.on("message", (call: HubCall) => {
    void carryOut(call).then((value) => {
      if (call.type !== "answer") tell({ type: "result", id: call.id, value });
      return undefined;
    });
  });
  process.on("disconnect", () => process.exit());
  tell({ type: "ready", self: network.self });
}

void main(
  JSON.parse(process.argv[2] ?? "{}", (key, value: unknown) =>
    key === "secretKey" ? Uint8Array.from(Buffer.from(value as string, "base64")) : value,
  ) as Partial<Libp2pNetworkOptions>,
);
