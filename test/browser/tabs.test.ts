/** Several tabs of one origin share one database and one place in the mesh, whichever of them ends. */
import type { Page } from "playwright-core";
import { expect, test, vi } from "vitest";
import { openHubMesh } from "../../src/node/open-mesh-node.ts";
import type { Pairing } from "../../src/node/api.ts";
import { systemRandom } from "../../src/node/system-seams.ts";
import { createWebrtcCertificate } from "../../src/node/webrtc-certificate.ts";
import { LOOPBACK } from "../fixtures/chromium.ts";
import { meshPages } from "./mesh-pages.ts";

vi.setConfig({ testTimeout: 60_000 });

const { openPage, gone } = meshPages();

let names = 0;
const newName = (): string => `tabs${++names}`;

/** One after another: the first leads. */
async function openTabs(count: number, name: string): Promise<Page[]> {
  const tabs: Page[] = [];
  for (let i = 0; i < count; i++) {
    const page = await openPage();
    await page.evaluate((called) => globalThis.app.open({ name: called }).then(() => null), name);
    tabs.push(page);
  }
  return tabs;
}

const roleOf = (page: Page): Promise<string> =>
  page.evaluate(() => globalThis.app.opened().status().tab.role);

const isOnline = (page: Page): Promise<boolean> =>
  page.evaluate(() => globalThis.app.opened().status().online);

const idsIn = (page: Page): Promise<unknown[]> =>
  page.evaluate(async () =>
    (await globalThis.app.opened().db.query("SELECT id FROM animal ORDER BY id")).map(
      ({ id }) => id,
    ),
  );

/** The process of the page dies, as if killed. */
async function kill(page: Page): Promise<void> {
  const session = await page.context().newCDPSession(page);
  const crashed = page.waitForEvent("crash");
  // Nobody is left to answer.
  session.send("Page.crash").catch(() => undefined);
  await crashed;
}

/** Writes on and on, each row once; the page keeps what it was told of each. */
const startWriting = (page: Page, tag: string): Promise<void> =>
  page.evaluate((called) => {
    const { app } = globalThis;
    const { db } = app.opened();
    const writes = { going: true, told: [] as [string, unknown][], longestMs: 0 };
    const write = async (id: string, kind: number): Promise<unknown> => {
      const insert = "INSERT INTO animal (id) VALUES (?)";
      if (kind === 0) return db.exec(insert, [id]);
      if (kind === 1) return (await db.query(`${insert} RETURNING id`, [id])).length;
      if (kind === 2) return db.execMany(insert, [[id]]);
      return db.transaction(async (tx) => {
        await tx.query("SELECT count(*) FROM animal");
        return tx.exec(insert, [id]);
      });
    };
    const loop = async (lane: number): Promise<void> => {
      for (let i = 0; writes.going; i++) {
        const id = `${called} ${lane} ${i}`;
        const sinceMs = performance.now();
        writes.told.push([id, await app.outcome(write(id, lane))]);
        writes.longestMs = Math.max(writes.longestMs, performance.now() - sinceMs);
      }
    };
    Object.assign(globalThis, { writes, written: Promise.all([0, 1, 2, 3].map(loop)) });
  }, tag);

interface Written {
  readonly told: readonly (readonly [string, unknown])[];
  readonly longestMs: number;
}

const stopWriting = (page: Page): Promise<Written> =>
  page.evaluate(async () => {
    const { writes, written } = globalThis as unknown as {
      readonly writes: Written & { going: boolean };
      readonly written: Promise<unknown>;
    };
    writes.going = false;
    await written;
    return { told: writes.told, longestMs: writes.longestMs };
  });

const POLL = { timeout: 20_000 };

const toldCount = (page: Page): Promise<number> =>
  page.evaluate(() => (globalThis as unknown as { writes: Written }).writes.told.length);

/** Who a page says it is in the mesh. */
const placeOf = (page: Page): Promise<unknown> =>
  page.evaluate(() => {
    const { peerId, siteId, status } = globalThis.app.opened();
    const { tab, meshId, online, peers } = status();
    return { peerId, siteId, role: tab.role, meshId, online, peers: peers.length };
  });

