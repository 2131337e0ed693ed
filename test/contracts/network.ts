/**
 * What every {@link Network} must do, whoever carries the bytes. Run it over each implementation:
 * `networkContract("libp2p over tcp", open)`.
 */
import { afterEach, describe, expect, test } from "vitest";
import type { PeerId } from "../../src/protocol/ids.ts";
import { FRAME_BYTES_MAX, STRIKES_MAX } from "../../src/protocol/limits.ts";
import type { BroadcastVerdict, Network, NetworkHandlers, NetworkPeer } from "../../src/seams.ts";

interface NetworkGroup {
  /** Not started. Once all are, each finds each other. */
  readonly networks: readonly Network[];
  /** Stops the networks and whatever else was started for them. */
  readonly end: () => Promise<void>;
}

export type OpenNetworks = (count: number) => Promise<NetworkGroup>;

/** A started network and what its handlers saw. */
export interface Recorded {
  readonly network: Network;
  readonly events: string[];
  readonly peers: Map<PeerId, NetworkPeer>;
  readonly frames: { readonly from: PeerId; readonly bytes: Uint8Array }[];
  readonly broadcasts: Uint8Array[];
  verdict: BroadcastVerdict;
  /** Awaited by every frame handler. */
  gate: Promise<void>;
  handling: number;
  handlingMax: number;
}

export async function record(network: Network): Promise<Recorded> {
  const recorded: Recorded = {
    network,
    events: [],
    peers: new Map(),
    frames: [],
    broadcasts: [],
    verdict: "accept",
    gate: Promise.resolve(),
    handling: 0,
    handlingMax: 0,
  };
  const handlers: NetworkHandlers = {
    peerUp: (peer) => {
      recorded.events.push(`up ${peer.id}`);
      recorded.peers.set(peer.id, peer);
    },
    peerDown: (peer) => {
      recorded.events.push(`down ${peer}`);
      recorded.peers.delete(peer);
    },
    frame: async (from, bytes) => {
      recorded.handling++;
      recorded.handlingMax = Math.max(recorded.handlingMax, recorded.handling);
      await recorded.gate;
      recorded.frames.push({ from, bytes });
      recorded.handling--;
    },
    isHub: () => true,
    broadcast: (_from, bytes) => {
      recorded.broadcasts.push(bytes);
      return Promise.resolve(recorded.verdict);
    },
  };
  await network.start(handlers);
  return recorded;
}

const WAIT = { timeout: 30_000, interval: 20 };
export async function eventually(check: () => void | Promise<void>): Promise<void> {
  const checked = async (): Promise<boolean> => {
    await check();
    return true;
  };
  await expect.poll(checked, WAIT).toBe(true);
}

function closedGate(): { readonly gate: Promise<void>; readonly release: () => void } {
  let release!: () => void;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  return { gate, release };
}

/** Bytes that tell which frame they are and whether they were damaged. */
function numberedFrame(number: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(number % 251);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

const numberOf = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);

/** Most a receiver that handles nothing may be sent before `send` waits: window, queue, two frames. */
const UNHANDLED_BYTES_MAX = 2.5 * 1024 * 1024;

