/**
 * What a Byzantine peer does, by name. Each strategy says something on its own every half second of
 * virtual time, and may answer wants in its own way; whatever it does not answer is answered from
 * what it signed, as an honest peer would.
 *
 * @module
 */

import { packKey } from "../db/packed-key.ts";
import { ByteWriter } from "../protocol/bytes.ts";
import { meshId, type SiteId, siteId, toHex } from "../protocol/ids.ts";
import {
  CLOCK_MAX,
  CHUNK_BYTES,
  VECTOR_ENTRIES_MAX,
  VERSION_MAX,
  WANT_BYTES_MAX,
} from "../protocol/limits.ts";
import type { Message, WantMessage } from "../protocol/messages.ts";
import { encodePayload, type RowChanges } from "../protocol/payload.ts";
import type { VectorEntry } from "../protocol/version-vector.ts";
import type { Random } from "../seams.ts";
import { broadcastOf, rowWithClocks, type Wares } from "./byzantine-wares.ts";

/** One victim, as a strategy sees it. */
interface Victim {
  /** By its hello. */
  readonly site: SiteId | null;
  /** What it claimed last, by author. */
  readonly entries: ReadonlyMap<SiteId, VectorEntry>;
  readonly say: (message: Message) => void;
  /** A frame as it is. */
  readonly bytes: (frame: Uint8Array) => void;
  /** Wants of it that were not answered yet. */
  readonly wants: WantMessage[];
  /** Half seconds since the link came up. */
  readonly age: number;
}

interface Scene {
  readonly random: Random;
  readonly wares: Wares;
  readonly broadcast: (bytes: Uint8Array) => void;
  /** Broadcasts of others, as they came. */
  readonly overheard: readonly Uint8Array[];
}

export interface Strategy {
  /** Before the first link. */
  readonly prepare?: (scene: Scene) => Promise<void>;
  /** Changes the hello; null: says none. */
  readonly hello?: (hello: Message) => Message | null;
  readonly tick?: (victim: Victim, scene: Scene) => void;
  /** @returns whether it took care of the want */
  readonly want?: (victim: Victim, want: WantMessage, scene: Scene) => boolean;
}

const invented = (random: Random): SiteId => siteId(random.bytes(16));

const claim = (
  site: SiteId,
  head: number,
  random: Random,
  changes: Partial<VectorEntry> = {},
): VectorEntry => ({
  site,
  stream: "data",
  floor: 0,
  head,
  headHash: toHex(random.bytes(16)),
  beyond: [],
  ...changes,
});

const bySite = (a: VectorEntry, b: VectorEntry): number => (a.site < b.site ? -1 : 1);

const rows = (table: number, changes: readonly RowChanges[]): Uint8Array =>
  encodePayload({
    schemaVersion: 1,
    schemaHash: null,
    wallClockMs: 1,
    tables: [{ table, rows: changes }],
  });

const alive = (key: Uint8Array, changes: Partial<RowChanges> = {}): RowChanges => ({
  primaryKey: key,
  causalLength: 1,
  sentinel: true,
  cells: [],
  ...changes,
});

/** Every changeset by an author of its own: what waits holds nothing else back. */
async function signEach(scene: Scene, payloads: readonly Uint8Array[], kind: "rows" | "nothing") {
  for (const payload of payloads) {
    const author = await scene.wares.author();
    scene.broadcast(broadcastOf(await scene.wares.sign(author, payload, kind)));
  }
}

const everything = (victim: Victim) =>
  [...victim.entries.keys()]
    .sort()
    .slice(0, 32)
    .map((site) => ({ site, stream: "data" as const, first: 1, last: VERSION_MAX }));

export const STRATEGY_NAMES = [
  "signed nonsense",
  "poison clocks",
  "rows of others",
  "forgery",
  "false vectors",
  "endless streams",
  "digests that never match",
  "everything in a loop",
  "huge counts",
  "slow loris",
  "growth",
  "replay",
  "author flood",
  "own logs",
  "silence",
  "stranger",
  "many hellos",
  "vectors without end",
] as const;

export type StrategyName = (typeof STRATEGY_NAMES)[number];

