/**
 * One peer pushes one changeset after the other into a real replica on a disk, over the real driver:
 * memory depends on the limits, not on how many there were. `FLOOD_CHANGESETS` says how many,
 * `FLOOD_REPORT` names a file for one JSON line:
 * `FLOOD_CHANGESETS=1000000 FLOOD_REPORT=flood.json npx vitest run test/unit/flood.test.ts`
 */
import { appendFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { packKey } from "../../src/db/packed-key.ts";
import { openDirectoryStorage } from "../../src/db/storage-directory.ts";
import { compileSqliteInNode } from "../../src/db/wasm-node.ts";
import { drive } from "../../src/node/drive.ts";
import { chooseEd25519InNode } from "../../src/node/ed25519-node.ts";
import { openReplica, type Replica } from "../../src/node/replica.ts";
import { systemClock, systemRandom } from "../../src/node/system-seams.ts";
import { encodeRun } from "../../src/protocol/changeset-run.ts";
import { encodeHeader, type VerifiedChangeset } from "../../src/protocol/changeset.ts";
import { ZERO_HASH } from "../../src/protocol/ids.ts";
import { INGEST_BYTES_MAX } from "../../src/protocol/limits.ts";
import { decodeMessage, encodeMessage, type Message } from "../../src/protocol/messages.ts";
import type { VectorEntry } from "../../src/protocol/version-vector.ts";
import type { Network, NetworkHandlers, Signer } from "../../src/seams.ts";
import { createKeyPair } from "../../src/signing/keys.ts";
import { createSigner } from "../../src/signing/verified-changeset.ts";
import { rowPayload } from "../fixtures/forge.ts";
import { ANIMALS, INVITE, MESH } from "../fixtures/replicas.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

const CHANGESETS = Number(process.env["FLOOD_CHANGESETS"] ?? 20_000);
/** Told of and asked for at a time: what the flooding side holds. */
const STRETCH = 2_500;
/** Memory is compared with what it was here. */
const WARM = 5_000;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

function memoryBytes(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** The next versions of one author. */
async function sign(signer: Signer, after: VerifiedChangeset | null): Promise<VerifiedChangeset[]> {
  const signed: VerifiedChangeset[] = [];
  let previous = after;
  for (let i = 0; i < STRETCH; i++) {
    const version: number = (previous?.header.version ?? 0) + 1;
    const key = packKey([new Uint8Array(new Uint32Array([version]).buffer)]);
    const payload = rowPayload(2, { primaryKey: key, sentinel: true });
    const header = {
      kind: "data",
      stream: "data",
      encoding: { type: "plain" },
      site: signer.siteId,
      version,
      publicKey: version === 1 ? signer.publicKey : null,
      payloadBytes: payload.length,
      dependencies: [],
    } as const;
    const previousHash = previous?.headerHash ?? ZERO_HASH;
    previous = await signer.sign(
      { header, headerBytes: encodeHeader(header), payload, previousHash },
      MESH,
    );
    signed.push(previous);
  }
  return signed;
}

/** Says what it holds, answers wants from the stretch at hand, and nothing else. */
function createFlooder(signer: Signer) {
  let handlers: NetworkHandlers | null = null;
  let stretch: readonly VerifiedChangeset[] = [];
  const say = (message: Message) => handlers?.frame("flooder", encodeMessage(message));

  async function answer(message: Message): Promise<void> {
    if (message.type !== "want") return;
    const [range] = message.ranges;
    const from = (range?.first ?? 0) - (stretch[0]?.header.version ?? 0);
    const changesets = stretch.slice(from, from + 400);
    const [first] = changesets;
    if (first !== undefined) {
      const { previousHash } = first;
      const author = signer.publicKey;
      const run = encodeRun({ stream: "data", author, previousHash, changesets });
      await say({ type: "run", want: message.want, run });
    }
    await say({ type: "served", want: message.want, complete: false });
  }

  const network: Network = {
    self: "victim",
    start: async (given) => {
      handlers = given;
    },
    send: async (_to, frame) => void answer(decodeMessage(frame)),
    broadcast: async () => 0,
    penalise: (_peer, code) => {
      throw new Error(`penalised: ${code}`);
    },
    suggestPeers: () => {},
    links: () => [],
    stop: async () => {},
  };

  return {
    network,
    greet: async () => {
      handlers?.peerUp({ id: "flooder", link: "memory" });
      const { siteId: site } = signer;
      const digest = "00".repeat(32);
      await say({ type: "hello", mesh: MESH, site, role: "device", name: "", digest });
      await say({ type: "vector", part: "first", entries: [] });
    },
    push: async (next: readonly VerifiedChangeset[]) => {
      stretch = next;
      const last = next.at(-1);
      if (last === undefined) return;
      const headHash = last.headerHash.slice(0, 32);
      const head = last.header.version;
      const site = signer.siteId;
      const entry: VectorEntry = { site, stream: "data", floor: 0, head, headHash, beyond: [] };
      await say({ type: "vector", part: "more", entries: [entry] });
    },
  };
}

const reaches = (replica: Replica, signer: Signer, head: number): Promise<void> =>
  new Promise((resolve) => {
    const stop = replica.onChange(({ entries }) => {
      if (!entries.some((entry) => entry.site === signer.siteId && entry.head >= head)) return;
      stop();
      resolve();
    });
  });

test(`[AE18] ${CHANGESETS} changesets pushed by one peer: memory stays what it was after ${WARM}`, async () => {
  const ed25519 = await chooseEd25519InNode();
  const replica = await openReplica({
    storage: await openDirectoryStorage(temporaryDirectory()),
    wasm: await compileSqliteInNode(),
    schema: ANIMALS,
    ed25519,
    clock: systemClock,
    random: systemRandom,
  });
  await replica.bindMesh(MESH, INVITE);
  const signer = createSigner(ed25519, await createKeyPair(ed25519, new Uint8Array(32).fill(9)));
  const flooder = createFlooder(signer);
  const running = await drive({
    network: flooder.network,
    store: replica,
    clock: systemClock,
    random: systemRandom,
    mesh: MESH,
    site: replica.keys.siteId,
    role: "device",
    name: "",
  });
  await flooder.greet();
  let intakeMax = 0;
  const stopStatus = running.onStatus(() => {
    intakeMax = Math.max(intakeMax, running.status().intakeBytes);
  });
  const sampled: number[] = [];
  let last: VerifiedChangeset | null = null;
  let pushed = 0;
  while (pushed < CHANGESETS) {
    const next = await sign(signer, last);
    pushed += next.length;
    last = next.at(-1) ?? null;
    const arrived = reaches(replica, signer, pushed);
    await flooder.push(next);
    await arrived;
    if (pushed >= WARM && pushed % WARM === 0) sampled.push(memoryBytes());
  }
  const [warm = 0] = sampled;
  const peak = Math.max(...sampled);
  const [{ n } = { n: 0 }] = await replica.db.query("SELECT count(*) AS n FROM tag");
  stopStatus();
  await running.stop();
  await replica.close();
  const report = {
    changesets: pushed,
    warmBytes: warm,
    peakBytes: peak,
    intakeBytesMax: intakeMax,
  };
  const path = process.env["FLOOD_REPORT"];
  if (path !== undefined) appendFileSync(path, `${JSON.stringify(report)}\n`);
  expect(n).toBe(pushed);
  expect(peak).toBeLessThanOrEqual(1.3 * warm);
  expect(intakeMax).toBeLessThanOrEqual(INGEST_BYTES_MAX / 16);
}, 3_600_000);