test(
  "tabs share rows, live queries and events both ways, and are one peer of the mesh",
  { timeout: 90_000 },
  async () => {
    const hub = await openHubMesh(
      { name: "hub", storage: "memory" },
      {
        meshName: "test",
        listen: [`/ip4/${LOOPBACK}/udp/0/webrtc-direct`],
        certificate: await createWebrtcCertificate(systemRandom.bytes(8), Date.now()),
      },
    );
    try {
      const [leader, follower, third] = (await openTabs(3, newName())) as [Page, Page, Page];
      for (const page of [leader, follower, third]) {
        await page.evaluate(() => {
          const { db, events } = globalThis.app.opened();
          const seen = { rows: [] as unknown[], events: [] as number[] };
          Object.assign(globalThis, { seen });
          db.watch("SELECT id FROM animal ORDER BY id", [], ({ rows }) => {
            seen.rows = rows.map(({ id }) => id);
          });
          void (async () => {
            for await (const { checkpoint } of events()) seen.events.push(checkpoint);
          })();
        });
      }
      await third.evaluate((link) => globalThis.app.opened().join(link), await hub.invite());
      await follower.evaluate(() =>
        globalThis.app.opened().db.exec("INSERT INTO animal (id) VALUES ('of the follower')"),
      );
      await leader.evaluate(() =>
        globalThis.app.opened().db.transaction(async (tx) => {
          await tx.exec("INSERT INTO animal (id) VALUES ('of the leader')");
        }),
      );
      for (const page of [leader, follower, third]) {
        await expect
          .poll(() => page.evaluate(() => (globalThis as unknown as { seen: unknown }).seen), {
            timeout: 10_000,
          })
          .toEqual({ rows: ["of the follower", "of the leader"], events: [1, 2] });
      }
      await expect
        .poll(() => hub.status().peers.map(({ link, sameDigest }) => ({ link, sameDigest })), {
          timeout: 20_000,
        })
        .toEqual([{ link: "webrtc-direct", sameDigest: true }]);
      const bundle = await follower.evaluate(async () => {
        const { exportBundle, importBundle } = globalThis.app.opened();
        const chunks: Uint8Array[] = [];
        for await (const chunk of exportBundle()) chunks.push(chunk);
        return importBundle(chunks);
      });
      expect(bundle).toMatchObject({ complete: true, byVerdict: { known: 2 } });
      const [peer] = hub.status().peers;
      const author = hub.status().authors.find(({ local }) => !local);
      const same = {
        peerId: peer?.peerId,
        siteId: author?.siteId,
        meshId: hub.status().meshId,
        online: true,
        peers: 1,
      };
      await expect
        .poll(() => Promise.all([leader, follower, third].map(placeOf)), POLL)
        .toEqual([
          { ...same, role: "leader" },
          { ...same, role: "follower" },
          { ...same, role: "follower" },
        ]);
      await kill(leader);
      gone(leader);
      await third.evaluate(() =>
        globalThis.app.opened().db.exec("INSERT INTO animal (id) VALUES ('after the leader')"),
      );
      const atHub = (): unknown => {
        const { peers, authors } = hub.status();
        return {
          peers: peers.map(({ peerId, link, sameDigest }) => ({ peerId, link, sameDigest })),
          versions: authors.filter(({ local }) => !local).map(({ version }) => version),
        };
      };
      // The hub has to let the killed process's connection go first.
      await expect.poll(atHub, { timeout: 45_000 }).toEqual({
        peers: [{ peerId: same.peerId, link: "webrtc-direct", sameDigest: true }],
        versions: [3],
      });
    } finally {
      await hub.close();
    }
  },
);

interface Followed {
  readonly checkpoints: readonly number[];
  readonly rows: number;
}

/** Follows events and a live query; the page keeps what it was told. */
const startFollowing = (page: Page): Promise<void> =>
  page.evaluate(() => {
    const { db, events } = globalThis.app.opened();
    const followed = { checkpoints: [] as number[], rows: 0 };
    Object.assign(globalThis, { followed });
    db.watch("SELECT count(*) AS count FROM animal", [], ({ rows }) => {
      followed.rows = Number(rows[0]?.["count"]);
    });
    void (async () => {
      for await (const { checkpoint } of events()) followed.checkpoints.push(checkpoint);
    })();
  });

