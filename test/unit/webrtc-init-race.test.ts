/** The workaround, against channels whose state changes at the worst moment. */
import { expect, test } from "vitest";
import { type DataChannelMaker, installWebrtcInitRace } from "../../src/node/webrtc-init-race.ts";

class Channel extends EventTarget {
  readyState: RTCDataChannelState = "connecting";
  become(state: RTCDataChannelState): void {
    this.readyState = state;
    if (state === "open" || state === "closed") {
      this.dispatchEvent(new Event(state === "open" ? "open" : "close"));
    }
  }
}

const makerOfChannels = (): DataChannelMaker => ({
  createDataChannel: () => new Channel() as unknown as RTCDataChannel,
});

function makeInit(maker: DataChannelMaker, label = "init"): Channel {
  return maker.createDataChannel(label) as unknown as Channel;
}

/** What libp2p does after the answer: wait for 'open' unless open, close, wait for 'close'. */
async function initiate(channel: Channel): Promise<string> {
  const heard = (type: string): Promise<unknown> =>
    new Promise((resolve) => channel.addEventListener(type, resolve, { once: true }));
  const connected = async (): Promise<string> => {
    if (channel.readyState !== "open") await heard("open");
    if (channel.readyState === "open") queueMicrotask(() => channel.become("closed"));
    await heard("close");
    return "connected";
  };
  const hung = new Promise<string>((resolve) => setTimeout(() => resolve("hung"), 100));
  return Promise.race([connected(), hung]);
}

const races: readonly [string, (channel: Channel) => void][] = [
  ["opens in time", (channel) => queueMicrotask(() => channel.become("open"))],
  [
    "was closed before anyone waited",
    (channel) => {
      channel.become("open");
      channel.become("closed");
    },
  ],
  [
    "is closing when the wait begins",
    (channel) => {
      channel.become("open");
      channel.become("closing");
      setTimeout(() => channel.become("closed"), 5);
    },
  ],
  ["is closed without ever opening", (channel) => setTimeout(() => channel.become("closed"), 5)],
];

test.each(races)("a dial whose init channel %s does not hang", async (_name, race) => {
  const maker = makerOfChannels();
  const uninstall = installWebrtcInitRace(maker);
  const channel = makeInit(maker);
  race(channel);
  expect(await initiate(channel)).toBe("connected");
  uninstall();
});

test("without it three of the four hang", async () => {
  const outcomes = await Promise.all(
    races.map(([, race]) => {
      const channel = makeInit(makerOfChannels());
      race(channel);
      return initiate(channel);
    }),
  );
  expect(outcomes).toEqual(["connected", "hung", "hung", "hung"]);
});

test("it touches init channels only, and goes away with its last user", () => {
  const maker = makerOfChannels();
  const original = maker.createDataChannel;
  const first = installWebrtcInitRace(maker);
  const second = installWebrtcInitRace(maker);
  expect(Object.hasOwn(makeInit(maker), "addEventListener")).toBe(true);
  expect(Object.hasOwn(makeInit(maker, "data"), "addEventListener")).toBe(false);
  first();
  first();
  expect(maker.createDataChannel).not.toBe(original);
  second();
  expect(maker.createDataChannel).toBe(original);
});
