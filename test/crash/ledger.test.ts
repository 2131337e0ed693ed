/** What the kill loops count: each number can be other than 0. */
import { expect, test } from "vitest";
import { createLedger, createReleases, type Found, NOTHING_LOST } from "./ledger.ts";

const FOUND: Found = {
  integrity: "ok",
  rows: ["a", "b"],
  versions: ["me 1 h1", "me 2 h2", "you 1 y1"],
  halves: 0,
};

test("what was lost, changed, halved or damaged is counted once; what was not is not", () => {
  const releases = createReleases();
  const ledger = createLedger("here", releases);
  for (const row of FOUND.rows) ledger.acknowledgeRow(row);
  ledger.acknowledgeVersion("me", 2, "h2");
  ledger.acknowledgeHead("you", 1);
  releases.add("me", 1, "h1");
  ledger.check(FOUND, "me");
  expect(ledger.report("me")).toMatchObject({ ...NOTHING_LOST, versionsReleased: 1 });

  const damaged = { ...FOUND, integrity: "row 3 missing from index", rows: ["b"], halves: 2 };
  const rewound = { ...FOUND, versions: ["me 1 other"] };
  ledger.kill();
  ledger.stall();
  for (const found of [damaged, rewound, rewound]) ledger.check(found, "me");
  expect(ledger.report("me")).toEqual({
    place: "here",
    kills: 1,
    rowsAcknowledged: 2,
    rowsLost: 1,
    versionsAcknowledged: 2,
    versionsLost: 3,
    versionsReleased: 1,
    versionsReleasedTwice: 1,
    halfTransactions: 2,
    databasesDamaged: 1,
    syncStalls: 1,
  });
});
