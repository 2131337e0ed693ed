/** Chains that fork, and chains that wait for what never comes: a nuisance to their author only. */
import { expect, test } from "vitest";
import { packKey } from "../../src/db/packed-key.ts";
import { settled } from "../../src/db/settle.ts";
import type { ReplicaState } from "../../src/db/replica-state.ts";
import type { VerifiedChangeset } from "../../src/protocol/changeset.ts";
import { ZERO_HASH } from "../../src/protocol/ids.ts";
import { forge, rowPayload } from "../fixtures/forge.ts";
import { changesetsOf, entryOf, openReplica, pull } from "../fixtures/replicas.ts";

const payload = (id: string) =>
  rowPayload(0, {
    primaryKey: packKey([id]),
    cells: [{ column: 1, columnVersion: 1, value: "x" }],
  });

/** Versions `first`… of one author, one after the other, each with a row named after it. */
async function chainOf(
  author: number,
  branch: string,
  count: number,
  after: VerifiedChangeset | null = null,
): Promise<VerifiedChangeset[]> {
  const changesets: VerifiedChangeset[] = [];
  let previous = after;
  for (let i = 0; i < count; i++) {
    const version = (previous?.header.version ?? 0) + 1;
    const previousHash = previous?.headerHash ?? ZERO_HASH;
    previous = await forge(author, payload(`${branch}${version}`), { version, previousHash });
    changesets.push(previous);
  }
  return changesets;
}

test("[L4] branches that arrive in pieces are put together when they are sent again", async () => {
  const replica = await openReplica(1);
  const ours = await chainOf(60, "a", 6);
  const [one] = ours as [VerifiedChangeset];
  const theirs = await chainOf(60, "b", 5, one);
  const stranger = await chainOf(61, "s", 1);
  // Version 1, then 3 and 4 of the other branch beyond a gap, with 5 and 6 of ours beside them.
  const sent = [one, theirs[1], theirs[2], ours[4], ours[5], ours[1]] as VerifiedChangeset[];
  for (const each of sent) await replica.append([each]);
  const again = await replica.append([theirs[2], ...stranger] as VerifiedChangeset[]);
  expect(again[1]).toEqual({ verdict: "applied" });
  for (const each of ours) await replica.append([each]);
  expect(entryOf(replica, one.header.site)).toMatchObject({ head: 6, beyond: [] });
  expect(await replica.query("SELECT id FROM animal ORDER BY id")).toEqual(
    ["a1", "a2", "a3", "a4", "a5", "a6", "s1"].map((id) => ({ id })),
  );
  const hash = await replica.stateHash();
  await replica.rebuild();
  expect(await replica.stateHash()).toBe(hash);
  await replica.close();
});

test("[M1] who waits for a version that never comes is not looked at with every other", () => {
  const waiters = Array.from({ length: 3 }, () => ({ settled: 0 })) as never[];
  const state = {
    chains: { settle: (chain: { settled: number }) => void chain.settled++ },
    parked: new Map(),
    untried: new Set(),
    waitersBySite: new Map([
      [
        "aa",
        new Map([
          [waiters[0], 2],
          [waiters[1], 2 ** 48],
          [waiters[2], 2 ** 40],
        ]),
      ],
    ]),
  } as unknown as ReplicaState;
  const author = { site: "aa", settled: 0 } as never;
  settled(state, author, ZERO_HASH, []);
  expect(state.untried.size).toBe(0);
  settled(state, author, ZERO_HASH, []);
  expect([...state.untried]).toEqual([waiters[0]]);
  for (let i = 0; i < 9; i++) settled(state, author, ZERO_HASH, []);
  expect(state.untried.size).toBe(1);
});

test("[M1] causes that do not exist hold their own chain, and end when they come", async () => {
  const replica = await openReplica(1);
  const [cause1, cause2] = (await chainOf(62, "c", 2)) as [VerifiedChangeset, VerifiedChangeset];
  const { site } = cause2.header;
  const causes = { right: cause2.headerHash, wrong: "ab".repeat(32) };
  const waiting: VerifiedChangeset[] = [];
  for (const [at, hash] of Object.values(causes).entries()) {
    const hashPrefix = Uint8Array.from(Buffer.from(hash.slice(0, 16), "hex"));
    waiting.push(
      await forge(63 + at, payload(`w${at}`), { dependencies: [{ site, version: 2, hashPrefix }] }),
    );
  }
  const held = { verdict: "held" };
  expect(await replica.append(waiting)).toEqual([held, held]);
  await replica.append([cause1]);
  expect(replica.counts().held).toBe(2);
  await replica.append([cause2]);
  expect(replica.counts().held).toBe(1);
  expect(await replica.query("SELECT id FROM animal WHERE id LIKE 'w%'")).toEqual([{ id: "w0" }]);
  await replica.close();
});

test("[L7] what waits for an own changeset that was lost is merged when it comes back", async () => {
  const before = await openReplica(1);
  const peer = await openReplica(2);
  await before.exec("INSERT INTO animal (id) VALUES ('own1')");
  await before.exec("INSERT INTO animal (id) VALUES ('own2')");
  await pull(before, peer);
  await peer.exec("INSERT INTO animal (id) VALUES ('effect')");
  const own = await changesetsOf(peer, before.signer.siteId);
  const effect = await changesetsOf(peer, peer.signer.siteId);
  await before.close();
  // The same key on a disk that was rewound to version 1, with work of its own since.
  const rewound = await openReplica(1);
  await rewound.offer("off");
  await rewound.append(own.slice(0, 1));
  await rewound.exec("INSERT INTO animal (id) VALUES ('since')");
  expect(await rewound.append(effect)).toEqual([{ verdict: "held" }]);
  await rewound.append(own.slice(1));
  expect(await rewound.query("SELECT id FROM animal ORDER BY id")).toEqual(
    ["effect", "own1", "own2", "since"].map((id) => ({ id })),
  );
  expect(rewound.counts().held).toBe(0);
  await rewound.close();
  await peer.close();
});
