/** Browsers that no hub ever introduced, and people who carry codes from one to the other. */
import { strict as assert } from "node:assert";
import type { LabBrowser } from "./hosts.ts";
import { describe, directPeers, type Lab, pause, until } from "./lab.ts";
import type { Scenario } from "./scenarios.ts";

/** As long as it takes to walk to the other device. */
const WALK_MS = 20_000;

/**
 * Three browsers load the page and know nobody; the hub dies. The second pairs with the first and
 * with the third, who then meet through it.
 */
const paired: Scenario = {
  name: "paired",
  browsers: 0,
  bounds: {
    pairMs: 10_000,
    latePairMs: 10_000,
    meetMs: 20_000,
    arrivalMs: 2_000,
    outsidePackets: 0,
  },
  run: async (lab) => {
    const [first, second, third] = await openAlone(lab, 3, []);
    const pairMs = await pair(first!, second!, 0);
    const latePairMs = await pair(third!, second!, WALK_MS);
    const meetMs = await until(
      "the first and the third meet through the second",
      async () => (await directPeers(first!)).has(third!.peerId()),
      () => describe(lab.browsers),
    );
    await lab.write(3);
    const arrivalMs = await lab.synced();
    await lab.agreed();
    const { packets } = lab.lan.outside();
    return { pairMs, latePairMs, meetMs, arrivalMs, outsidePackets: packets };
  },
};

/** Browsers that may use a camera write addresses into their codes, which need no multicast. */
const pairedNoMulticast: Scenario = {
  name: "paired-no-multicast",
  browsers: 0,
  bounds: { pairMs: 10_000, arrivalMs: 2_000 },
  run: async (lab) => {
    // Only secure pages may ask for a camera.
    const { origin } = new URL(lab.hub.url());
    const secure = [`--unsafely-treat-insecure-origin-as-secure=${origin}`];
    const [first, second] = await openAlone(lab, 2, secure);
    for (const browser of [first!, second!]) {
      await browser.page().context().grantPermissions(["camera"], { origin });
    }
    lab.lan.blockMulticast();
    const pairMs = await pair(first!, second!, 0);
    await lab.write(3);
    const arrivalMs = await lab.synced();
    await lab.agreed();
    return { pairMs, arrivalMs };
  },
};

export const pairingScenarios: readonly Scenario[] = [paired, pairedNoMulticast];

async function openAlone(
  lab: Lab,
  count: number,
  args: readonly string[],
): Promise<readonly LabBrowser[]> {
  const browsers: LabBrowser[] = [];
  for (let i = 0; i < count; i++) {
    const browser = await lab.addBrowser({ args });
    await browser.open(`${lab.hub.url()}?alone`);
    browsers.push(browser);
  }
  await lab.hub.kill();
  return browsers;
}

/** @returns milliseconds from when the second one has read the code until both are linked */
async function pair(one: LabBrowser, other: LabBrowser, walkMs: number): Promise<number> {
  const codes = await Promise.all([one, other].map((each) => each.page().evaluate(show)));
  const [codeOfOne = "", codeOfOther = ""] = codes;
  const first = one.page().evaluate(connect, codeOfOther);
  await pause(walkMs);
  const startMs = performance.now();
  const met = await Promise.all([first, other.page().evaluate(connect, codeOfOne)]);
  assert.deepEqual(met, [other.peerId(), one.peerId()]);
  return Math.round(performance.now() - startMs);
}

const show = (): Promise<string> => globalThis.lab!.showCode();
const connect = (code: string): Promise<string> => globalThis.lab!.connect(code);
