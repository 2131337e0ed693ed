/**
 * What happens on LANs, as data. Each scenario ends with everything mended, so that several can run
 * on one LAN; its measures are held against its bounds, both in milliseconds unless named otherwise.
 */
import { strict as assert } from "node:assert";
import { directPeers, describe, type Lab, pause, until } from "./lab.ts";
import type { LabBrowser } from "./hosts.ts";

export type Measures = Readonly<Record<string, number | string>>;

export interface Scenario {
  readonly name: string;
  /** Open and in step when it begins. */
  readonly browsers: number;
  /** The largest value a measure may have. */
  readonly bounds: Readonly<Record<string, number>>;
  readonly run: (lab: Lab) => Promise<Measures>;
}

/** A browser opens the hub's URL, and is in step with the others. */
const join: Scenario = {
  name: "join",
  browsers: 1,
  bounds: { joinMs: 15_000, arrivalMs: 2_000 },
  run: async (lab) => {
    await lab.write(20);
    const browser = await lab.addBrowser();
    const startMs = performance.now();
    await browser.open(lab.hub.url());
    await lab.synced();
    const joinMs = since(startMs);
    await lab.linked();
    const linkedMs = since(startMs);
    await lab.write(1, [browser]);
    const arrivalMs = await lab.synced();
    await lab.agreed();
    return { joinMs, linkedMs, arrivalMs };
  },
};

/** Nothing outside the LAN is ever contacted. */
const noInternet: Scenario = {
  name: "no-internet",
  browsers: 2,
  bounds: { outsidePackets: 0 },
  run: async (lab) => {
    const [first] = lab.browsers;
    await first!.open(lab.hub.url());
    await lab.linked();
    await lab.write(5);
    await lab.synced();
    await lab.hub.kill();
    await pause(5_000);
    await lab.hub.start();
    await lab.linked();
    const { packets, destinations } = lab.lan.outside();
    return { outsidePackets: packets, destinations: destinations.join(" ") };
  },
};

/**
 * Two browsers that have never met, a third that knows both, and a hub that dies: they go on, the
 * two meet through the third, and when the hub is back everyone finds it.
 */
const hubKilled: Scenario = {
  name: "hub-killed",
  browsers: 2,
  bounds: { arrivalMs: 2_000, newPairMs: 20_000, backMs: 15_000 },
  run: async (lab) => {
    const [one, relay] = lab.browsers;
    const stranger = await lab.addBrowser();
    one!.host.block(stranger.host);
    await stranger.open(lab.hub.url());
    await lab.linked([relay!, stranger]);
    const hubId = lab.hub.peerId();
    assert.ok(!(await directPeers(one!)).has(stranger.peerId()), "strangers have no link");

    await lab.hub.kill();
    await lab.write(3);
    const arrivalMs = await lab.synced();
    await noLonger(lab.browsers, hubId);

    one!.host.unblock(stranger.host);
    const newPairMs = await until(
      "the two meet through the third",
      async () => (await directPeers(one!)).has(stranger.peerId()),
      () => describe(lab.browsers),
    );
    await lab.write(3);
    await lab.synced();

    await lab.hub.start();
    assert.equal(lab.hub.peerId(), hubId, "the hub is the same");
    const backMs = await lab.linked();
    await lab.write(1);
    await lab.synced();
    await lab.agreed();
    return { arrivalMs, newPairMs, backMs };
  },
};

function linkDown(name: string, downMs: number, how: "noticed" | "silent"): Scenario {
  return {
    name,
    browsers: 3,
    bounds: { noticedMs: 10_000, resyncMs: 5_000 },
    run: async (lab) => {
      const [lonely, ...others] = lab.browsers;
      const startMs = performance.now();
      lonely!.host.cut(how);
      const peers = [lab.hub.peerId(), ...others.map(({ peerId }) => peerId())];
      await Promise.all([
        ...peers.map((peer) => noLonger([lonely!], peer)),
        noLonger(others, lonely!.peerId()),
      ]);
      const noticedMs = since(startMs);
      const { notices, converged } = await lonely!.status();
      assert.ok(!converged, "a browser without links does not claim to be in step");
      assert.ok(notices.includes("Looking for other devices."), notices.join(" "));
      await lab.write(5);
      await pause(downMs - since(startMs));
      lonely!.host.mend();
      const resyncMs = await lab.synced();
      const linkedMs = resyncMs + (await lab.linked());
      await lab.agreed();
      return { noticedMs, resyncMs, linkedMs };
    },
  };
}

/** The LAN falls into two, one with the hub; both write; then it is one again. */
const split: Scenario = {
  name: "split",
  browsers: 3,
  bounds: { healMs: 15_000 },
  run: async (lab) => {
    const [first, ...rest] = lab.browsers;
    const half = rest.length > 2 ? lab.browsers.slice(0, Math.ceil(lab.browsers.length / 2)) : rest;
    const withHub = lab.browsers.filter((browser) => !half.includes(browser));
    for (const { host } of half) host.plugInto(1);
    await noLonger(half, lab.hub.peerId());
    await noLonger(withHub, half[0]!.peerId());
    assert.ok(withHub.includes(first!));
    await lab.write(10);
    await pause(5_000);
    const hashes = await Promise.all([half[0]!, first!].map(({ stateHash }) => stateHash()));
    assert.notEqual(hashes[0], hashes[1], "the halves hold different rows");
    for (const { host } of half) host.plugInto(0);
    const healMs = await lab.synced();
    const linkedMs = healMs + (await lab.linked());
    await lab.agreed();
    return { healMs, linkedMs };
  },
};

/** Until none of them has a direct link to the peer. */
async function noLonger(browsers: readonly LabBrowser[], peer: string): Promise<void> {
  await until(
    "status() says that the link is gone",
    async () => {
      const peersOf = await Promise.all(browsers.map(directPeers));
      return peersOf.every((peers) => !peers.has(peer));
    },
    () => describe(browsers),
  );
}

const since = (startMs: number): number => Math.round(performance.now() - startMs);

export const SCENARIOS: readonly Scenario[] = [
  join,
  noInternet,
  hubKilled,
  linkDown("link-down-20s", 20_000, "silent"),
  linkDown("link-down-20s-noticed", 20_000, "noticed"),
  split,
  linkDown("link-down-5min", 300_000, "silent"),
];
