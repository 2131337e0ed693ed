/** `openMesh` as an app in Chromium has it: every call crosses to the worker and back. */
import type { Page } from "playwright-core";
import { expect, test, vi } from "vitest";
import { openHubMesh } from "../../src/node/open-mesh-node.ts";
import { systemRandom } from "../../src/node/system-seams.ts";
import { createWebrtcCertificate } from "../../src/node/webrtc-certificate.ts";
import type { Mesh } from "../../src/node/api.ts";
import { LOOPBACK, PLAIN_HTTP_HOST } from "../fixtures/chromium.ts";
import { meshPages } from "./mesh-pages.ts";

vi.setConfig({ testTimeout: 60_000 });

const { chromium, newPage, load, openPage } = meshPages();

let names = 0;
const newName = (): string => `test${++names}`;

test("what SQL refuses rejects with its code, is rolled back, and the next write is tracked", async () => {
  const page = await openPage();
  const seen = await page.evaluate(async (name) => {
    const { app } = globalThis;
    const { db, status } = await app.open({ name, storage: "memory" });
    const version = (): number => status().authors.find(({ local }) => local)?.version ?? 0;
    const mine = new RangeError("mine");
    const own = await db
      .transaction(async (tx) => {
        await tx.exec("INSERT INTO animal (id) VALUES ('lost')");
        throw mine;
      })
      .catch((error: unknown) => error === mine);
    const codes = await Promise.all([
      app.outcome(db.exec("SELEC 1")),
      app.outcome(db.exec("INSERT INTO nowhere VALUES (1)")),
      app.outcome(db.exec("INSERT INTO animal (id, legs) VALUES ('a', 'four')")),
      app.outcome(db.exec("INSERT INTO animal (id, legs) VALUES ('a', -1)")),
      app.outcome(db.exec("INSERT INTO animal (id) VALUES (NULL)")),
      app.outcome(db.exec("BEGIN")),
      app.outcome(db.exec("PRAGMA journal_mode")),
      app.outcome(
        db.transaction(async (tx) => {
          await tx.exec("INSERT INTO animal (id) VALUES ('lost')");
          await tx.exec("INSERT INTO animal (id, legs) VALUES ('b', -1)");
        }),
      ),
    ]);
    const lost = await db.query("SELECT count(*) AS n FROM animal");
    await db.exec("INSERT INTO animal (id, legs) VALUES ('kept', 4)");
    for (let i = 0; i < 100 && version() === 0; i++) await app.pause(50);
    return { own, codes, lost, version: version() };
  }, newName());
  expect(seen).toEqual({
    own: true,
    codes: [
      "ERR_SQL_FORBIDDEN",
      "ERR_SQL",
      "ERR_SQL",
      "ERR_SQL",
      "ERR_SQL",
      "ERR_SQL_FORBIDDEN",
      "ERR_SQL_FORBIDDEN",
      "ERR_SQL",
    ],
    lost: [{ n: 0 }],
    version: 1,
  });
});

test("signals and time limits reach the worker, and let the next call through", async () => {
  const page = await openPage();
  const seen = await page.evaluate(async (name) => {
    const { app } = globalThis;
    const { db } = await app.open({ name, storage: "memory" });
    const endless =
      "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    const late = app.outcome(
      db.transaction(
        async (tx) => {
          await tx.exec("INSERT INTO animal (id) VALUES ('late')");
          await tx.query(endless);
        },
        { timeoutMs: 300 },
      ),
    );
    const idle = new AbortController();
    const aborted = app.outcome(
      db.transaction(
        async (tx) => {
          await tx.exec("INSERT INTO animal (id) VALUES ('aborted')");
          idle.abort();
          await new Promise(() => undefined);
        },
        { signal: idle.signal },
      ),
    );
    const before = app.outcome(db.query("SELECT 1", [], { signal: AbortSignal.abort() }));
    const inside = app.outcome(
      db.transaction((tx) => tx.query("SELECT 1", [], { signal: AbortSignal.abort() })),
    );
    const waiting = new AbortController();
    const queued = app.outcome(db.query("SELECT 1", [], { signal: waiting.signal }));
    waiting.abort();
    const outcomes = await Promise.all([late, aborted, before, inside, queued]);
    return { outcomes, left: await db.query("SELECT id FROM animal") };
  }, newName());
  expect(seen.outcomes).toEqual([
    "ERR_TRANSACTION_TIMEOUT",
    "ERR_ABORTED",
    "ERR_ABORTED",
    "ERR_ABORTED",
    "ERR_ABORTED",
  ]);
  expect(seen.left).toEqual([]);
});

