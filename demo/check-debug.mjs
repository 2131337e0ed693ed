/**
 * The demo, checked as people use it: a hub and three browsers, each its own process with its own
 * profile. They join, go offline, write against one another, come back and must converge over
 * links between the browsers; then the hub is killed and a further write must still arrive.
 * Everything reported is observed; the last line on standard output is the result as JSON.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import process from "node:process";
import { findChromium } from "../scripts/find-chromium.mjs";
import { launchChromium } from "../scripts/launch-chromium.mjs";
import { openDevice } from "./check-device-debug.mjs";
import { startHub } from "./check-hub.mjs";
import { directPairs } from "./check-links.mjs";

const NAMES = ["Ana", "Ben", "Cleo"];
const IMPORTED_ROWS = 5_000;
const WAIT_MS = 90_000;
const POLL_MS = 100;

/** @returns the exit code: 0 only if everything held */
export async function check() {
  const result = { browsers: 0, connections: null, converged: false };
  const closers = [];
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
  try {
    await run(result, closers);
  } catch (error) {
    result.failed = error instanceof Error ? error.message : String(error);
    process.stderr.write(`check failed: ${error?.stack ?? error}\n`);
  } finally {
    // The last one started first.
    while (closers.length > 0) await closers.pop()();
  }
  process.stdout.write(`${JSON.stringify(result)}\n`);
  return "failed" in result ? 1 : 0;
}

async function run(result, closers) {
  const hub = await startHub();
  closers.push(hub.close);
  tell(`hub ${hub.pid} at ${new URL(hub.url).origin}`);

  const path = findChromium();
  const devices = [];
  for (const name of NAMES) {
    const chromium = await launchChromium(path);
    closers.push(chromium.close);
    devices.push(await openDevice(chromium, name, hub.url));
  }
  result.browsers = new Set(devices.map(({ pid }) => pid)).size;

  await linked(devices);
  tell("every browser is linked to every other");
  const shared = await writeShared(devices);

  await writeApart(devices, shared);
  const hashesApart = await Promise.all(devices.map((device) => device.stateHash()));
  assert.equal(new Set(hashesApart).size, devices.length, "apart, all hold different rows");

  const convergeMs = await comeBack(devices);
  result.connections = await linked(devices);
  const merged = await mergedState(devices, shared);
  Object.assign(result, { converged: true, convergeMs, ...merged });
  tell(`converged after ${convergeMs} ms`);

  await hub.kill();
  result.hubAlive = hub.isAlive();
  assert.equal(result.hubAlive, false, "the hub is dead");
  Object.assign(result, await writeAfterHubDeath(devices));
  result.connections = await linked(devices);
  Object.assign(result, await reopenWithoutNetwork(devices));
  result.problems = devices.flatMap(({ problems }) => problems);
  assert.deepEqual(result.problems, [], "no page reported an error");
}

/** Waits until every two browsers share a direct WebRTC link. @returns the kind of all links */
async function linked(devices) {
  const pairs = devices.flatMap((one, index) =>
    devices.slice(index + 1).map((other) => [one, other]),
  );
  const t0=Date.now(); let last=0;
  await until("every two browsers have a direct WebRTC link", async () => {
    if (Date.now()-t0 > 20000+last*10000) { last++; for(const d of devices) console.error(last, await d.debug()); }
    for (const [one, other] of pairs) {
      if ((await directPairs(one, other)) === 0) return false;
      if ((await one.linkTo(other)) !== "webrtc" || (await other.linkTo(one)) !== "webrtc")
        return false;
    }
    return true;
  });
  const kinds = await Promise.all(pairs.map(([one, other]) => one.linkTo(other)));
  return [...new Set(kinds)].join("+");
}

/** Two sightings that all three hold before they part. */
async function writeShared(devices) {
  const [ana] = devices;
  const edited = await ana.addSighting({ animal: "Grey heron", place: "Mill pond", note: "first" });
  const deleted = await ana.addSighting({ animal: "Red fox", place: "North gate", note: "first" });
  await converged(devices);
  return { edited, deleted };
}

