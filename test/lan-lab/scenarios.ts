/**
 * What happens on LANs, as data. Each scenario ends with everything mended, so that several can run
 * on one LAN; its measures are held against its bounds, both in milliseconds unless named otherwise.
 */
import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import process from "node:process";
import { directPeers, describe, type Lab, pause, until } from "./lab.ts";
import type { LabBrowser } from "./hosts.ts";
import { PROBE_ADDRESS } from "./lan.ts";
import { pairingScenarios } from "./pairing-scenarios.ts";
import { twoHubs } from "./hub-scenarios.ts";
import { https, origins, publicOrigin } from "./origin-scenarios.ts";

export type Measures = Readonly<Record<string, number | string>>;

export interface Scenario {
  readonly name: string;
  /** Open and in step when it begins. */
  readonly browsers: number;
  /** The largest value a measure may have. */
  readonly bounds: Readonly<Record<string, number>>;
  /** Why it cannot be run here; null: it can. */
  readonly skip?: () => string | null;
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
    sendOutside(first!);
    assert.deepEqual(lab.lan.outside().packets, packets + 1, "what goes out is counted");
    return { outsidePackets: packets, destinations: destinations.join(" ") };
  },
};

function sendOutside({ host }: LabBrowser): void {
  const socket = 'require("node:dgram").createSocket("udp4")';
  const code = `const s = ${socket}; s.send("x", 9, "${PROBE_ADDRESS}", () => s.close())`;
  const [command, ...args] = host.command(process.execPath, "-e", code);
  execFileSync(command, args);
}

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

/**
 * One browser sleeps while others write: its page is loaded anew, its tab crashes, its page is
 * frozen, all of its processes stand still.
 */
const sleep: Scenario = {
  name: "sleep",
  browsers: 3,
  bounds: { reloadMs: 10_000, crashMs: 10_000, frozenMs: 5_000, suspendedMs: 5_000 },
  run: async (lab) => {
    const [sleeper, ...others] = lab.browsers;
    const url = lab.hub.url();
    const wakes = async (wake: () => Promise<void>): Promise<number> => {
      const startMs = performance.now();
      await wake();
      await lab.synced();
      const syncedMs = since(startMs);
      await lab.write(1);
      await lab.synced();
      await lab.linked();
      return syncedMs;
    };
    await lab.write(3, others);
    const reloadMs = await wakes(() => sleeper!.open(url));

    const crashed = await sleeper!.devTools();
    // It never answers.
    void crashed.send("Page.crash").catch(() => undefined);
    await noLonger(others, sleeper!.peerId());
    await lab.write(3, others);
    const crashMs = await wakes(() => sleeper!.open(url));

    const frozen = await sleeper!.devTools();
    const ticks = (): Promise<number> => sleeper!.page().evaluate(() => globalThis.lab!.ticks());
    const ticksBefore = await ticks();
    const frozenAtMs = performance.now();
    // Pages with connections are spared by the page lifecycle's own freezing.
    await frozen.send("Debugger.enable");
    await frozen.send("Debugger.pause");
    await lab.write(3, others);
    await pause(SLEEP_MS);
    const frozenMs = await wakes(async () => {
      await frozen.send("Debugger.resume");
      await frozen.send("Debugger.disable");
    });
    const awakeMs = ((await ticks()) - ticksBefore) * 100;
    assert.ok(since(frozenAtMs) - awakeMs > SLEEP_MS / 2, "the page stood still");

    sleeper!.host.signal("SIGSTOP");
    await lab.write(3, others);
    await noLonger(others, sleeper!.peerId());
    await pause(SLEEP_MS);
    const suspendedMs = await wakes(async () => sleeper!.host.signal("SIGCONT"));
    await lab.agreed();
    return { reloadMs, crashMs, frozenMs, suspendedMs };
  },
};

const SLEEP_MS = 15_000;

/** No multicast, so no mDNS: the names that browsers give instead of addresses lead nowhere. */
const noMulticast: Scenario = {
  name: "no-multicast",
  browsers: 0,
  bounds: { linkedMs: 15_000, arrivalMs: 2_000 },
  run: async (lab) => {
    await lab.addBrowser();
    await lab.addBrowser();
    lab.lan.blockMulticast();
    const startMs = performance.now();
    await Promise.all(lab.browsers.map(({ open }) => open(lab.hub.url())));
    await lab.linked();
    const linkedMs = since(startMs);
    // What one writes now can only come over the link between them.
    await lab.hub.kill();
    await lab.write(1);
    const arrivalMs = await lab.synced();
    await lab.agreed();
    return { linkedMs, arrivalMs };
  },
};

/**
 * A browser behind a slow line imports in bulk; the others go on writing. What they write by then
 * does not depend on the import, which has not reached them.
 */