test.each(["opfs", "indexeddb"] as const)(
  "[M13] a page of the newer app upgrades the database in %s, and the older app says so",
  async (kind) => {
    const page = await openPage();
    const seen = await page.evaluate(
      async ({ name, storage }) => {
        const { app } = globalThis;
        const old = await app.open({ name, storage });
        await old.db.exec("INSERT INTO animal (id) VALUES ('a')");
        await old.close();
        const schema = {
          ...app.schema,
          version: 2,
          migrations: [{ statements: ["ALTER TABLE animal ADD COLUMN tame TEXT DEFAULT 'no'"] }],
        };
        const modern = await app.open({ name, storage, schema });
        await modern.db.exec("INSERT INTO animal (id, tame) VALUES ('b', 'yes')");
        const rows = await modern.db.query("SELECT id, tame FROM animal ORDER BY id");
        await modern.close();
        return { rows, older: await app.outcome(app.open({ name, storage })) };
      },
      { name: newName(), storage: kind },
    );
    expect(seen).toEqual({
      rows: [
        { id: "a", tame: "no" },
        { id: "b", tame: "yes" },
      ],
      older: "ERR_SCHEMA_NEWER",
    });
  },
);

test("values cross the worker as they are", async () => {
  const page = await openPage();
  const seen = await page.evaluate(async (name) => {
    const { db } = await globalThis.app.open({ name, storage: "memory" });
    const wide = new Uint8Array([9, 1, 0, 2, 9]);
    await db.exec("INSERT INTO animal VALUES (?, ?, ?, ?)", [
      "a\0b",
      2n ** 62n,
      5,
      wide.subarray(1, 4),
    ]);
    await db.exec("INSERT INTO animal VALUES (?, ?, ?, ?)", ["b", null, -0.5, new Uint8Array(0)]);
    const [a, b] = await db.query<{
      id: string;
      legs: bigint | null;
      weight: number;
      photo: Uint8Array;
      type: string;
    }>("SELECT *, typeof(weight) AS type FROM animal ORDER BY id");
    return [a, b].map((row) => ({
      id: row?.id,
      legs: typeof row?.legs === "bigint" ? `${row.legs}n` : row?.legs,
      weight: row?.weight,
      type: row?.type,
      photo: row?.photo instanceof Uint8Array ? [...row.photo] : "?",
    }));
  }, newName());
  expect(seen).toEqual([
    { id: "a\0b", legs: `${2n ** 62n}n`, weight: 5, type: "real", photo: [1, 0, 2] },
    { id: "b", legs: null, weight: -0.5, type: "real", photo: [] },
  ]);
});

test("a live query runs again only when a table it reads has changed; a wrong one says so", async () => {
  const page = await openPage();
  const seen = await page.evaluate(async (name) => {
    const { app } = globalThis;
    const { db } = await app.open({ name, storage: "memory" });
    // Other rows with every run, so that no run goes unseen.
    let runs = 0;
    const stop = db.watch("SELECT random() AS r, (SELECT count(*) FROM tag) AS n", [], () => {
      runs++;
    });
    const errors: unknown[] = [];
    db.watch("SELECT nothing", [], () => undefined, {
      onError: (error) => errors.push((error as { code?: string }).code),
    });
    const counts: number[] = [];
    for (const sql of [
      "SELECT 1",
      "INSERT INTO animal (id) VALUES ('a')",
      "INSERT INTO tag VALUES ('t')",
      "UPDATE animal SET legs = 4",
      "DELETE FROM tag",
    ]) {
      await db.exec(sql);
      // Whatever runs because of it has its turn before this.
      await db.query("SELECT 1");
      await app.pause(150);
      counts.push(runs);
    }
    stop();
    await db.exec("INSERT INTO tag VALUES ('u')");
    await app.pause(150);
    return { counts: [...counts, runs], errors };
  }, newName());
  expect(seen).toEqual({ counts: [1, 1, 2, 2, 3, 3], errors: ["ERR_SQL"] });
});