/** Each goes offline and writes: inserts, edits of one row, a delete against an update, an import. */
async function writeApart(devices, shared) {
  const [ana, ben, cleo] = devices;
  for (const device of devices) await device.goOffline();
  await until("no browser has an open connection", async () => {
    const open = await Promise.all(devices.map((device) => device.openConnections()));
    return open.every((connections) => connections === 0);
  });
  tell("all are offline");

  await ana.addSighting({ animal: "White stork", place: "Weir", note: "by Ana" });
  await ana.editSighting(shared.edited, { note: "Ana's note", place: "Reed bank" });
  await ana.editSighting(shared.deleted, { note: "Ana's update of what Ben deletes" });

  await ben.addSighting({ animal: "Barn owl", place: "Chapel hill", note: "by Ben" });
  await ben.editSighting(shared.edited, { note: "Ben's note", "head-count": "7" });
  await ben.deleteSighting(shared.deleted);

  await cleo.editSighting(shared.edited, { note: "Cleo's note" });
  const before = await cleo.ownVersion();
  await cleo.importSample(IMPORTED_ROWS);
  assert.equal((await cleo.ownVersion()) - before, 1, "the import is one changeset");
  tell("all wrote apart");
}

/** @returns milliseconds from the moment the last one is switched online until all are the same */
async function comeBack(devices) {
  for (const device of devices) await device.goOnline();
  const startMs = performance.now();
  await converged(devices);
  return Math.round(performance.now() - startMs);
}

/** What the merge made of it, the same on every device. */
async function mergedState(devices, shared) {
  const counts = await Promise.all(devices.map((device) => device.sightingCount()));
  const stateHashes = await Promise.all(devices.map((device) => device.stateHash()));
  assert.equal(new Set(stateHashes).size, 1, "all hold the same rows");
  // The two shared ones less the deleted one, one by Ana, one by Ben, and the import.
  assert.deepEqual(new Set(counts), new Set([1 + 1 + 1 + IMPORTED_ROWS]), "no row is lost");

  const edited = await same(devices, (device) => device.sighting(shared.edited));
  assert.match(edited.note, /^(Ana|Ben|Cleo)'s note$/, "one of the three notes stands");
  assert.equal(edited.place, "Reed bank", "Ana's place stands beside the note");
  assert.equal(edited.head_count, 7, "Ben's count stands beside the note");
  const deleted = await same(devices, (device) => device.sighting(shared.deleted));
  assert.equal(deleted, null, "the deleted row stays deleted");
  return { rows: counts[0], stateHashes };
}

/** With no hub, Ben's next sighting reaches the two others over the links between the browsers. */
async function writeAfterHubDeath(devices) {
  const [ana, ben, cleo] = devices;
  const startMs = performance.now();
  const id = await ben.addSighting({ animal: "Pine marten", place: "Ridge path", note: "no hub" });
  await until("a sighting written after the hub's death reaches both others", async () => {
    const found = await Promise.all([ana, cleo].map((device) => device.sighting(id)));
    return found.every((sighting) => sighting !== null);
  });
  const afterHubDeathMs = Math.round(performance.now() - startMs);
  const hash = await same(devices, (device) => device.stateHash());
  return { afterHubDeath: typeof hash === "string", afterHubDeathMs };
}

/** The hub that served the page is dead: Cleo's page must open again by itself, with every row. */
async function reopenWithoutNetwork(devices) {
  const cleo = devices.at(-1);
  const hash = await cleo.stateHash();
  await cleo.reload();
  assert.equal(await cleo.stateHash(), hash, "the reopened notebook holds the same rows");
  return { offlineReload: true, storage: await cleo.storageKind() };
}

/** Every device says that it is in step, and their contents are the same. */
async function converged(devices) {
  await until(
    "all devices converge",
    async () => {
      const inStep = await Promise.all(devices.map((device) => device.isConverged()));
      if (inStep.includes(false)) return false;
      const hashes = await Promise.all(devices.map((device) => device.stateHash()));
      return new Set(hashes).size === 1;
    },
    () => Promise.all(devices.map((device) => device.describe())),
  );
}

async function same(devices, ask) {
  const [first, ...others] = await Promise.all(devices.map(ask));
  for (const other of others) assert.deepEqual(other, first);
  return first;
}

async function until(what, holds, describe = async () => []) {
  const deadlineMs = performance.now() + WAIT_MS;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) {
      const states = (await describe()).map((state) => `\n  ${JSON.stringify(state)}`).join("");
      throw new Error(`not within ${WAIT_MS / 1000} s: ${what}${states}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function tell(text) {
  process.stderr.write(`${text}\n`);
}