const followedBy = (page: Page): Promise<Followed> =>
  page.evaluate(() => (globalThis as unknown as { followed: Followed }).followed);

test("leaders close, end, are killed while others write: every write is there once, or its error says that it is not", async () => {
  const [polite, closed, killed, ...writers] = (await openTabs(5, newName())) as [
    Page,
    Page,
    Page,
    Page,
    Page,
  ];
  for (const [at, page] of writers.entries()) {
    await startFollowing(page);
    await startWriting(page, `tab ${at}`);
  }
  const goOn = async (): Promise<void> => {
    const before = await Promise.all(writers.map(toldCount));
    for (const [at, page] of writers.entries()) {
      await expect.poll(() => toldCount(page), POLL).toBeGreaterThan((before[at] ?? 0) + 40);
    }
  };
  await goOn();
  // They lead in the order in which they were opened.
  await polite.evaluate(() => globalThis.app.opened().close());
  await goOn();
  await closed.close();
  await goOn();
  expect(await roleOf(killed)).toBe("leader");
  await kill(killed);
  gone(killed);
  await goOn();
  const written = await Promise.all(writers.map(stopWriting));
  console.log(
    "a write under way when its leader ended took at most",
    `${Math.round(Math.max(...written.map(({ longestMs }) => longestMs)))} ms`,
  );
  const told = written.flatMap((one) => one.told);
  const acknowledged = told.filter(([, outcome]) => outcome === 1).map(([id]) => id);
  const refused = told.filter(([, outcome]) => outcome !== 1);
  expect(await idsIn(writers[0])).toEqual(acknowledged.sort());
  expect(refused.filter(([, outcome]) => outcome !== "ERR_TAB_LOST")).toEqual([]);
  // One transaction at most was under way, of either tab.
  expect(refused.length).toBeLessThanOrEqual(3);
  expect((await Promise.all(writers.map(roleOf))).sort()).toEqual(["follower", "leader"]);
  for (const page of writers) {
    await expect
      .poll(() => followedBy(page), POLL)
      .toEqual({
        checkpoints: acknowledged.map((_, at) => at + 1),
        rows: acknowledged.length,
      });
  }
});

test("a tab with a newer schema takes over, the older ones follow it; other tables of the same version are refused", async () => {
  const name = newName();
  const [first, second] = (await openTabs(2, name)) as [Page, Page];
  await second.evaluate(() =>
    globalThis.app.opened().db.exec("INSERT INTO animal (id) VALUES ('before')"),
  );
  const newer = await openPage();
  // Under way when the newer tab comes: the one at work is finished, the other waits for what follows.
  const slow = first.evaluate(() => {
    const { app } = globalThis;
    const written = app.opened().db.transaction(async (tx) => {
      await tx.exec("INSERT INTO animal (id) VALUES ('slow')");
      await app.pause(1_000);
      return tx.exec("INSERT INTO animal (id) VALUES ('slow too')");
    });
    return app.outcome(written);
  });
  const behind = second.evaluate(() => {
    const { app } = globalThis;
    return app.outcome(app.opened().db.exec("INSERT INTO animal (id) VALUES ('behind')"));
  });
  const opened = await newer.evaluate(async (called) => {
    const { app } = globalThis;
    const schema = {
      ...app.schema,
      version: 2,
      migrations: [{ statements: ["ALTER TABLE animal ADD COLUMN name TEXT"] }],
    };
    const mesh = await app.open({ name: called, schema });
    await mesh.db.exec("INSERT INTO animal (id, name) VALUES ('newer', 'Ada')");
    return mesh.status().tab.role;
  }, name);
  expect(opened).toBe("leader");
  expect(await Promise.all([slow, behind])).toEqual([1, 1]);
  for (const [page, id] of [
    [first, "first"],
    [second, "second"],
  ] as const) {
    await page.evaluate(
      (row) => globalThis.app.opened().db.exec("INSERT INTO animal (id) VALUES (?)", [row]),
      id,
    );
    expect(await roleOf(page)).toBe("follower");
  }
  const late = await openPage();
  const otherTables = await late.evaluate((called) => {
    const { app } = globalThis;
    const schema = {
      ...app.schema,
      version: 2,
      migrations: [{ statements: ["ALTER TABLE animal ADD COLUMN other TEXT"] }],
    };
    return app.outcome(app.open({ name: called, schema }));
  }, name);
  expect(otherTables).toBe("ERR_SCHEMA_INVALID");
  expect(await idsIn(newer)).toEqual([
    "before",
    "behind",
    "first",
    "newer",
    "second",
    "slow",
    "slow too",
  ]);
  // Nobody is left who knows the file's schema.
  await newer.close();
  await expect
    .poll(
      () =>
        first.evaluate(() => {
          const { app } = globalThis;
          return app.outcome(app.opened().db.query("SELECT 1"));
        }),
      POLL,
    )
    .toBe("ERR_SCHEMA_NEWER");
  expect(
    await late.evaluate((called) => {
      const { app } = globalThis;
      return app.outcome(app.open({ name: called }));
    }, name),
  ).toBe("ERR_SCHEMA_NEWER");
});