test.each(["opfs", "indexeddb"] as const)(
  "%s: what was committed, the checkpoint and the key outlive the page",
  async (storage) => {
    const page = await openPage();
    const name = newName();
    const first = await page.evaluate(
      async ([called, kind]) => {
        const mesh = await globalThis.app.open({ name: called, storage: kind, network: "off" });
        for (const id of ["a", "b", "c"]) {
          await mesh.db.exec("INSERT INTO animal (id) VALUES (?)", [id]);
        }
        let since = 0;
        for await (const { version, checkpoint } of mesh.events()) {
          if (version === 2) {
            since = checkpoint;
            break;
          }
        }
        const { kind: used, durable } = mesh.status().storage;
        return { site: mesh.siteId, since, used, durable, hash: await mesh.stateHash() };
      },
      [name, storage] as const,
    );
    await load(page);
    const second = await page.evaluate(
      async ([called, kind, since]) => {
        const mesh = await globalThis.app.open({ name: called, storage: kind, network: "off" });
        await mesh.db.exec("INSERT INTO animal (id) VALUES ('d')");
        const versions: number[] = [];
        for await (const { version } of mesh.events({ since })) {
          if (versions.push(version) === 2) break;
        }
        return { site: mesh.siteId, versions };
      },
      [name, storage, first.since] as const,
    );
    expect(first).toMatchObject({ used: storage, durable: true });
    expect(second).toEqual({ site: first.site, versions: [3, 4] });
  },
);

test("events that nobody follows end with their signal; close ends the others", async () => {
  const page = await openPage();
  const seen = await page.evaluate(async (name) => {
    const { app } = globalThis;
    const mesh = await app.open({ name, storage: "memory" });
    const controller = new AbortController();
    const follow = async (signal?: AbortSignal): Promise<string> => {
      for await (const event of mesh.events(signal === undefined ? {} : { signal })) {
        if (event.version < 0) return "?";
      }
      return "ended";
    };
    const aborted = follow(controller.signal);
    const closed = follow();
    const within = (promise: Promise<string>): Promise<string> =>
      Promise.race([promise, app.pause(3_000).then(() => "hangs")]);
    await app.pause(100);
    controller.abort();
    const first = await within(aborted);
    await mesh.close();
    return [first, await within(closed)];
  }, newName());
  expect(seen).toEqual(["ended", "ended"]);
});

test("on plain http one tab has a database, another is told so; closed, it opens again; later calls are refused", async () => {
  const [one, other] = [await openPage(PLAIN_HTTP_HOST), await openPage(PLAIN_HTTP_HOST)];
  const name = newName();
  await one.evaluate((called) => globalThis.app.open({ name: called }).then(() => null), name);
  const open = (page: Page): Promise<unknown> =>
    page.evaluate(
      (called) =>
        globalThis.app.outcome(globalThis.app.open({ name: called }).then(() => "opened")),
      name,
    );
  expect(await open(other)).toBe("ERR_STORAGE_LOCKED");
  expect(await open(one)).toBe("ERR_STORAGE_LOCKED");
  expect(await callsAfterClose(one)).toEqual(Array.from({ length: 7 }, () => "ERR_CLOSED"));
  expect(await open(other)).toBe("opened");
});

