/**
 * One browser of the check and the person in front of it: writes through the screens, looks
 * through the developer console's handle `window.rowmesh`.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { watchConnections } from "./check-links.mjs";

const STEP_TIMEOUT_MS = 60_000;
/** An import of thousands of rows, on a machine that runs three browsers. */
const IMPORT_TIMEOUT_MS = 180_000;

export async function openDevice(chromium, name, url) {
  const [context] = chromium.browser.contexts();
  await context.addInitScript(watchConnections);
  const page = await context.newPage();
  page.setDefaultTimeout(STEP_TIMEOUT_MS);
  const problems = [];
  page.on("pageerror", ({ message }) => {
    problems.push(`${name}: ${message}`);
  });
  const at = (testId) => page.getByTestId(testId);

  await page.goto(url);
  assert.equal(new URL(page.url()).hash, "", "the join link is taken out of the address bar");
  await at("your-name").fill(name);
  await at("begin").click();
  await opened(page);
  // Until it is ready, the page would not open without its server.
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
  const peerId = await page.evaluate(() => window.rowmesh.mesh.peerId);

  return {
    name,
    pid: chromium.pid,
    peerId,
    problems,
    ...observations(page),
    ...actions(page, at),
  };
}

async function opened(page) {
  await page.waitForFunction(() => window.rowmesh !== undefined);
}

function observations(page) {
  return {
    stateHash: () => page.evaluate(() => window.rowmesh.mesh.stateHash()),
    isConverged: () => page.evaluate(() => window.rowmesh.mesh.status().converged),
    storageKind: () => page.evaluate(() => window.rowmesh.mesh.status().storage.kind),
    openPairs: () => page.evaluate(() => window.openPairs()),
    openConnections: () => page.evaluate(async () => (await window.openPairs()).length),
    /** What the mesh says of its link to another device. */
    linkTo: (other) =>
      page.evaluate(
        (peerId) =>
          window.rowmesh.mesh.status().peers.find((peer) => peer.peerId === peerId)?.link ?? "none",
        other.peerId,
      ),
    ownVersion: () =>
      page.evaluate(
        () => window.rowmesh.mesh.status().authors.find((author) => author.local)?.version ?? 0,
      ),
    sightingCount: () =>
      page.evaluate(
        async () => (await window.rowmesh.mesh.db.query("SELECT count(*) AS n FROM sighting"))[0].n,
      ),
    sighting: (id) =>
      page.evaluate(async (wanted) => {
        const sql = "SELECT * FROM sighting WHERE id = ?";
        return (await window.rowmesh.mesh.db.query(sql, [wanted]))[0] ?? null;
      }, id),
    /** For the message of a failure. */
    describe: () => page.evaluate(() => window.rowmesh.mesh.status()),
  };
}

function actions(page, at) {
  const row = (id) => page.locator(`[data-testid="sighting-row"][data-id="${id}"]`);
  const saved = async () => {
    await at("save").click();
    await at("sighting-sheet").waitFor({ state: "detached" });
  };
  const switchNetwork = async (online) => {
    await at("tab-mesh").click();
    await at("online-switch").click();
    await page.waitForFunction((wanted) => window.rowmesh.mesh.status().online === wanted, online);
  };
  return {
    reload: async () => {
      await page.reload();
      await opened(page);
    },
    goOffline: () => switchNetwork(false),
    goOnline: () => switchNetwork(true),
    addSighting: async ({ animal, place, note }) => {
      await at("tab-sightings").click();
      await at("add-sighting").click();
      await at("field-animal").fill(animal);
      await at("field-place").fill(place);
      await at("field-note").fill(note);
      await saved();
      return page.evaluate(
        async (written) => {
          const sql = "SELECT id FROM sighting WHERE place = ? AND note = ?";
          return (await window.rowmesh.mesh.db.query(sql, written))[0].id;
        },
        [place, note],
      );
    },
    editSighting: async (id, fields) => {
      await at("tab-sightings").click();
      await row(id).click();
      for (const [name, value] of Object.entries(fields)) {
        await at(`field-${name}`).fill(value);
        await at(`field-${name}`).blur();
      }
      await saved();
    },
    deleteSighting: async (id) => {
      await at("tab-sightings").click();
      await row(id).click();
      await at("delete").click();
      await row(id).waitFor({ state: "detached" });
    },
    importSample: async (rows) => {
      await at("tab-sightings").click();
      await at("open-import").click();
      await at("import-sample").click();
      await at("import-write").click();
      await at("import-sheet").waitFor({ state: "detached", timeout: IMPORT_TIMEOUT_MS });
      const written = await page.evaluate(
        async () =>
          (
            await window.rowmesh.mesh.db.query(
              "SELECT count(*) AS n FROM sighting WHERE observer = ?",
              [window.rowmesh.mesh.siteId],
            )
          )[0].n,
      );
      assert.equal(written, rows, "every imported row is written");
    },
  };
}