test("a follower's open transaction ends with its tab, at once", async () => {
  const [leader, follower] = (await openTabs(2, newName())) as [Page, Page];
  await follower.evaluate(
    () =>
      new Promise<void>((begun) => {
        const { db } = globalThis.app.opened();
        void db.transaction(
          async (tx) => {
            await tx.exec("INSERT INTO animal (id) VALUES ('lost')");
            begun();
            await new Promise(() => undefined);
          },
          { timeoutMs: 1_000_000 },
        );
      }),
  );
  const waiting = leader.evaluate(() =>
    globalThis.app.opened().db.exec("INSERT INTO animal (id) VALUES ('kept')"),
  );
  await kill(follower);
  gone(follower);
  expect(await waiting).toBe(1);
  expect(await idsIn(leader)).toEqual(["kept"]);
});

test("five tabs opened at once: one leads; what the app wants of the network holds for all, also after its end", async () => {
  const name = newName();
  const tabs = await Promise.all(Array.from({ length: 5 }, openPage));
  await Promise.all(
    tabs.map((page, at) =>
      page.evaluate(
        async ([called, id]) => {
          const mesh = await globalThis.app.open({ name: called });
          await mesh.db.exec("INSERT INTO animal (id) VALUES (?)", [id]);
        },
        [name, `of ${at}`] as const,
      ),
    ),
  );
  const roles = await Promise.all(tabs.map(roleOf));
  expect(roles.filter((role) => role === "leader")).toHaveLength(1);
  for (const page of tabs) expect(await idsIn(page)).toHaveLength(5);
  const leader = tabs[roles.indexOf("leader")] as Page;
  const [one, another] = tabs.filter((page) => page !== leader) as [Page, Page];
  await one.evaluate(() => globalThis.app.opened().invite());
  await expect.poll(() => isOnline(another), POLL).toBe(true);
  await one.evaluate(() => globalThis.app.opened().online(false));
  expect(await isOnline(one)).toBe(false);
  await expect.poll(() => isOnline(another), POLL).toBe(false);
  await leader.close();
  await expect
    .poll(
      async () => (await Promise.all(tabs.filter((page) => page !== leader).map(roleOf))).sort(),
      POLL,
    )
    .toEqual(["follower", "follower", "follower", "leader"]);
  await expect.poll(() => isOnline(another), POLL).toBe(false);
  await another.evaluate(() => globalThis.app.opened().online(true));
  await expect.poll(() => isOnline(one), POLL).toBe(true);
});

test("the leader's worker ends: reads are asked again, what may have been written is said so, and all goes on", async () => {
  const leader = await openPage();
  const name = newName();
  const seen = await leader.evaluate(async (called) => {
    const { app } = globalThis;
    const workers: Worker[] = [];
    const Native = globalThis.Worker;
    globalThis.Worker = class extends Native {
      constructor(url: string | URL, options?: WorkerOptions) {
        super(url, options);
        workers.push(this);
      }
    };
    const mesh = await app.open({ name: called });
    await mesh.db.exec("INSERT INTO animal (id) VALUES ('before')");
    const inside = mesh.db.transaction(async (tx) => {
      await tx.exec("INSERT INTO animal (id) VALUES ('lost')");
      workers[0]?.terminate();
      await tx.exec("INSERT INTO animal (id) VALUES ('lost too')");
    });
    const [transaction, write, read] = await Promise.all([
      app.outcome(inside),
      app.outcome(mesh.db.exec("INSERT INTO animal (id) VALUES ('unknown')")),
      app.outcome(mesh.db.query("SELECT id FROM animal ORDER BY id")),
    ]);
    await mesh.db.exec("INSERT INTO animal (id) VALUES ('later')");
    return { transaction, write, read, role: mesh.status().tab.role, workers: workers.length };
  }, name);
  expect(seen).toEqual({
    transaction: "ERR_TAB_LOST",
    write: "ERR_STORAGE_LOST",
    read: [{ id: "before" }],
    role: "leader",
    workers: 2,
  });
  expect(await idsIn(leader)).toEqual(["before", "later"]);
});

