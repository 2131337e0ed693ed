/** Chromium pages that nobody introduces: codes are handed from one to the other. */
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import {
  decodePairingCode,
  encodePairingCode,
  pairingBytes,
  pairingText,
} from "../../src/node/pairing-code.ts";
import { PAIRING_HANDSHAKE_MS, PAIRING_MS, PAIRINGS_MAX } from "../../src/protocol/limits.ts";
import { type Chromium, openChromium, openSite, type Site } from "../fixtures/chromium.ts";
import type { Attack } from "./pairing/page.ts";

vi.setConfig({ testTimeout: 60_000 });

let site: Site;
let chromium: Chromium;
let closing: (() => Promise<void>)[] = [];
/** Uncaught, in any page. */
let errors: string[] = [];

beforeAll(async () => {
  site = await openSite(join(import.meta.dirname, "pairing"));
  chromium = await openChromium();
}, 60_000);
afterEach(async () => {
  await Promise.all(closing.map((close) => close()));
  closing = [];
  const uncaught = errors.splice(0);
  if (uncaught.length > 0) throw new Error(uncaught.join("\n"));
});
afterAll(async () => {
  await chromium?.close();
  await site?.close();
}, 60_000);

/** A page with storage of its own: a device that was just unpacked. */
async function openPage(permissions: readonly "camera"[] = []): Promise<Page> {
  const context = await chromium.context.browser()?.newContext();
  if (context === undefined) throw new RangeError("no browser");
  closing.push(() => context.close());
  await context.grantPermissions([...permissions]);
  const page = await context.newPage();
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.clock.install();
  await page.addInitScript(() => {
    globalThis.connections = [];
    globalThis.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(configuration?: RTCConfiguration) {
        super(configuration);
        globalThis.connections.push(this);
      }
    };
  });
  await page.goto(site.url);
  await page.waitForFunction(() => "phone" in globalThis);
  return page;
}

declare global {
  /** All that the page ever made. */
  var connections: RTCPeerConnection[];
}

async function openDevice(
  network: "on" | "off" = "on",
  permissions: readonly "camera"[] = [],
): Promise<Page> {
  const page = await openPage(permissions);
  await page.evaluate((given) => globalThis.phone.open(given), network);
  // Nothing more can be loaded: there is no server any more.
  await page.route("**", (route) => route.abort());
  return page;
}

interface Shown {
  readonly code: string;
  readonly fingerprint: string;
}

const show = (page: Page): Promise<Shown> =>
  page.evaluate(async () => {
    const { phone } = globalThis;
    phone.pairing = await phone.opened().pair();
    return { code: phone.pairing.code, fingerprint: phone.pairing.fingerprint };
  });

/** What `connect` ends in. */
const connect = (page: Page, code: string): Promise<unknown> =>
  page.evaluate((given) => {
    const { phone } = globalThis;
    return phone.outcome(phone.shown().connect(given));
  }, code);

async function pair(a: Page, b: Page): Promise<readonly [unknown, unknown]> {
  const [ofA, ofB] = await Promise.all([show(a), show(b)]);
  return Promise.all([connect(a, ofB.code), connect(b, ofA.code)]);
}

const insert = (page: Page, id: string): Promise<void> =>
  page.evaluate(async (given) => {
    await globalThis.phone.opened().db.exec("INSERT INTO tag VALUES (?)", [given]);
  }, id);
const tags = (page: Page): Promise<unknown> =>
  page.evaluate(async () => {
    const rows = await globalThis.phone.opened().db.query<{ id: string }>("SELECT id FROM tag");
    return rows.map(({ id }) => id).sort();
  });
const found = (page: Page): Promise<string> =>
  page.evaluate(() => globalThis.phone.opened().invite());
const meshId = (page: Page): Promise<string | null> =>
  page.evaluate(() => globalThis.phone.opened().status().meshId);
const peerId = (page: Page): Promise<string> =>
  page.evaluate(() => globalThis.phone.opened().peerId);
