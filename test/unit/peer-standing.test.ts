import { expect, test } from "vitest";
import {
  BAN_FIRST_MS,
  createPeerStanding,
  FORGIVE_BAN_MS,
  FORGIVE_STRIKE_MS,
} from "../../src/node/peer-standing.ts";
import { STANDINGS_MAX, STRIKES_MAX } from "../../src/protocol/limits.ts";

const strikeOut = (standing: ReturnType<typeof createPeerStanding>, nowMs: number) =>
  Array.from({ length: STRIKES_MAX }, () => standing.strike("p", "ERR_LIMIT", nowMs)).at(-1);

test("the last strike bans, for twice as long each time", () => {
  const standing = createPeerStanding();
  for (let i = 1; i < STRIKES_MAX; i++) expect(standing.strike("p", "ERR_LIMIT", 0)).toBeNull();
  expect(standing.isBanned("p", 0)).toBe(false);
  expect(standing.strike("p", "ERR_LIMIT", 0)).toBe(BAN_FIRST_MS);
  expect(standing.isBanned("p", BAN_FIRST_MS - 1)).toBe(true);
  expect(standing.isBanned("p", BAN_FIRST_MS)).toBe(false);
  expect(standing.isBanned("q", 0)).toBe(false);
  expect(strikeOut(standing, BAN_FIRST_MS)).toBe(3 * BAN_FIRST_MS);
});

test("one strike a minute is forgiven for ever", () => {
  const standing = createPeerStanding();
  for (let i = 0; i < 100; i++)
    expect(standing.strike("p", "ERR_LIMIT", i * FORGIVE_STRIKE_MS)).toBeNull();
});

test("a ban is forgiven for each hour without a strike after it", () => {
  const standing = createPeerStanding();
  let nowMs = 0;
  const fallAsleep = () => (standing.strike("phone", "ERR_HELLO_MISSING", nowMs) ?? 0) - nowMs;
  for (let day = 0; day < 100; day++) {
    expect(fallAsleep()).toBe(BAN_FIRST_MS);
    nowMs += 24 * FORGIVE_BAN_MS;
  }
  // Twice within the hour is twice as long, as ever.
  expect(fallAsleep()).toBe(BAN_FIRST_MS);
  nowMs += BAN_FIRST_MS + FORGIVE_BAN_MS - 1;
  expect(fallAsleep()).toBe(2 * BAN_FIRST_MS);
  nowMs += 2 * BAN_FIRST_MS + FORGIVE_BAN_MS;
  expect(fallAsleep()).toBe(2 * BAN_FIRST_MS);
});

test("it remembers a bounded number of peers, the latest offenders", () => {
  const standing = createPeerStanding();
  strikeOut(standing, 0);
  for (let i = 0; i < STANDINGS_MAX - 1; i++) standing.strike(`other ${i}`, "ERR_LIMIT", 0);
  expect(standing.isBanned("p", 1)).toBe(true);
  standing.strike("one more", "ERR_LIMIT", 0);
  expect(standing.isBanned("p", 1)).toBe(false);
});

test("a peer of another mesh, one that never says hello or contradicts itself goes at once", () => {
  for (const code of ["ERR_WRONG_MESH", "ERR_HELLO_MISSING", "ERR_CLAIM_FALSE"] as const) {
    const standing = createPeerStanding();
    expect(standing.strike("p", code, 0)).toBe(BAN_FIRST_MS);
    expect(standing.strike("p", code, BAN_FIRST_MS)).toBe(3 * BAN_FIRST_MS);
  }
});
