/** Starts hubs as processes (`hub-main.ts`); each looks like a Network to the test. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { build } from "vite";
import type { Libp2pNetworkOptions } from "../../src/node/libp2p-network.ts";
import type { Network, NetworkHandlers, NetworkPeer } from "../../src/seams.ts";
import type { HubCall, HubEvent } from "./hub-main.ts";
import { type ListenOn, listeningOptions } from "./libp2p-nodes.ts";

export interface HubProcess {
  readonly network: Network;
  readonly address: string;
  readonly options: Partial<Libp2pNetworkOptions>;
  /** What the hub says of itself; after `start`. */
  readonly addresses: () => Promise<readonly string[]>;
  /** SIGSTOP: silent, but not closed. */
  readonly signal: (name: "SIGSTOP" | "SIGCONT") => void;
  readonly kill: (signal: "SIGKILL" | "SIGTERM") => Promise<void>;
}

export interface HubProcesses {
  readonly open: (on: ListenOn, changes?: Partial<Libp2pNetworkOptions>) => Promise<HubProcess>;
  readonly close: () => Promise<void>;
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Bundles the hub's program (Node 20 runs no TypeScript). `close` kills what still runs. */
export async function prepareHubs(): Promise<HubProcesses> {
  const root = join(import.meta.dirname, "../..");
  // Inside the project, so that the bundle finds the packages.
  const cache = join(root, "node_modules/.cache");
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, "rowmesh-hub-"));
  await build({
    root,
    logLevel: "error",
    configFile: false,
    build: {
      ssr: "test/interop/hub-main.ts",
      outDir: folder,
      emptyOutDir: true,
      // The package says it has no side effects; its polyfills are one.
      rollupOptions: { treeshake: false, output: { entryFileNames: "hub.mjs" } },
    },
  });
  const running = new Set<HubProcess>();
  return {
    open: async (on, changes = {}) => {
      const hub = await startHub(join(folder, "hub.mjs"), on, changes);
      running.add(hub);
      return hub;
    },
    close: async () => {
      await Promise.all([...running].map((hub) => hub.kill("SIGKILL")));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function startHub(
  program: string,
  on: ListenOn,
  changes: Partial<Libp2pNetworkOptions>,
): Promise<HubProcess> {
  const { options, address } = await listeningOptions(on, changes);
  const { secretKey, certificate, listen, hubs, gossip, role } = options;
  const given = { certificate, listen, hubs, gossip, role };
  const key = Buffer.from(secretKey).toString("base64");
  const child = fork(program, [JSON.stringify({ ...given, secretKey: key })], {
    serialization: "advanced",
  });
  const results = new Map<number, Pending>();
  let calls = 0;
  let handlers: NetworkHandlers | null = null;
  let links: readonly NetworkPeer[] = [];

  const post = (message: HubCall): void => {
    if (child.connected) child.send(message);
  };
  function call(make: (id: number) => HubCall): Promise<unknown> {
    if (!child.connected) return Promise.reject(new Error("the hub is gone"));
    const id = calls++;
    return new Promise((resolve, reject) => {
      results.set(id, { resolve, reject });
      post(make(id));
    });
  }

  async function onEvent(event: HubEvent): Promise<void> {
    switch (event.type) {
      case "ready":
        return;
      case "result":
        results.get(event.id)?.resolve(event.value);
        results.delete(event.id);
        return;
      case "up":
        ({ links } = event);
        handlers?.peerUp(event.peer);
        return;
      case "down":
        ({ links } = event);
        handlers?.peerDown(event.peer);
        return;
      case "frame":
        await handlers?.frame(event.from, Uint8Array.from(event.bytes));
        post({ id: event.id, type: "answer", value: null });
        return;
      case "broadcast": {
        const value = await handlers?.broadcast(event.from, Uint8Array.from(event.bytes));
        post({ id: event.id, type: "answer", value });
      }
    }
  }

  const [ready] = (await once(child, "message")) as [HubEvent & { type: "ready" }];
  child.on("message", (event: HubEvent) => void onEvent(event));
  child.on("exit", () => {
    for (const { reject } of results.values()) reject(new Error("the hub is gone"));
    results.clear();
  });
  const network: Network = {
    self: ready.self,
    start: async (given_) => {
      handlers ??= given_;
      await call((id) => ({ id, type: "start" }));
    },
    send: async (...args) => void (await call((id) => ({ id, type: "send", args }))),
    broadcast: async (bytes) =>
      (await call((id) => ({ id, type: "broadcast", args: [bytes] }))) as number,
    penalise: (...args) => post({ id: calls++, type: "penalise", args }),
    suggestPeers: () => undefined,
    links: () => links,
    stop: async () => {
      await call((id) => ({ id, type: "stop" }));
      links = [];
    },
  };
  return {
    network,
    address,
    options,
    addresses: async () => (await call((id) => ({ id, type: "addresses" }))) as string[],
    signal: (name) => {
      child.kill(name);
    },
    kill: async (signal) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill(signal);
      await exited;
    },
  };
}