const links = (page: Page): Promise<Record<string, string>> =>
  page.evaluate(() => {
    const { peers } = globalThis.phone.opened().status();
    return Object.fromEntries(peers.map((peer) => [peer.peerId, peer.link]));
  });
const openConnections = (page: Page): Promise<number> =>
  page.evaluate(
    () => globalThis.connections.filter(({ connectionState: state }) => state !== "closed").length,
  );

const LONG = { timeout: 30_000, interval: 100 };

test("two devices of no mesh found one; drafts of both reach the other", async () => {
  const [a, b] = [await openDevice(), await openDevice()];
  await insert(a, "of a");
  await insert(b, "of b");
  const [ofA, ofB] = await Promise.all([show(a), show(b)]);
  expect(ofA.code.length).toBeLessThanOrEqual(210);
  const readByB = await b.evaluate((code) => globalThis.phone.shown().read(code), ofA.code);
  const seenOfA = { peerId: await peerId(a), fingerprint: ofA.fingerprint, name: null };
  expect(readByB).toEqual(seenOfA);
  const [byA, byB] = await Promise.all([connect(a, ofB.code), connect(b, ofA.code)]);
  expect(byA).toMatchObject({ peerId: await peerId(b), fingerprint: ofB.fingerprint });
  expect(byB).toMatchObject({ peerId: await peerId(a) });
  expect(await links(a)).toEqual({ [await peerId(b)]: "webrtc" });
  for (const page of [a, b]) await expect.poll(() => tags(page), LONG).toEqual(["of a", "of b"]);
  expect(await meshId(a)).not.toBeNull();
  expect(await meshId(b)).toBe(await meshId(a));
  await insert(b, "later");
  await expect.poll(() => tags(a), LONG).toContain("later");
  await a.evaluate(() => globalThis.phone.opened().online(false));
  for (const page of [a, b]) await expect.poll(() => openConnections(page), LONG).toBe(0);
});

test("the paired device introduces the next one, which then links with all, helps when the pair breaks, and stays when it is gone", async () => {
  const [a, b, c] = [await openDevice(), await openDevice(), await openDevice()];
  const ids = [await peerId(a), await peerId(b), await peerId(c)];
  expect(await pair(a, b)).toMatchObject([{ peerId: ids[1] }, { peerId: ids[0] }]);
  expect(await pair(c, b)).toMatchObject([{ peerId: ids[1] }, { peerId: ids[2] }]);
  for (const [i, page] of [a, b, c].entries()) {
    const others = ids.filter((_, at) => at !== i);
    await expect
      .poll(() => links(page), LONG)
      .toEqual(Object.fromEntries(others.map((id) => [id, "webrtc"])));
  }
  // The paired connection breaks: the two meet again through the third, over another one.
  const made = await a.evaluate(() => {
    globalThis.connections[0]?.close();
    return globalThis.connections.length;
  });
  await expect
    .poll(() => a.evaluate(() => globalThis.connections.length), LONG)
    .toBeGreaterThan(made);
  await expect.poll(() => links(a), LONG).toMatchObject({ [ids[1] ?? ""]: "webrtc" });
  await expect.poll(() => links(b), LONG).toMatchObject({ [ids[0] ?? ""]: "webrtc" });
  await insert(a, "of a");
  await b.close();
  await insert(c, "of c");
  for (const page of [a, c]) await expect.poll(() => tags(page), LONG).toEqual(["of a", "of c"]);
});