export const STRATEGIES: Readonly<Record<StrategyName, Strategy>> = {
  /** Authentic changesets whose payloads mean nothing, or wait for ever. */
  "signed nonsense": {
    prepare: async (scene) => {
      const { random, wares } = scene;
      const payloads = [1, 40, 3_000].map((bytes) => random.bytes(bytes));
      await signEach(scene, payloads, "nothing");
      await signEach(
        scene,
        [rows(0, [alive(random.bytes(9))]), rows(40, [alive(packKey(["a"]))])],
        "nothing",
      );
      const plain = rows(2, [alive(packKey([random.bytes(6)]))]);
      const site = invented(random);
      for (const changes of [
        { encoding: { type: "deflated" } },
        { kind: "checkpoint" },
        { dependencies: [{ site, version: 7, hashPrefix: random.bytes(8) }] },
      ] as const) {
        await wares.sign(await wares.author(), plain.slice(), "nothing", changes);
      }
    },
  },
  /** Clocks at their cap and beyond, and the largest values: the first win for ever, the rest is void. */
  "poison clocks": {
    prepare: async (scene) => {
      const key = packKey(["a"]);
      const cap = BigInt(CLOCK_MAX);
      const row = (length: bigint, version: bigint) =>
        rowWithClocks(key, length, version, "poison");
      await signEach(scene, [row(1n, cap), row(cap - 1n, 1n), row(cap - 1n, cap)], "rows");
      const beyond = [cap + 1n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n];
      await signEach(
        scene,
        beyond.flatMap((far) => [row(1n, far), row(far | 1n, 1n)]),
        "nothing",
      );
      const wide = [2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)].map((value) =>
        rows(0, [alive(packKey(["b"]), { cells: [{ column: 2, columnVersion: 3, value }] })]),
      );
      await signEach(scene, wide, "rows");
    },
  },
  /** Other people's rows deleted and rewritten: a member may. */
  "rows of others": {
    prepare: async (scene) => {
      const gone = rows(0, [alive(packKey(["a"]), { causalLength: 2 })]);
      const taken = rows(0, [
        alive(packKey(["b"]), {
          causalLength: 3,
          cells: [{ column: 1, columnVersion: 9, value: "mine now" }],
        }),
      ]);
      await signEach(scene, [gone, taken], "rows");
    },
  },
  /** Changesets under the name of others, and real ones with a bit changed. */
  forgery: {
    tick: ({ site }, scene) => {
      const { overheard, random, wares } = scene;
      const real = overheard[random.below(Math.max(1, overheard.length))];
      if (real !== undefined) {
        const damaged = real.slice();
        damaged[damaged.length - 1 - random.below(40)]! ^= 1 << random.below(8);
        scene.broadcast(damaged);
      }
      const [entry] = wares.entries();
      const run = entry && wares.run({ ...entry, first: 1, last: 1 });
      if (run == null || site === null) return;
      const theft = run.slice();
      theft[theft.length - 1]! ^= 1;
      scene.broadcast(theft.subarray(0, 16_000));
    },
    prepare: async ({ wares }) => {
      const author = await wares.author();
      await wares.sign(author, rows(2, [alive(packKey([Uint8Array.of(7, 7)]))]), "rows");
    },
    want: (victim, { want, ranges }, { wares }) => {
      for (const range of ranges) {
        const run = wares.run(range);
        if (run === null) continue;
        const damaged = run.slice();
        damaged[damaged.length - 1]! ^= 1;
        victim.say({ type: "run", want, run: damaged });
      }
      victim.say({ type: "served", want, complete: true });
      return true;
    },
  },
  /** Claims about everybody's logs that nothing stands behind. */
  "false vectors": {
    tick: (victim, { random }) => {
      if (victim.age % 6 !== 1) return;
      const known = [...victim.entries.keys()].map((site) =>
        claim(site, 1 + random.below(2) * random.below(2 ** 40), random),
      );
      const unknown = Array.from({ length: 300 }, () =>
        claim(invented(random), VERSION_MAX, random),
      );
      const branches = known
        .slice(0, 3)
        .map(({ site }) => claim(site, 9, random, { branch: toHex(random.bytes(16)), floor: 1 }));
      const entries = [...known, ...unknown, ...branches].sort(bySite);
      victim.say({ type: "vector", part: victim.age % 12 === 1 ? "first" : "more", entries });
    },
    want: (victim, { want }, { random }) => {
      if (random.below(2) === 0) victim.say({ type: "served", want, complete: true });
      return true;
    },
  },
  /** Runs that go on and on, asked for and not. */
  "endless streams": {
    tick: (victim, { random }) => {
      if (victim.age % 4 !== 0) return;
      victim.say({ type: "run", want: 1 + random.below(9), run: random.bytes(5_000) });
    },
    want: (victim, { want, ranges }, { wares }) => {
      const run = ranges.map((range) => wares.run(range)).find((each) => each !== null);
      if (run == null) return false;
      const bytes = new Uint8Array(CHUNK_BYTES);
      bytes.set(run.subarray(0, CHUNK_BYTES));
      for (let index = 0; index < 40; index++) victim.say({ type: "chunk", want, index, bytes });
      return true;
    },
    prepare: (scene) => signEach(scene, [rows(2, [alive(packKey([Uint8Array.of(9)]))])], "rows"),
  },
  /** Digests of nothing. */
  "digests that never match": {
    tick: (victim, { random }) => victim.say({ type: "digest", digest: toHex(random.bytes(32)) }),
  },
  /** Asks for all there is, again and again. */
  "everything in a loop": {
    tick: (victim, { random }) => {
      const ranges = everything(victim);
      for (let i = 0; i < 4; i++) {
        const want = victim.age * 4 + i + 1;
        victim.say({ type: "want", want, bytesMax: WANT_BYTES_MAX, ranges });
      }
      if (random.below(4) === 0) victim.say({ type: "want", want: 1, bytesMax: 0, ranges: [] });
    },
  },
  /** Counts that promise more than there is room for in the world. */
  "huge counts": {
    tick: (victim, { random }) => {
      for (const type of [3, 4, 5, 6, 8, 9, 10, 255]) {
        const frame = new ByteWriter()
          .u8(type)
          .varint(2 ** 48)
          .varint(2 ** 52)
          .raw(random.bytes(20));
        if (random.below(4) === 0) victim.bytes(frame.finish());
      }
    },
  },
  /** Claims, and then gives one chunk that nobody asked for, as late as can be. */
  "slow loris": {
    tick: (victim, { random }) => {
      if (victim.age === 1) {
        const entries = Array.from({ length: 20 }, () => claim(invented(random), 1_000, random));
        victim.say({ type: "vector", part: "more", entries: entries.sort(bySite) });
      }
      if (victim.age % 9 !== 0) return;
      const bytes = new Uint8Array(CHUNK_BYTES);
      for (const { want } of victim.wants.splice(0)) {
        victim.say({ type: "chunk", want, index: 0, bytes });
      }
    },
    want: (victim, want) => {
      victim.wants.push(want);
      return true;
    },
  },
  /** As many rows as bytes can hold: the nearest thing to a bomb without compression. */
  growth: {
    prepare: async (scene) => {
      const many = Array.from({ length: 1_500 }, (_, i) =>
        alive(packKey([Uint8Array.of(i >> 8, i & 255)])),
      );
      const all = many.sort((a, b) => (toHex(a.primaryKey) < toHex(b.primaryKey) ? -1 : 1));
      await signEach(scene, [rows(2, all)], "rows");
    },
  },
  /** Says again what was said long ago. */
  replay: {
    tick: (_victim, { overheard, random, broadcast }) => {
      for (let i = 0; i < 3; i++) {
        const bytes = overheard[random.below(Math.max(1, overheard.length))];
        if (bytes !== undefined) broadcast(bytes.slice());
      }
    },
  },
  /** Authors, each with one changeset. */
  "author flood": {
    prepare: (scene) =>
      signEach(
        scene,
        Array.from({ length: 40 }, (_, i) => rows(2, [alive(packKey([Uint8Array.of(5, i)]))])),
        "rows",
      ),
  },
  /** Claims to hold more of everybody's own log than its owner. */
  "own logs": {
    tick: (victim, { random }) => {
      if (victim.age !== 1 || victim.site === null) return;
      const entries = [claim(victim.site, 1_000, random)];
      victim.say({ type: "vector", part: "more", entries });
    },
    want: (victim, { want }, { random }) => {
      if (random.below(3) === 0) victim.say({ type: "served", want, complete: false });
      return true;
    },
  },
  /** Links, and nothing else. */
  silence: { hello: () => null },
  /** A peer of another mesh. */
  stranger: {
    hello: (hello) =>
      hello.type === "hello" ? { ...hello, mesh: meshId("cd".repeat(32)) } : hello,
  },
  /** Says hello over and over. */
  "many hellos": {
    tick: (victim, { random }) =>
      victim.say({
        type: "hello",
        mesh: meshId("ab".repeat(32)),
        site: invented(random),
        role: "hub",
        name: "x".repeat(100),
        digest: toHex(random.bytes(32)),
      }),
  },
  /** Whole vectors as fast as can be. */
  "vectors without end": {
    tick: (victim, { random }) => {
      const entries = Array.from({ length: VECTOR_ENTRIES_MAX }, () =>
        claim(invented(random), 1, random),
      ).sort(bySite);
      for (let i = 0; i < 6; i++) victim.say({ type: "vector", part: "first", entries });
    },
  },
};
