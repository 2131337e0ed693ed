/** Devices around a hub, each with a connection keeper; time, dials and connections are simulated. */
import {
  type ConnectionKeeper,
  createConnectionKeeper,
  DEGREE_MAX,
  type KeeperEvent,
} from "../../src/node/connection-keeper.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";

interface Link {
  readonly id: string;
  readonly ends: readonly [string, string];
  readonly path: "direct" | "relayed";
}

export interface Room {
  readonly run: (durationMs: number) => void;
  readonly killHub: () => void;
  /** Cuts all links of a device but its oldest. */
  readonly isolate: (device: number) => void;
  /** Direct links to devices, by device. */
  readonly degrees: () => readonly number[];
  /** Of the devices, over direct links between devices. */
  readonly components: () => number;
  readonly counts: () => { readonly dials: number; readonly relayed: number };
  readonly dialsInFlightMax: () => number;
}

const HUB = "hub";
const DIAL_MS = 150;
const NEIGHBOURS_EVERY_MS = 3_000;

export function simulateRoom(options: { readonly devices: number; readonly seed: number }): Room {
  const random = createSeededRandom(options.seed);
  const devices = Array.from({ length: options.devices }, () => `${random.below(2 ** 32)}`);
  const keepers = new Map<string, ConnectionKeeper>();
  const links = new Map<string, Link>();
  const inFlight = new Map<string, number>();
  const agenda: { atMs: number; act: () => void }[] = [];
  const wakes = new Map<string, object>();
  let nowMs = 0;
  let order = 0;
  let dials = 0;
  let inFlightMax = 0;
  let isHubAlive = true;

  /** Keeps the agenda in order of time, then of planning. */
  const at = (delayMs: number, act: () => void): void => {
    const atMs = nowMs + delayMs;
    const later = agenda.findLastIndex((entry) => entry.atMs <= atMs) + 1;
    agenda.splice(later, 0, { atMs, act });
  };
  const linksOf = (device: string): Link[] =>
    [...links.values()].filter(({ ends }) => ends.includes(device));
  const neighbours = (of: string): string[] =>
    linksOf(of).flatMap(({ ends, path }) =>
      path === "direct" ? ends.filter((end) => end !== of) : [],
    );
  const linked = (a: string, b: string): boolean => neighbours(a).includes(b);

  function tell(device: string, event: KeeperEvent): void {
    for (const effect of keepers.get(device)?.handle(event, nowMs) ?? []) {
      switch (effect.type) {
        case "wake":
          wake(device, effect.delayMs);
          break;
        case "close":
          at(1, () => close(effect.connection));
          break;
        case "dial":
          startDial(device, effect.peer, effect.addresses);
      }
    }
  }

  function wake(device: string, delayMs: number): void {
    const token = {};
    wakes.set(device, token);
    at(delayMs, () => {
      if (wakes.get(device) === token) tell(device, { type: "woken" });
    });
  }

  function startDial(device: string, peer: string, addresses: readonly string[]): void {
    dials++;
    inFlight.set(device, (inFlight.get(device) ?? 0) + 1);
    inFlightMax = Math.max(inFlightMax, inFlight.get(device)!);
    at(DIAL_MS + random.below(DIAL_MS), () => {
      inFlight.set(device, inFlight.get(device)! - 1);
      const outcome = addresses.some((address) => reach(device, peer, address));
      tell(device, { type: "dialled", peer, outcome: outcome ? "opened" : "failed" });
    });
  }

  function reach(from: string, to: string, address: string): boolean {
    const relay = /^\/p2p\/(.*)\/p2p-circuit\/webrtc/.exec(address)?.[1];
    if (relay === undefined) return to === HUB && isHubAlive && open(from, to, "direct", null);
    if (!linked(from, relay) || !linked(relay, to)) return false;
    open(from, to, "relayed", relay);
    return open(from, to, "direct", null);
  }

  function open(from: string, to: string, path: Link["path"], relay: string | null): true {
    const id = `${order++}`;
    links.set(id, { id, ends: [from, to], path });
    const both = { id, path, relay };
    tell(from, { type: "opened", connection: { ...both, peer: to, openedBy: "us" } });
    tell(to, { type: "opened", connection: { ...both, peer: from, openedBy: "them" } });
    if (path === "direct") {
      tell(from, { type: "carrying", peer: to, connection: id });
      tell(to, { type: "carrying", peer: from, connection: id });
    }
    return true;
  }

  function close(id: string): void {
    const link = links.get(id);
    links.delete(id);
    for (const end of link?.ends ?? []) tell(end, { type: "closed", connection: id });
  }

  function gossipNeighbours(): void {
    for (const device of devices) {
      for (const via of neighbours(device)) {
        const peers = neighbours(via).filter((peer) => peer !== device);
        tell(device, { type: "suggested", via, peers });
      }
    }
    at(NEIGHBOURS_EVERY_MS, gossipNeighbours);
  }

  for (const self of devices) {
    const hubs = [{ peer: HUB, addresses: ["/hub"] }];
    const role = "device";
    const keeper = createConnectionKeeper({
      self,
      role,
      hubs,
      signalling: "relays",
      degreeMax: DEGREE_MAX,
      random,
    });
    keepers.set(self, keeper);
    at(random.below(5_000), () => tell(self, { type: "woken" }));
  }
  at(NEIGHBOURS_EVERY_MS, gossipNeighbours);

  const degrees = (): number[] =>
    devices.map((device) => new Set(neighbours(device).filter((peer) => peer !== HUB)).size);

  return {
    run: (durationMs) => {
      const endMs = nowMs + durationMs;
      for (;;) {
        if (agenda[0] === undefined || agenda[0].atMs > endMs) break;
        const { atMs, act } = agenda.shift()!;
        nowMs = atMs;
        act();
      }
      nowMs = endMs;
    },
    killHub: () => {
      isHubAlive = false;
      for (const { id, ends } of links.values()) if (ends.includes(HUB)) close(id);
    },
    isolate: (index) => {
      const [, ...others] = linksOf(devices[index]!);
      for (const { id } of others) close(id);
    },
    degrees,
    components: () => {
      const unseen = new Set(devices);
      let count = 0;
      for (const start of devices) {
        if (unseen.has(start)) count++;
        const queue = unseen.delete(start) ? [start] : [];
        for (const device of queue) {
          for (const peer of neighbours(device)) if (unseen.delete(peer)) queue.push(peer);
        }
      }
      return count;
    },
    counts: () => ({
      dials,
      relayed: [...links.values()].filter(({ path }) => path === "relayed").length,
    }),
    dialsInFlightMax: () => inFlightMax,
  };
}