export function networkContract(name: string, open: OpenNetworks, timeoutMs = 60_000): void {
  describe(`Network contract: ${name}`, { timeout: timeoutMs }, () => {
    let group: NetworkGroup | null = null;
    afterEach(async () => {
      await group?.end();
      group = null;
    });

    async function connected(count: number): Promise<Recorded[]> {
      group = await open(count);
      const all = await Promise.all(group.networks.map(record));
      await eventually(() => {
        for (const { peers } of all) expect(peers.size).toBe(count - 1);
      });
      return all;
    }

    test("both sides learn of a link, and of what kind it is", async () => {
      const [a, b] = (await connected(2)) as [Recorded, Recorded];
      const atA = a.peers.get(b.network.self);
      const atB = b.peers.get(a.network.self);
      expect(atA?.link).toBe(atB?.link);
      expect(["none", "relayed", undefined]).not.toContain(atA?.link);
      expect(a.network.links()).toContainEqual(atA);
      expect(b.network.links()).toContainEqual(atB);
    });

    test("frames of every size arrive whole and in order, one handler at a time", async () => {
      const [a, b] = (await connected(2)) as [Recorded, Recorded];
      const lengths = [4, 5, 127, 128, 16_383, 16_384, 65_536, FRAME_BYTES_MAX];
      const sent = Array.from({ length: 40 }, (_, i) => numberedFrame(i, lengths[i % 8]!));
      const sendAll = async (from: Recorded, to: Recorded): Promise<void> => {
        for (const frame of sent) await from.network.send(to.network.self, frame);
      };
      await Promise.all([sendAll(a, b), sendAll(b, a)]);
      for (const { frames, handlingMax } of [a, b]) {
        await eventually(() => expect(frames.length).toBe(sent.length));
        expect(frames.map(({ bytes }) => numberOf(bytes))).toEqual(sent.map((_, i) => i));
        expect(frames.every(({ bytes }, i) => Buffer.compare(bytes, sent[i]!) === 0)).toBe(true);
        expect(handlingMax).toBe(1);
      }
      expect(b.frames.every(({ from }) => from === a.network.self)).toBe(true);
    });

    test("a receiver that handles nothing stops the sender; none of its frames is lost", async () => {
      const [a, b] = (await connected(2)) as [Recorded, Recorded];
      const { gate, release } = closedGate();
      b.gate = gate;
      let sentBytes = 0;
      const sending = (async () => {
        for (let i = 0; i < 160; i++) {
          await a.network.send(b.network.self, numberedFrame(i, 65_536));
          sentBytes += 65_536;
        }
      })();
      let before = -1;
      await expect
        .poll(
          () => {
            const isStill = before === sentBytes && sentBytes > 0;
            before = sentBytes;
            return isStill;
          },
          { timeout: 20_000, interval: 700 },
        )
        .toBe(true);
      expect(sentBytes).toBeLessThanOrEqual(UNHANDLED_BYTES_MAX);
      expect(b.frames.length).toBe(0);
      release();
      await sending;
      await eventually(() => expect(b.frames.length).toBe(160));
      expect(b.frames.map(({ bytes }) => numberOf(bytes))).toEqual(b.frames.map((_, i) => i));
      expect(a.events.filter((event) => event.startsWith("down"))).toEqual([]);
    });

    test("a broadcast reaches everyone", async () => {
      const [a, b, c] = (await connected(3)) as [Recorded, Recorded, Recorded];
      let round = 0;
      // Best effort: a peer that just came may not listen yet.
      await eventually(async () => {
        expect(await a.network.broadcast(Uint8Array.of(7, round++))).toBeGreaterThanOrEqual(2);
      });
      for (const { broadcasts } of [b, c]) {
        await eventually(() => {
          expect(broadcasts.some((bytes) => bytes[0] === 7 && bytes[1] === round - 1)).toBe(true);
        });
      }
      expect(a.broadcasts).toEqual([]);
    });

    test("a peer that stops is reported down, and sending to it is harmless", async () => {
      const [a, b] = (await connected(2)) as [Recorded, Recorded];
      await b.network.stop();
      await b.network.stop();
      await eventually(() => expect(a.peers.size).toBe(0));
      expect(a.events.at(-1)).toBe(`down ${b.network.self}`);
      const direct = a.network.links().filter(({ link }) => link !== "relayed");
      expect(direct.map(({ id }) => id)).not.toContain(b.network.self);
      await a.network.send(b.network.self, Uint8Array.of(1));
    });

    test("starting twice is starting once", async () => {
      const [a, b] = (await connected(2)) as [Recorded, Recorded];
      await a.network.start({
        peerUp: () => expect.unreachable(),
        peerDown: () => expect.unreachable(),
        frame: () => Promise.reject(new Error("unreachable")),
        broadcast: () => Promise.resolve("reject"),
      });
      await b.network.send(a.network.self, Uint8Array.of(1, 2, 3));
      await eventually(() => expect(a.frames.length).toBe(1));
    });

    test("a peer penalised again and again is dropped and stays away", async () => {
      const [a, b] = (await connected(2)) as [Recorded, Recorded];
      for (let i = 1; i < STRIKES_MAX; i++) a.network.penalise(b.network.self, "ERR_NOT_CANONICAL");
      await b.network.send(a.network.self, Uint8Array.of(1));
      await eventually(() => expect(a.frames.length).toBe(1));
      a.network.penalise(b.network.self, "ERR_NOT_CANONICAL");
      await eventually(() => expect(a.peers.size + b.peers.size).toBe(0));
      const { length } = a.events;
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      expect(a.events.length).toBe(length);
      expect(a.events.at(-1)).toBe(`down ${b.network.self}`);
    });
  });
}