const slowLink: Scenario = {
  name: "slow-link",
  browsers: 3,
  bounds: { smallMsP50: 1_000, smallMsMax: 3_000, bulkMs: 90_000 },
  run: async (lab) => {
    const [slow, ...others] = lab.browsers;
    const [writer] = others;
    slow!.host.limit(SLOW_KBIT);
    const startMs = performance.now();
    await slow!.writeBulk(BULK_NOTES, BULK_CHARS);
    const importMs = since(startMs);
    const isThere = async (): Promise<boolean> => (await writer!.count()).all > BULK_NOTES;
    const smallMs: number[] = [];
    while (!(await isThere()) && since(startMs) < slowLink.bounds["bulkMs"]!) {
      await lab.write(1, [writer!]);
      const arrivalMs = await lab.synced();
      if (!(await isThere())) smallMs.push(arrivalMs);
      await pause(500);
    }
    const bulkMs = since(startMs);
    const { peers } = await slow!.status();
    slow!.host.limit(null);
    assert.equal(peers.filter(({ link }) => link !== "none").length, 3, "no link was given up");
    assert.ok(smallMs.length >= 5, `only ${smallMs.length} small changes while the bulk trickled`);
    await lab.agreed();
    const sorted = [...smallMs].sort((a, b) => a - b);
    return {
      importMs,
      bulkMs,
      smallChanges: smallMs.length,
      smallMsP50: sorted[Math.floor(sorted.length / 2)]!,
      smallMsMax: sorted.at(-1)!,
    };
  },
};

const SLOW_KBIT = 1_000;
const BULK_NOTES = 5_000;
const BULK_CHARS = 200;

/** The hub gets another address, running and across a restart; open pages find it again. */
const hubMoves: Scenario = {
  name: "hub-moves",
  browsers: 2,
  bounds: { arrivalMs: 2_000, backMs: 30_000, restartedMs: 30_000 },
  run: async (lab) => {
    lab.hub.host.moveTo(98);
    await lab.write(2);
    const arrivalMs = await lab.synced();
    // Longer than it takes to notice that the old address is dead.
    await pause(10_000);
    const backMs = 10_000 + (await lab.linked());

    await lab.hub.kill();
    await noLonger(lab.browsers, lab.hub.peerId());
    lab.hub.host.moveTo(99);
    await lab.hub.start();
    const restartedMs = await lab.linked();
    const newcomer = await lab.addBrowser();
    await newcomer.open(lab.hub.url());
    await lab.linked();
    await lab.write(1);
    await lab.synced();
    return { arrivalMs, backMs, restartedMs };
  },
};

/** Gossip's streams end under live connections. */
const gossipKilled: Scenario = {
  name: "gossip-killed",
  browsers: 3,
  bounds: { arrivalMs: 2_000, healedMs: 10_000 },
  run: async (lab) => {
    const [first] = lab.browsers;
    const gossip = (): Promise<number> =>
      first!.page().evaluate(() => globalThis.lab!.webrtc.openGossipChannels());
    await until("gossip runs", async () => (await gossip()) >= 3);
    const killed = await first!.page().evaluate(() => globalThis.lab!.webrtc.killGossip());
    const startMs = performance.now();
    await lab.write(1);
    const arrivalMs = await lab.synced();
    await until("gossip runs again", async () => (await gossip()) >= 3);
    const healedMs = since(startMs);
    await lab.linked();
    await lab.write(1);
    await lab.synced();
    await lab.agreed();
    return { killed, arrivalMs, healedMs };
  },
};

/** Many browsers, all writing. */
function crowd(size: number): Scenario {
  return {
    name: "crowd",
    browsers: 0,
    bounds: { convergedMs: 60_000, linkedMs: 60_000, linksMax: 12, dialsHung: 0 },
    run: async (lab) => {
      const startMs = performance.now();
      for (let i = 0; i < size; i++) await (await lab.addBrowser()).open(lab.hub.url());
      const openedMs = since(startMs);
      const writingMs = performance.now();
      for (let i = 0; i < 5; i++) await lab.write(2);
      const convergedMs = await lab.synced().then(() => since(writingMs));
      await lab.agreed();
      const linksNow = async (): Promise<readonly number[]> => {
        const peersOf = await Promise.all(lab.browsers.map(directPeers));
        return peersOf.map((peers) => peers.size - Number(peers.has(lab.hub.peerId())));
      };
      const isKnit = async (): Promise<boolean> => Math.min(...(await linksNow())) >= LINKS_MIN;
      await until("every browser has enough links", isKnit, () => describe(lab.browsers));
      const linkedMs = since(writingMs);
      await pause(LINKS_SETTLE_MS);
      const links = await linksNow();
      const failures = await Promise.all(
        lab.browsers.map(({ page }) =>
          page().evaluate(() => globalThis.lab!.webrtc.failedAfterMs()),
        ),
      );
      const dialsHung = failures.flat().filter((ms) => ms >= DIAL_HUNG_MS).length;
      return {
        openedMs,
        convergedMs,
        linkedMs,
        linksMin: Math.min(...links),
        linksMax: Math.max(...links),
        links: links.reduce((sum, each) => sum + each, 0) / 2,
        pairs: (size * (size - 1)) / 2,
        dialsFailed: failures.flat().length,
        dialsHung,
      };
    },
  };
}

/** The mesh of browsers is whole with these, whoever goes. */
const LINKS_MIN = 4;
const LINKS_SETTLE_MS = 10_000;
/** Just below the timeout of a dial. */
const DIAL_HUNG_MS = 5_500;

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

export const CROWD = 12;

/** `crowdSize`: how many browsers a crowd is; {@link CROWD} is what the bounds are made for. */
export const scenarios = (crowdSize: number): readonly Scenario[] => [
  join,
  noInternet,
  hubKilled,
  linkDown("link-down-20s", 20_000, "silent"),
  linkDown("link-down-20s-noticed", 20_000, "noticed"),
  split,
  sleep,
  noMulticast,
  slowLink,
  hubMoves,
  gossipKilled,
  twoHubs,
  https,
  publicOrigin,
  origins,
  ...pairingScenarios,
  crowd(crowdSize),
  linkDown("link-down-5min", 300_000, "silent"),
];