/** Of the mesh that is open in that page: what each call ends in when it was closed. */
const callsAfterClose = (page: Page): Promise<unknown[]> =>
  page.evaluate(async () => {
    const { app } = globalThis;
    const mesh = app.opened();
    await Promise.all([mesh.close(), mesh.close()]);
    return Promise.all([
      app.outcome(mesh.db.exec("SELECT 1")),
      app.outcome(mesh.db.query("SELECT 1")),
      app.outcome(mesh.db.transaction(async () => undefined)),
      app.outcome(mesh.stateHash()),
      app.outcome(mesh.invite()),
      app.outcome(mesh.online(true)),
      app.outcome(mesh.rebuild()),
    ]);
  });

test.each(["opfs", "indexeddb"] as const)(
  "%s: of two openings at once one leads, the other follows; an aborted one lets go; later calls are refused",
  async (storage) => {
    const page = await openPage();
    const seen = await page.evaluate(
      async ([name, kind]) => {
        const { app } = globalThis;
        const open = (signal?: AbortSignal): ReturnType<typeof app.open> =>
          app.open({ name, storage: kind, ...(signal === undefined ? {} : { signal }) });
        const both = await Promise.all([open(), open()]);
        const roles = both.map((mesh) => mesh.status().tab.role).sort();
        const aborted = [await app.outcome(open(AbortSignal.abort()))];
        await Promise.all(both.map((mesh) => mesh.close()));
        aborted.push(await app.outcome(open(AbortSignal.abort())));
        return [...roles, ...aborted, (await open()).status().tab.role];
      },
      [newName(), storage] as const,
    );
    expect(seen).toEqual(["follower", "leader", "ERR_ABORTED", "ERR_ABORTED", "leader"]);
    expect(await callsAfterClose(page)).toEqual(Array.from({ length: 7 }, () => "ERR_CLOSED"));
  },
);

test("mesh.db inside a transaction fails at once, or after an await with the time limit", async () => {
  const page = await openPage();
  const seen = await page.evaluate(async (name) => {
    const { app } = globalThis;
    const { db } = await app.open({ name, storage: "memory" });
    const outcome = await db
      .transaction(
        async (tx) => {
          await tx.exec("INSERT INTO tag VALUES ('outer')");
          await db.exec("INSERT INTO tag VALUES ('inner')");
        },
        { timeoutMs: 300 },
      )
      .catch((error: Error) => error.message);
    const atOnce = await Promise.all([
      app.outcome(db.transaction(() => db.exec("INSERT INTO tag VALUES ('inner')"))),
      app.outcome(db.transaction(() => db.transaction(async () => undefined))),
    ]);
    return { outcome, atOnce, outer: await db.query("SELECT 1 FROM tag WHERE id = 'outer'") };
  }, newName());
  expect(seen.outcome).toMatch(/^ERR_TRANSACTION_TIMEOUT: .*use its tx instead$/);
  expect(seen.atOnce).toEqual(["ERR_NESTED", "ERR_NESTED"]);
  expect(seen.outer).toEqual([]);
});

test("on a plain-http page the database is in IndexedDB", async () => {
  const page = await openPage(PLAIN_HTTP_HOST);
  const name = newName();
  const seen = await page.evaluate(async (called) => {
    const { app } = globalThis;
    const opfs = await app.outcome(app.open({ name: called, storage: "opfs" }));
    const mesh = await app.open({ name: called });
    await mesh.db.exec("INSERT INTO animal (id) VALUES ('a')");
    const { storage, platform } = mesh.status();
    await mesh.close();
    const again = await app.open({ name: called });
    return {
      opfs,
      secure: platform.secureContext,
      lacks: platform.lacks.map(({ feature }) => feature),
      kind: storage.kind,
      persisted: storage.persisted,
      eviction: storage.eviction,
      rows: await again.db.query("SELECT id FROM animal"),
    };
  }, name);
  expect(seen).toEqual({
    opfs: "ERR_STORAGE_UNAVAILABLE",
    secure: false,
    lacks: ["opfs", "service-worker", "web-locks", "webcrypto", "camera"],
    kind: "indexeddb",
    persisted: null,
    eviction: expect.stringMatching(/over HTTPS/),
    rows: [{ id: "a" }],
  });
});