const newCode = (page: Page): Promise<string> =>
  page.evaluate(async () => {
    const pairing = await globalThis.app.opened().pair();
    Object.assign(globalThis, { pairing });
    return pairing.code;
  });

const connect = (page: Page, code: string): Promise<unknown> =>
  page.evaluate((text) => {
    const { app, pairing } = globalThis as typeof globalThis & { readonly pairing: Pairing };
    const { fingerprint } = pairing.read(text);
    return app.outcome(
      pairing.connect(text).then((peer) => peer.fingerprint === fingerprint && "linked"),
    );
  }, code);

test("a follower pairs through the leader's window, and sees its pairing end with it", async () => {
  const name = newName();
  const [leader, follower] = (await openTabs(2, name)) as [Page, Page];
  const [other] = (await openTabs(1, newName())) as [Page];
  const codes = [await newCode(follower), await newCode(other)] as const;
  expect(await Promise.all([connect(follower, codes[1]), connect(other, codes[0])])).toEqual([
    "linked",
    "linked",
  ]);
  await follower.evaluate(() =>
    globalThis.app.opened().db.exec("INSERT INTO animal (id) VALUES ('paired')"),
  );
  await expect.poll(() => idsIn(other), POLL).toEqual(["paired"]);
  await newCode(follower);
  const code = await newCode(other);
  await leader.close();
  await expect.poll(() => roleOf(follower), POLL).toBe("leader");
  expect(await connect(follower, code)).toBe("ERR_PAIRING_FAILED");
});

test("a leader that does not answer is told of, until it does again", async () => {
  const [leader, follower] = (await openTabs(2, newName())) as [Page, Page];
  const notices = (): Promise<readonly string[]> =>
    follower.evaluate(() => globalThis.app.opened().status().notices);
  const silent = expect.stringContaining("does not answer") as unknown;
  const held = leader.evaluate(() => {
    const { app } = globalThis;
    const endless =
      "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    return app.outcome(
      app.opened().db.transaction((tx) => tx.query(endless), { timeoutMs: 11_000 }),
    );
  });
  await expect.poll(notices, POLL).toContainEqual(silent);
  expect(await held).toBe("ERR_TRANSACTION_TIMEOUT");
  await expect.poll(notices, POLL).not.toContainEqual(silent);
});

test("a transaction without end, of a follower, does not keep the database from a newer tab", async () => {
  const name = newName();
  const [, second] = (await openTabs(2, name)) as [Page, Page];
  await second.evaluate(
    () =>
      new Promise<void>((begun) => {
        const { app } = globalThis;
        const written = app.opened().db.transaction(
          async (tx) => {
            await tx.exec("INSERT INTO animal (id) VALUES ('lost')");
            begun();
            await new Promise(() => undefined);
          },
          { timeoutMs: 1_000_000 },
        );
        Object.assign(globalThis, { endless: app.outcome(written) });
      }),
  );
  const newer = await openPage();
  await newer.evaluate(async (called) => {
    const { app } = globalThis;
    const migrations = [{ statements: ["ALTER TABLE animal ADD COLUMN name TEXT"] }];
    await app.open({ name: called, schema: { ...app.schema, version: 2, migrations } });
  }, name);
  const outcome = await second.evaluate(
    () => (globalThis as typeof globalThis & { endless: Promise<unknown> }).endless,
  );
  expect(outcome).toBe("ERR_TAB_LOST");
  expect(await idsIn(newer)).toEqual([]);
});