test("a device without a mesh, and off the network, takes the other's mesh and goes online; each in its time", async () => {
  // Who may use a camera writes addresses instead of mDNS names.
  const [member, newcomer] = [await openDevice("on", ["camera"]), await openDevice("off")];
  await insert(member, "of member");
  await found(member);
  const [ofMember, ofNewcomer] = [await show(member), await show(newcomer)];
  const isNamed = [ofMember, ofNewcomer].map(({ code }) =>
    decodePairingCode(pairingBytes(code)).route.candidates.map(({ host }) =>
      host.endsWith(".local"),
    ),
  );
  expect(isNamed.map((named) => new Set(named))).toEqual([new Set([false]), new Set([true])]);
  const first = connect(member, ofNewcomer.code);
  // ICE looks for the other device in vain meanwhile.
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  expect(await connect(newcomer, ofMember.code)).toMatchObject({ peerId: await peerId(member) });
  expect(await first).toMatchObject({ peerId: await peerId(newcomer) });
  expect(await meshId(newcomer)).toBe(await meshId(member));
  expect(await newcomer.evaluate(() => globalThis.phone.opened().status().online)).toBe(true);
  await expect.poll(() => tags(newcomer), LONG).toEqual(["of member"]);
  // Once more, although they are linked: nothing is lost by it.
  expect(await pair(member, newcomer)).toMatchObject([{}, { peerId: await peerId(member) }]);
  await insert(newcomer, "of newcomer");
  await expect.poll(() => tags(member), LONG).toEqual(["of member", "of newcomer"]);
});

test("two meshes stay two: by the codes alone, and when the codes are older than the meshes", async () => {
  const [a, b] = [await openDevice(), await openDevice()];
  const early = await Promise.all([show(a), show(b)]);
  await found(a);
  await found(b);
  const before = [await meshId(a), await meshId(b)];
  const both = await Promise.all([connect(a, early[1].code), connect(b, early[0].code)]);
  expect(both).toEqual(["ERR_MESH_DIFFERENT", "ERR_MESH_DIFFERENT"]);
  expect(await pair(a, b)).toEqual(["ERR_MESH_DIFFERENT", "ERR_MESH_DIFFERENT"]);
  expect([await meshId(a), await meshId(b)]).toEqual(before);
  expect([await links(a), await links(b)]).toEqual([{}, {}]);
  for (const page of [a, b]) {
    await page.evaluate(() => globalThis.phone.shown().close());
    await expect.poll(() => openConnections(page), LONG).toBe(0);
  }
});

test("a wrong code links with nobody, and the right one may follow; a code is for one connection", async () => {
  const [a, b] = [await openDevice(), await openDevice()];
  const early = await Promise.all([show(a), show(b)]);
  const honest = decodePairingCode(pairingBytes(early[1].code));
  const route = { ...honest.route, dtlsFingerprint: new Uint8Array(32).fill(7) };
  const bent = pairingText(encodePairingCode({ ...honest, route }));
  // The right key, the right address, and another's certificate.
  const neither = await Promise.all([connect(a, bent), connect(b, early[0].code)]);
  expect(neither).toEqual(["ERR_PAIRING_FAILED", "ERR_PAIRING_FAILED"]);
  for (const page of [a, b]) {
    expect(await meshId(page)).toBeNull();
    await expect.poll(() => openConnections(page), LONG).toBe(0);
  }

  const [ofA, ofB] = await Promise.all([show(a), show(b)]);
  const wrong = ["", "hello", "HTTPS://EXAMPLE.INVALID/", ofB.code.slice(0, -1), ofA.code];
  for (const code of wrong) expect(await connect(a, code)).toBe("ERR_PAIRING_INVALID");
  const [byA] = await Promise.all([connect(a, ofB.code), connect(b, ofA.code)]);
  expect(byA).toMatchObject({ peerId: await peerId(b) });
  expect(await connect(a, ofB.code)).toBe("ERR_PAIRING_FAILED");
  await a.evaluate(() => globalThis.phone.shown().close());
  expect(await links(a)).toEqual({ [await peerId(b)]: "webrtc" });
});

