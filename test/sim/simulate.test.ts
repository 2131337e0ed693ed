/** The simulator itself: one seed is one history, and what is broken is noticed. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { createLedger } from "../../src/testing/acknowledged.ts";
import { checkLedger, checkSigned } from "../../src/testing/checks.ts";
import { createDatabaseDevice } from "../../src/testing/database-device.ts";
import { FAULTS } from "../../src/testing/faults.ts";
import { identity, SIM_MESH } from "../../src/testing/identities.ts";
import { createLife } from "../../src/testing/life.ts";
import { createReleaseWatch } from "../../src/testing/releases.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { createSimClock } from "../../src/testing/sim-clock.ts";
import { createSimNetwork } from "../../src/testing/sim-network.ts";
import { createSimNode } from "../../src/testing/sim-node.ts";
import { simulate, SimulationError } from "../../src/testing/simulate.ts";
import { createWorld } from "../../src/testing/world.ts";
import { ANIMALS } from "../fixtures/replicas.ts";
import { temporaryDirectory } from "../unit/temporary-directory.ts";

const dist = (file: string): string => pathToFileURL(join("dist", file)).href;

test.each([3, 11, 20])(
  "one seed is one history, seed %i",
  async (seed) => {
    const once = await simulate({ seed, faults: FAULTS });
    const again = await simulate({ seed, faults: FAULTS });
    const other = await simulate({ seed: seed + 1, faults: FAULTS });
    expect(again).toEqual(once);
    expect(other.trace).not.toBe(once.trace);
  },
  60_000,
);

test("weeks apart cost next to nothing", async () => {
  const reports = [];
  for (let seed = 1; reports.length < 2; seed++) {
    const report = await simulate({ seed, faults: ["weeks"], peers: 3 });
    if (report.faults.includes("weeks")) reports.push(report);
  }
  for (const { virtualMs, steps } of reports) {
    expect(virtualMs).toBeGreaterThan(7 * 86_400_000);
    expect(steps).toBeLessThan(4_000);
  }
}, 60_000);

test("a check of the app's own that fails is told with its seed", async () => {
  const failure = await simulate({
    seed: 5,
    peers: 2,
    faults: [],
    check: () => Promise.reject(new Error("17 herons are missing")),
  }).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(SimulationError);
  expect(String(failure)).toMatch(/seed 5: 17 herons are missing\nreplay: .*seed 5$/);
});

describe("a power cut after every step of a transaction", () => {
  test("keeps what was acknowledged, and all or nothing of the rest", async () => {
    const outcomes = new Set<string>();
    for (let steps = 1; steps < 40; steps++) {
      const random = createSeededRandom(steps);
      const device = await createDatabaseDevice({
        id: "n0",
        identity: 0,
        disk: "formatted",
        schemas: [ANIMALS],
        write: (db) => db.exec("INSERT INTO tag VALUES (x'01')").then(() => {}),
        random,
      });
      const world = createWorld();
      const net = createSimNetwork(world, random, "off");
      const node = createSimNode({ device, world, net, random, mesh: SIM_MESH });
      await node.start();
      node.crashAfter(steps);
      await node.write();
      node.crash();
      expect(node.isOff()).toBe(true);
      await node.start();
      const [row] = (await device.database.db()?.query("SELECT count(*) AS n FROM tag")) ?? [];
      const { acknowledged, unanswered } = device.database.ledger;
      const replica = device.database.replica();
      await replica?.offer("on");
      const logged = (await replica?.vector())?.[0]?.head ?? 0;
      expect(logged).toBe(row?.["n"]);
      expect(logged).toBeGreaterThanOrEqual(acknowledged.length);
      outcomes.add(`${acknowledged.length} ${unanswered.length} ${logged}`);
      await node.kill();
    }
    // Acknowledged; or cut off, at the earliest at the signature, and there or not.
    expect([...outcomes].sort()).toEqual(["0 1 0", "0 1 1", "1 0 1"]);
  }, 60_000);
});

test("the dead do nothing more", async () => {
  let ended = 0;
  const life = createLife(() => (ended += 1));
  life.endAfter(3);
  expect(await life.through(async () => 7)).toBe(7);
  const lost = life.through(async () => 8);
  expect(await Promise.race([lost, life.over.then(() => "over")])).toBe("over");
  expect(() => life.step()).toThrow(/no power/);
  expect(life.signal.aborted).toBe(true);
  expect(ended).toBe(1);
});

test("what was acknowledged and is gone, or rejected and is there, is noticed", async () => {
  const { siteId } = await identity(3);
  const device = { id: "n0", sites: [siteId] };
  const entry = { site: siteId, payload: new Uint8Array(0), bytes: 0 };
  const ledger = createLedger();
  ledger.acknowledged.push({ root: "a", fate: "kept" }, { root: "b", fate: "mayBeLost" });
  expect(() => checkLedger(device, ledger, [], true)).toThrow(/lost: n0 acknowledged/);
  expect(() => checkLedger(device, ledger, [{ ...entry, root: "a" }], true)).not.toThrow();
  ledger.rejected.push("c");
  const log = [
    { ...entry, root: "a" },
    { ...entry, root: "c" },
  ];
  expect(() => checkLedger(device, ledger, log, true)).toThrow(/kept all the same/);
  expect(() => checkLedger(device, ledger, log, false)).not.toThrow();
});

test("what no device of its author signed is noticed", async () => {
  const [{ siteId: site }, { siteId: other }] = [await identity(3), await identity(4)];
  const devices = [createLedger(), createLedger()].map((ledger) => ({ sites: [site], ledger }));
  devices[1]?.ledger.signed.add("a");
  const entry = { payload: new Uint8Array(0), bytes: 0 };
  const log = [
    { ...entry, site, root: "a" },
    { ...entry, site: other, root: "b" },
  ];
  expect(() => checkSigned(devices, log)).not.toThrow();
  expect(() => checkSigned(devices, [...log, { ...entry, site, root: "b" }])).toThrow(/forged/);
});

test("a Byzantine peer, whose rows are of the default schema, meets no schema of an app", async () => {
  const schema = { version: 1, tables: ["CREATE TABLE own (id TEXT PRIMARY KEY NOT NULL) STRICT"] };
  for (const seed of [13, 20, 22]) {
    const { byzantine } = await simulate({
      seed,
      schema,
      faults: ["byzantine"],
      write: (db) => db.exec("INSERT OR IGNORE INTO own VALUES ('a')").then(() => {}),
    });
    expect(byzantine).toEqual([]);
  }
  const ours = await simulate({ seed: 13, faults: ["byzantine"] });
  expect(ours.byzantine).not.toEqual([]);
}, 60_000);

test("clocks jump, the monotonic one never back", () => {
  const clock = createSimClock({ nowMs: () => 10, wallClockMs: () => 1_000 });
  clock.leap(-5);
  clock.setWallOffset(-600);
  expect([clock.nowMs(), clock.wallClockMs()]).toEqual([10, 400]);
  clock.leap(90);
  expect(clock.nowMs()).toBe(100);
});

test("a version released with two contents is noticed, unless its author may fork", async () => {
  const random = createSeededRandom(1);
  const faults: unknown[] = [];
  const watch = createReleaseWatch((fault) => faults.push(fault));
  for (const text of ["x'01'", "x'02'"]) {
    const device = await createDatabaseDevice({
      id: "n0",
      identity: 0,
      disk: "formatted",
      schemas: [ANIMALS],
      write: (db) => db.exec(`INSERT INTO tag VALUES (${text})`).then(() => {}),
      random,
    });
    const { store, write, close } = await device.open(
      createLife(() => {}),
      createSimClock({ nowMs: () => 0, wallClockMs: () => 0 }),
    );
    await write();
    await store.offer("on");
    const range = { site: device.site, stream: "data", first: 1, last: 1 } as const;
    const { runs } = await store.read(range, 1_000);
    watch.see(runs.map((bytes) => ({ type: "run", bytes })));
    await close();
  }
  expect(String(faults[0])).toMatch(/two contents were released under version 1/);
  expect(faults).toHaveLength(1);
});

test.each(["README.md", "docs/SIMULATION.md"])(
  "the example of %s runs",
  (path) => {
    const blocks = [...readFileSync(path, "utf8").matchAll(/```ts\n([\s\S]*?)```/g)];
    const [code] = blocks.flatMap(([, text = ""]) =>
      text.includes("rowmesh/testing") ? [text] : [],
    );
    expect(code).toContain("simulate({");
    const program = `import "${dist("cli/node20-polyfills.js")}";
${(code ?? "").replace('"rowmesh/testing"', `"${dist("testing/index.js")}"`).replace("<= 100", "<= 2")}
console.log("ran");`;
    const directory = temporaryDirectory();
    writeFileSync(join(directory, "example.mjs"), program);
    const printed = execFileSync(process.execPath, ["example.mjs"], {
      cwd: directory,
      encoding: "utf8",
      timeout: 110_000,
    });
    expect(printed).toBe("ran\n");
  },
  120_000,
);
