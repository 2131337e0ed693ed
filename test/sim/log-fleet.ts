/** Devices whose replica is a bare log: many and fast. */
import { sha256 } from "@noble/hashes/sha2.js";
import { toHex } from "../../src/protocol/ids.ts";
import { authorStream } from "../../src/protocol/version-vector.ts";
import type { Random } from "../../src/seams.ts";
import { createKeyPair } from "../../src/signing/keys.ts";
import { createSigner } from "../../src/signing/verified-changeset.ts";
import { meshId } from "../../src/protocol/ids.ts";
import { CHUNK_BYTES } from "../../src/protocol/limits.ts";
import { simEd25519 } from "../../src/testing/sim-ed25519.ts";
import { createLogDisk, type LogDisk, openMemoryLog } from "./memory-log.ts";
import type { SimDevice, SimNode } from "../../src/testing/sim-node.ts";
import type { Fleet } from "../../src/testing/history.ts";

const simMesh = meshId("5a".repeat(32));

/** One in eight transactions is too large to be broadcast, one in forty fills a chunk. */
function drawPayload(random: Random): Uint8Array {
  const kind = random.below(40);
  const bytes = kind === 0 ? CHUNK_BYTES : kind < 5 ? 20_000 : 20 + random.below(400);
  const payload = new Uint8Array(bytes);
  payload.set(random.bytes(16));
  return payload;
}

async function createLogDevice(
  id: string,
  random: Random,
): Promise<SimDevice & { readonly disk: LogDisk }> {
  const keys = await createKeyPair(simEd25519, random.bytes(32));
  const signer = createSigner(simEd25519, keys);
  const disk = createLogDisk();
  return {
    id,
    site: keys.siteId,
    disk,
    database: null,
    losePower: () => {},
    open: async () => {
      const log = openMemoryLog(disk, signer, simMesh, simEd25519);
      return {
        store: log,
        write: () => log.write(drawPayload(random)),
        stateHash: async () => hashOfLog(disk),
        close: log.close,
      };
    },
  };
}

export async function createLogFleet(count: number, random: Random): Promise<Fleet> {
  const devices: SimDevice[] = [];
  for (let i = 0; i < count; i++) devices.push(await createLogDevice(`n${i}`, random));
  return { mesh: simMesh, devices, copy: null, releases: 1, check: checkStates };
}

async function checkStates(alive: readonly SimNode[]): Promise<void> {
  const hashes = new Set<string>();
  for (const node of alive) hashes.add((await node.replica()?.stateHash()) ?? "down");
  if (hashes.size !== 1) throw new Error(`state hashes differ: ${[...hashes].join(" ")}`);
}

function hashOfLog({ changesets }: LogDisk): string {
  const hash = sha256.create();
  for (const key of [...changesets.keys()].sort()) {
    const versions = changesets.get(key) ?? new Map();
    for (const version of [...versions.keys()].sort((a, b) => a - b)) {
      const { header, headerHash } = versions.get(version);
      hash.update(new TextEncoder().encode(`${authorStream(header)} ${version} ${headerHash}\n`));
    }
  }
  return toHex(hash.digest());
}