test("what is given up, aborted, too old or too much leaves no connection behind", async () => {
  const [a, b] = [await openDevice(), await openDevice()];
  const { code } = await show(b);
  const outcomes = await a.evaluate(async (ofB) => {
    const { phone } = globalThis;
    const mesh = phone.opened();
    const before = await phone.outcome(mesh.pair({ signal: AbortSignal.abort() }));
    const stop = new AbortController();
    const aborted = phone.outcome((await mesh.pair()).connect(ofB, { signal: stop.signal }));
    stop.abort();
    const end = new AbortController();
    const whole = phone.outcome((await mesh.pair({ signal: end.signal })).connect(ofB));
    end.abort();
    const closed = await mesh.pair();
    const waiting = phone.outcome(closed.connect(ofB));
    await Promise.all([closed.close(), closed.close()]);
    const late = phone.outcome(closed.connect(ofB));
    return Promise.all([before, aborted, whole, waiting, late]);
  }, code);
  expect(outcomes).toEqual(Array.from({ length: 5 }, () => "ERR_ABORTED"));
  expect(await openConnections(a)).toBe(0);

  const many = await a.evaluate(async (max) => {
    const { phone } = globalThis;
    const mesh = phone.opened();
    const open = await Promise.all(Array.from({ length: max }, () => mesh.pair()));
    const tooMany = await phone.outcome(mesh.pair());
    await open[0]?.close();
    phone.pairing = await mesh.pair();
    return {
      tooMany,
      open: globalThis.connections.filter((each) => each.iceGatheringState !== "new").length,
    };
  }, PAIRINGS_MAX);
  expect(many.tooMany).toBe("ERR_PAIRING_FAILED");
  const expired = connect(a, code);
  await a.clock.fastForward(PAIRING_MS);
  expect(await expired).toBe("ERR_PAIRING_FAILED");
  await expect.poll(() => openConnections(a), LONG).toBe(0);

  await show(a);
  const ended = connect(a, code);
  await a.evaluate(() => globalThis.phone.opened().close());
  expect(await ended).toBe("ERR_CLOSED");
  await expect.poll(() => openConnections(a), LONG).toBe(0);
});

const ATTACKS: readonly Attack[] = [
  "silent",
  "text",
  "garbage",
  "flood",
  "giant",
  "another's proof",
  "giant invite",
  "invite that nobody signed",
  "garbage for libp2p",
  "text for libp2p",
  "another key in Noise",
];

test("hostile devices are refused: nothing joined, nothing linked, nothing left open", async () => {
  const [device, other] = [await openDevice(), await openPage()];
  const seen: unknown[] = [];
  const SIDES = ["before", "after"] as const;
  for (const attack of ATTACKS) {
    for (const side of SIDES) {
      // Only members tell those who prove their key anything that libp2p could follow.
      if (attack === "garbage for libp2p") await found(device);
      const mesh = await meshId(device);
      const { code } = await show(device);
      const self = await peerId(device);
      const theirs = await other.evaluate(([which, id]) => globalThis.hostile.show(which, id), [
        side,
        self,
      ] as const);
      const met = other.evaluate(
        ([given, how]) => globalThis.hostile.meet(given, how).catch(() => "tried"),
        [code, attack] as const,
      );
      const connecting = connect(device, theirs);
      if (attack === "silent") {
        await met;
        await device.clock.fastForward(PAIRING_HANDSHAKE_MS);
      }
      const outcome = await connecting;
      const reached = await met;
      const isSame = (await meshId(device)) === mesh;
      await expect.poll(() => openConnections(device), LONG).toBe(0);
      const heard = await other.evaluate(() => globalThis.hostile.heard);
      seen.push({ side, attack, outcome, reached, isSame, links: await links(device), heard });
    }
  }
  const expected = ATTACKS.flatMap((attack) =>
    SIDES.map((side) => ({
      side,
      attack,
      outcome: "ERR_PAIRING_FAILED",
      reached: "tried",
      isSame: true,
      links: {},
      // Its proof, which is worth nothing to anybody else; more only for who proves the key.
      heard: attack === "silent" || attack === "another's proof" ? [65] : [],
    })),
  );
  expect(seen).toEqual(expected);
});