async function openHub(transport: "udp/0/webrtc-direct" | "tcp/0/ws"): Promise<Mesh> {
  return openHubMesh(
    { name: "hub", storage: "memory" },
    {
      meshName: "test",
      listen: [`/ip4/${LOOPBACK}/${transport}`],
      certificate: await createWebrtcCertificate(systemRandom.bytes(8), Date.now()),
    },
  );
}

test("without gossip: drafts written before joining reach the other browser, and its rows come back", async () => {
  const hub = await openHub("udp/0/webrtc-direct");
  try {
    const link = await hub.invite();
    const [a, b] = [await openPage(), await openPage()];
    for (const [page, id] of [
      [a, "of a"],
      [b, "of b"],
    ] as const) {
      await page.evaluate(
        async ([name, row, invite]) => {
          const mesh = await globalThis.app.open({ name, storage: "memory", gossip: "off" });
          await mesh.db.exec("INSERT INTO animal (id) VALUES (?)", [row]);
          await mesh.join(invite);
        },
        [newName(), id, link] as const,
      );
    }
    for (const page of [a, b]) {
      const rows = await page.evaluate(async (hubId) => {
        const mesh = globalThis.app.opened();
        const other = () => mesh.status().peers.find((peer) => peer.link === "webrtc");
        const isDone = (): boolean =>
          mesh.status().converged && other()?.linkedTo.includes(hubId) === true;
        for (let i = 0; i < 400 && !isDone(); i++) await globalThis.app.pause(100);
        const { quality, lacks, linkedTo, queue } = other() ?? {};
        return {
          rows: await mesh.db.query("SELECT id FROM animal ORDER BY id"),
          other: { quality, lacks, linkedTo, queue },
          unsent: mesh.status().unsent,
        };
      }, hub.peerId);
      expect(rows).toEqual({
        rows: [{ id: "of a" }, { id: "of b" }],
        other: {
          quality: "good",
          lacks: [],
          linkedTo: [hub.peerId],
          queue: { unsentBytes: expect.any(Number), unhandledBytes: expect.any(Number) },
        },
        unsent: 0,
      });
    }
    // Over the link between the browsers alone.
    await hub.close();
    const arrived = b.evaluate(async () => {
      const { db } = globalThis.app.opened();
      for (let i = 0; i < 400; i++) {
        if ((await db.query("SELECT 1 FROM tag")).length === 1) return true;
        await globalThis.app.pause(100);
      }
      return false;
    });
    await a.evaluate(() => globalThis.app.opened().db.exec("INSERT INTO tag VALUES ('t')"));
    expect(await arrived).toBe(true);
  } finally {
    await hub.close();
  }
});

test("a browser without WebRTC is in step with a hub over WebSocket, and says what it lacks", async () => {
  const hub = await openHub("tcp/0/ws");
  try {
    const page = await newPage();
    await page.addInitScript(() => Reflect.deleteProperty(globalThis, "RTCPeerConnection"));
    await load(page);
    const seen = await page.evaluate(
      async ([name, invite]) => {
        const { app } = globalThis;
        const mesh = await app.open({ name, storage: "memory", join: invite });
        await mesh.db.exec("INSERT INTO animal (id) VALUES ('a')");
        const isDone = (): boolean => mesh.status().converged && mesh.status().unsent === 0;
        for (let i = 0; i < 200 && !isDone(); i++) await app.pause(100);
        return {
          isDone: isDone(),
          links: mesh.status().peers.map(({ link }) => link),
          lacks: mesh.status().platform.lacks.map(({ feature }) => feature),
          paired: await app.outcome(mesh.pair()),
        };
      },
      [newName(), await hub.invite()] as const,
    );
    expect(seen).toEqual({
      isDone: true,
      links: ["websocket"],
      lacks: ["webrtc"],
      paired: "ERR_NOT_SUPPORTED",
    });
    await expect.poll(() => hub.status().authors.map(({ version }) => version)).toContain(1);
  } finally {
    await hub.close();
  }
});

