import { expect, test } from "vitest";
import type { ChangeEvent } from "../../src/db/change-events.ts";
import type { ReplicaDatabase } from "../../src/db/replica-database.ts";
import { openReplica, pull } from "../fixtures/replicas.ts";

/** Everything that was queued before is delivered. */
const settled = async (db: ReplicaDatabase): Promise<void> => {
  await db.query("SELECT 1");
  await new Promise((resolve) => setTimeout(resolve, 0));
  await db.query("SELECT 1");
};

test("[Q1] a live query runs again after commits that touch what it reads, and only then", async () => {
  const a = await openReplica(1);
  const b = await openReplica(2);
  const counts: unknown[] = [];
  let others = 0;
  const stop = a.watch("SELECT count(*) AS n FROM animal", [], ({ rows }) =>
    counts.push(rows[0]?.["n"]),
  );
  // Other rows with every run, so that no run goes unseen.
  a.watch("SELECT random() AS r, (SELECT count(*) FROM tag) AS n", [], () => others++);
  await settled(a);
  expect(counts).toEqual([0]);
  await a.exec("INSERT INTO animal (id) VALUES ('x')");
  await settled(a);
  expect(counts).toEqual([0, 1]);
  // Same rows: nothing to tell.
  await a.exec("UPDATE animal SET legs = 4");
  await a
    .transaction(async (tx) => {
      await tx.exec("DELETE FROM animal");
      throw new RangeError("no");
    })
    .catch(() => {});
  await settled(a);
  expect(counts).toEqual([0, 1]);
  await b.exec("INSERT INTO animal (id) VALUES ('y')");
  await pull(b, a);
  await settled(a);
  expect(counts).toEqual([0, 1, 2]);
  expect(others).toBe(1);
  stop();
  await a.exec("INSERT INTO animal (id) VALUES ('z')");
  await settled(a);
  expect(counts).toEqual([0, 1, 2]);
  await a.close();
  await b.close();
});

test("[Q1] many commits in a row are told of together; a wrong query is told once", async () => {
  const a = await openReplica(1);
  const seen: unknown[] = [];
  const errors: string[] = [];
  a.watch("SELECT max(legs) AS n FROM animal", [], ({ rows }) => seen.push(rows[0]?.["n"]));
  const onError = (error: Error): void =>
    void errors.push((error as { code?: string }).code ?? "?");
  a.watch("SELECT nothing", [], () => {}, { onError });
  a.watch("DELETE FROM animal", [], () => {}, { onError });
  await settled(a);
  await Promise.all(
    Array.from({ length: 50 }, async (_, legs) =>
      a.exec("INSERT INTO animal (id, legs) VALUES (?, ?)", [`${legs}`, legs]),
    ),
  );
  await settled(a);
  expect(seen.at(-1)).toBe(49);
  expect(seen.length).toBeLessThan(10);
  expect(errors).toEqual(["ERR_SQL", "ERR_SQL_FORBIDDEN"]);
  await a.close();
});

test("[Q2] change events come in merge order, resume after a checkpoint, go on live, and end", async () => {
  const a = await openReplica(1);
  const b = await openReplica(2);
  await a.exec("INSERT INTO animal (id) VALUES ('x'), ('y')");
  await b.exec("INSERT INTO tag VALUES (x'01')");
  await pull(b, a);
  const controller = new AbortController();
  const events: ChangeEvent[] = [];
  const reading = (async () => {
    for await (const event of a.events({ signal: controller.signal })) {
      events.push(event);
      if (events.length === 3) controller.abort();
    }
  })();
  await settled(a);
  await a.exec("DELETE FROM animal WHERE id = 'x'");
  await reading;
  expect(events.map(({ local, version, tables }) => [local, version, tables])).toEqual([
    [true, 1, [{ table: "animal", rows: 2 }]],
    [false, 1, [{ table: "tag", rows: 1 }]],
    [true, 2, [{ table: "animal", rows: 1 }]],
  ]);
  const resumed: ChangeEvent[] = [];
  for await (const event of a.events({ since: events[1]?.checkpoint ?? 0 })) {
    resumed.push(event);
    if (resumed.length === 1) await a.close();
  }
  expect(resumed).toEqual(events.slice(2));
  await b.close();
});