test("a browser without a hub founds a mesh of its drafts and invites; a damaged link is refused", async () => {
  const page = await openPage();
  const seen = await page.evaluate(async (name) => {
    const { app } = globalThis;
    const mesh = await app.open({ name, storage: "memory" });
    await mesh.db.exec("INSERT INTO animal (id) VALUES ('draft')");
    const unbound = mesh.status().meshId;
    const bad = await app.outcome(mesh.join("https://example.invalid/#nonsense"));
    const link = await mesh.invite({ role: "writer", baseUrl: location.href });
    return {
      unbound,
      bad,
      atHome: link.startsWith(location.href),
      again: (await mesh.invite({ baseUrl: location.href })) === link,
      bound: mesh.status().meshId !== null,
      rows: await mesh.db.query("SELECT id FROM animal"),
    };
  }, newName());
  expect(seen).toEqual({
    unbound: null,
    bad: "ERR_INVITE_INVALID",
    atHome: true,
    again: true,
    bound: true,
    rows: [{ id: "draft" }],
  });
});

test("the browser is asked to keep the data after the first commit; its answer and the room are shown", async () => {
  // A site of its own: Chromium gives sites that are used much what they ask for.
  const page = await openPage("localhost");
  // What it sets holds as long as the session.
  const session = await chromium().context.newCDPSession(page);
  const permit = (setting: "denied" | "granted") =>
    session.send("Browser.setPermission", {
      permission: { name: "persistent-storage" },
      setting,
      origin: new URL(page.url()).origin,
    });
  /** What is shown before the first commit, after it, and after a second and a join. */
  const openings = (name: string) =>
    page.evaluate(async (called) => {
      const { app } = globalThis;
      const { storage } = navigator;
      const persist = storage.persist.bind(storage);
      let asked = 0;
      storage.persist = () => {
        asked += 1;
        return persist();
      };
      const mesh = await app.open({ name: called, network: "off" });
      const look = async (isDone: () => boolean) => {
        for (let i = 0; i < 100 && !isDone(); i++) await app.pause(50);
        const { persisted, quotaBytes, eviction } = mesh.status().storage;
        return { asked, persisted, isRoomKnown: (quotaBytes ?? 0) > 0, eviction };
      };
      const isKnown = (): boolean => mesh.status().storage.persisted !== null;
      const isAsked = (times: number): boolean =>
        asked === times || mesh.status().storage.persisted === true;
      await mesh.db.query("SELECT 1");
      const before = await look(isKnown);
      await mesh.db.exec("INSERT INTO animal (id) VALUES ('a')");
      const after = await look(() => isAsked(1));
      await mesh.db.exec("INSERT INTO animal (id) VALUES ('b')");
      const other = await app.open({ name: `${called}-host`, storage: "memory", network: "off" });
      const link = await other.invite();
      await other.close();
      await mesh.join(link);
      const joined = await look(() => isAsked(2));
      const { notices, unsent, platform, tab } = mesh.status();
      await mesh.close();
      storage.persist = persist;
      return { before, after, joined, notices, unsent, platform, tab };
    }, name);
  await permit("denied");
  const refused = await openings(newName());
  await permit("granted");
  const granted = await openings(newName());
  const no = { persisted: false, isRoomKnown: true, eviction: expect.stringMatching(/may delete/) };
  expect(refused).toMatchObject({
    before: { ...no, asked: 0 },
    after: { ...no, asked: 1 },
    joined: { ...no, asked: 2 },
    unsent: 2,
    platform: { secureContext: true, lacks: [] },
    tab: { role: "leader" },
  });
  expect(refused.notices[0]).toMatch(/^2 of your changes are known to no other device\./);
  // Nobody is bothered for what is granted already.
  const yes = { asked: 0, persisted: true, eviction: expect.stringMatching(/promised to keep/) };
  expect(granted).toMatchObject({ before: yes, after: yes, joined: yes });
  expect(granted.notices.join()).not.toMatch(/no other device/);
});
